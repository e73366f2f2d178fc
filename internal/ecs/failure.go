package ecs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"faber/internal/launch"
)

// errorCode is the code that AWS gave an error, "" when AWS gave none.
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func errorMessage(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorMessage()
	}
	return err.Error()
}

// transientCodes are refusals without effect, and answers after which the
// outcome is open. A code that is missing here stands for something that will
// not mend itself.
var transientCodes = []string{
	"ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
	"RequestThrottled", "RequestThrottledException", "SlowDown", "BandwidthLimitExceeded",
	"ServerException", "InternalServerException", "InternalServerError", "InternalFailure", "InternalError",
	"ServiceUnavailable", "ServiceUnavailableException", "Unavailable", "RequestTimeout", "RequestTimeoutException",
	"ExpiredToken", "ExpiredTokenException", "RequestExpired", // the SDK fetches new ones
	"UpdateInProgressException", "ResourceInUseException",
}

// transient reports whether the same call may succeed if made again.
func transient(err error) bool {
	code := errorCode(err)
	if slices.Contains(transientCodes, code) || wrapsThrottle(err) {
		return true
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusInternalServerError {
		return true
	}
	if code != "" {
		return false
	}
	// No answer from AWS: a lost reply, no network, no credentials yet. Only
	// what the SDK refuses to send at all stays as it is.
	var invalid smithy.InvalidParamsError
	return !errors.As(err, &invalid)
}

// throttlePhrases stand in refusals that pass on the throttling of a call that
// ECS made itself, under a code that says otherwise: an EC2 API that answers
// "Rate exceeded" comes as InvalidParameterException about a subnet.
var throttlePhrases = []string{
	"rate exceeded", "request limit exceeded", "requestlimitexceeded", "throttlingexception", "too many requests",
	"too many concurrent attempts", // to register a revision of one family
}

func wrapsThrottle(err error) bool {
	if errorCode(err) == "" {
		return false
	}
	message := strings.ToLower(errorMessage(err))
	return slices.ContainsFunc(throttlePhrases, func(phrase string) bool { return strings.Contains(message, phrase) })
}

// outOfDate reports whether AWS refuses credentials that cannot be renewed:
// those that stand in the configuration itself.
func outOfDate(err error, c *configuration) bool {
	code := errorCode(err)
	return strings.HasPrefix(code, "ExpiredToken") && c != nil && c.credentials.AccessKeyID != ""
}

// launchFailure says what an error on the way to a task means for the claim.
func launchFailure(err error, c *configuration, cluster string) *launch.Failure {
	failure := judge(err, c, cluster)
	var classed interface{ Class() string }
	if strings.HasPrefix(failure.Message, toldBy) && !errors.As(failure.Err, &classed) {
		failure.Err = passedOn{failure.Err}
	}
	return failure
}

// passedOn is a refusal of AWS that Prefect's worker reports as it is.
type passedOn struct{ error }

func (p passedOn) Unwrap() error { return p.error }

// Class is the exception that botocore makes of it: what the service's model
// names has a class of that name, all else is a ClientError.
func (p passedOn) Class() string {
	var generic *smithy.GenericAPIError
	var modelled smithy.APIError
	if errors.As(p.error, &generic) || !errors.As(p.error, &modelled) {
		return clientError
	}
	return modelled.ErrorCode()
}

func judge(err error, c *configuration, cluster string) *launch.Failure {
	var known *launch.Failure
	if errors.As(err, &known) {
		return known
	}
	var wrong *configError
	if errors.As(err, &wrong) {
		return &launch.Failure{Kind: launch.FailurePermanent, Message: wrong.message, Hint: wrong.hint, Err: err}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &launch.Failure{Kind: launch.FailureRetry, Message: "The launch was not finished in time: " + err.Error(), Err: err}
	}
	var incomplete smithy.InvalidParamsError
	if errors.As(err, &incomplete) {
		missing := missingParameters(incomplete)
		return &launch.Failure{Kind: launch.FailurePermanent, Message: missing.Error(), Hint: refusedHint, Err: missing}
	}
	if outOfDate(err, c) {
		return &launch.Failure{
			Kind: launch.FailurePermanent, Message: describe(err),
			Hint: "AWS does not accept the work pool's credentials any more: renew the keys and the session token in the work pool's aws_credentials, or let the worker assume a role.", Err: err,
		}
	}
	if transient(err) {
		return &launch.Failure{Kind: launch.FailureRetry, Message: describe(err), Hint: retryHint(err), Err: err}
	}
	for _, rule := range failureRules {
		if rule.matches(err, c) {
			return &launch.Failure{Kind: rule.kind, Message: rule.message(cluster, c, err), Hint: rule.hint, Err: err}
		}
	}
	return &launch.Failure{Kind: launch.FailurePermanent, Message: describe(err), Hint: refusedHint, Err: err}
}

// missingParameters names in botocore's words what the SDK wants in a request and
// does not find.
func missingParameters(incomplete smithy.InvalidParamsError) refusal {
	var missing refusal
	for _, err := range incomplete.Errs() {
		var parameter smithy.InvalidParamError
		if !errors.As(err, &parameter) {
			continue // there is no other kind
		}
		steps := strings.Split(parameter.Field(), ".")[1:] // the first is the operation's
		for i, step := range steps {
			steps[i] = fieldName(step)
		}
		last := len(steps) - 1
		in := firstOf(strings.Join(steps[:last], "."), "input")
		missing = append(missing, problem{class: paramValidationError, text: fmt.Sprintf("Missing required parameter in %s: %q", in, steps[last])})
	}
	return missing
}

// failureRule gives a refusal of AWS the words that users search for.
type failureRule struct {
	matches func(error, *configuration) bool
	kind    launch.FailureKind
	message func(cluster string, c *configuration, err error) string
	hint    string
}

func says(parts ...string) func(error, *configuration) bool {
	return func(err error, _ *configuration) bool {
		whole := strings.ToLower(err.Error())
		for _, part := range parts {
			if strings.Contains(whole, strings.ToLower(part)) {
				return true
			}
		}
		return false
	}
}

// told is AWS's own refusal, which Prefect's worker passes on as it is.
func told(_ string, _ *configuration, err error) string { return describe(err) }

// words are a text of Prefect's worker, word for word, with what AWS said behind
// it.
func words(text string) func(string, *configuration, error) string {
	return func(_ string, _ *configuration, err error) string { return text + " (" + errorMessage(err) + ")" }
}

const capacityProviderText = "Failed to run ECS task due to a capacity provider error. Verify that your Fargate or EC2 capacity providers are " +
	"correctly configured for the cluster and that the requested capacity is available."

// failureRules are tried in order. The order matters: "capacity provider" may
// stand in a message about the network, and so on.
var failureRules = []failureRule{
	{
		matches: says("ClusterNotFoundException"), kind: launch.FailurePermanent,
		message: func(cluster string, _ *configuration, _ error) string {
			return fmt.Sprintf("Failed to run ECS task, cluster '%s' not found. Confirm that the cluster is configured in your region.", cluster)
		},
		hint: "Set 'cluster' on the work pool to a cluster that exists in the worker's region.",
	},
	{
		matches: says("No Container Instances"), kind: launch.FailureCapacity,
		message: func(cluster string, _ *configuration, _ error) string {
			return fmt.Sprintf("Failed to run ECS task, cluster '%s' does not appear to have any container instances associated with it. Confirm that you have EC2 container instances available.", cluster)
		},
		hint: "Register container instances with the cluster, or use the launch type FARGATE.",
	},
	{
		matches: func(err error, c *configuration) bool {
			return c != nil && c.logs && says("failed to validate logger args")(err, c) && says("AccessDenied")(err, c)
		},
		kind: launch.FailurePermanent,
		message: func(_ string, c *configuration, err error) string {
			role := firstOf(c.executionRole, stringField(c.definition, "executionRoleArn"))
			if role != "" {
				role = " '" + role + "'"
			}
			return fmt.Sprintf("Failed to run ECS task, the attached execution role does not appear to have sufficient permissions. "+
				"Ensure that the execution role%s has permissions logs:CreateLogStream, logs:CreateLogGroup, and logs:PutLogEvents. (%s)", role, errorMessage(err))
		},
		hint: "Grant them to the role, or switch configure_cloudwatch_logs off.",
	},
	{
		matches: says("TaskDefinition is inactive"), kind: launch.FailurePermanent,
		message: words("Failed to run ECS task, the task definition is inactive. Re-register the task definition or remove the " +
			"`task_definition_arn` from your work pool configuration to allow Prefect to register a new task definition automatically."),
		hint: "Somebody deregistered the revision that task_definition_arn names.",
	},
	{
		matches: says("LimitExceededException", "reached the limit on the number of", "concurrently running tasks", "vCPU limit"), kind: launch.FailureCapacity,
		message: told,
		hint:    "The account's Fargate quota is used up: ask AWS for a higher Fargate vCPU quota in this region, or run fewer flows at once.",
	},
	{
		matches: says("no capacity", "Capacity is unavailable"), kind: launch.FailureCapacity,
		message: words(capacityProviderText),
		hint:    "Add subnets in other availability zones, or FARGATE beside FARGATE_SPOT in a capacity_provider_strategy.",
	},
	{
		matches: says("capacity provider"), kind: launch.FailurePermanent,
		message: words(capacityProviderText),
		hint:    "Attach the capacity provider to the cluster: FARGATE and FARGATE_SPOT, too, must be attached before tasks may use them.",
	},
	{
		matches: func(err error, c *configuration) bool {
			return errorCode(err) == "InvalidParameterException" && says("subnet", "security group", "network")(err, c)
		},
		kind: launch.FailurePermanent,
		message: words("Failed to run ECS task due to a network configuration error. Verify the subnets and security groups in your work pool's " +
			"network configuration are valid and belong to the expected VPC."),
		hint: "All of them must exist, and belong to one and the same VPC.",
	},
	{
		matches: says("Container Overrides length"), kind: launch.FailurePermanent,
		message: told,
		hint: "The run's environment and command are too long for ECS, which takes 8192 characters of overrides: " +
			"put large values into the image, a secret or a Prefect block, and only their names into the environment.",
	},
	{
		matches: says("iam:PassRole"), kind: launch.FailurePermanent,
		message: told,
		hint:    "The worker may not pass the task's roles to ECS: grant the worker's role iam:PassRole on the task role and on the execution role of the work pool.",
	},
	{
		matches: says("AccessDenied", "not authorized to perform", "UnauthorizedOperation"), kind: launch.FailurePermanent,
		message: told,
		hint:    "Grant the worker's role the action that the message names.",
	},
	{
		matches: says("UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "AuthFailure"), kind: launch.FailurePermanent,
		message: told,
		hint:    "AWS does not accept the worker's credentials: correct the aws_credentials of the work pool, or the worker's own AWS credentials.",
	},
	{
		matches: says("executionRoleArn", "execution role"), kind: launch.FailurePermanent,
		message: told,
		hint:    "The task definition needs an execution role: set execution_role_arn on the work pool: secrets, private images and logs need it.",
	},
}

// describe is an error in one sentence, with AWS's code in it.
func describe(err error) string {
	code := errorCode(err)
	if code == "" {
		return "AWS could not be reached: " + err.Error()
	}
	operation := "a call"
	var failed *smithy.OperationError
	if errors.As(err, &failed) {
		operation = "the " + failed.OperationName + " operation"
	}
	return fmt.Sprintf(toldBy+"%s) when calling %s: %s", code, operation, errorMessage(err))
}

// toldBy is how botocore begins to tell a refusal of AWS.
const toldBy = "An error occurred ("

func retryHint(err error) string {
	switch {
	case strings.Contains(err.Error(), "get credentials"), strings.Contains(err.Error(), "refresh cached credentials"):
		return "The worker has no AWS credentials: give it a task role or an instance role, or set aws_credentials on the work pool."
	case wrapsThrottle(err):
		return "AWS limits how often this may be asked, and the worker waits: launch fewer runs at once, or ask AWS for a higher limit."
	case errorCode(err) == "":
		return "Check that the worker reaches the AWS endpoints of its region: a NAT gateway, a public address or VPC endpoints."
	default:
		return ""
	}
}

const refusedHint = "Correct the work pool's or the deployment's job variables so that ECS accepts the request."

// runFailure is for a definite answer of RunTask without a task.
func runFailure(failures []types.Failure) *launch.Failure {
	if len(failures) == 0 {
		return &launch.Failure{
			Kind:    launch.FailureCapacity,
			Message: "Failed to run ECS task: no tasks or failures were returned.",
		}
	}
	reason := aws.ToString(failures[0].Reason)
	message := "Failed to run ECS task: " + reason
	if detail := aws.ToString(failures[0].Detail); detail != "" {
		message += " (" + detail + ")"
	}
	kind := launch.FailureCapacity
	if slices.Contains([]string{"ATTRIBUTE", "INACTIVE", "MISSING"}, reason) {
		kind = launch.FailurePermanent // it is the request that does not fit the cluster
	}
	return &launch.Failure{Kind: kind, Message: message, Hint: reasonHint(reason)}
}

func reasonHint(reason string) string {
	switch {
	case strings.HasPrefix(reason, "RESOURCE:"):
		return "No container instance has enough of what the task asks for: add instances, or ask for less CPU and memory."
	case strings.Contains(reason, "Capacity is unavailable"):
		return "AWS has no Fargate capacity left there: add subnets in other availability zones, or FARGATE beside FARGATE_SPOT."
	case strings.Contains(reason, "limit"):
		return "Ask AWS for a higher Fargate vCPU quota in this region, or run fewer flows at once."
	case reason == "AGENT":
		return "The ECS agent of the container instances is not connected."
	case reason == "ATTRIBUTE":
		return "No container instance has the attributes that the task definition requires."
	default:
		return "See ECS's list of API failure reasons."
	}
}
