package ecs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"faber/internal/ecs/cause"
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

// transient reports whether the same call may succeed if made again.
func transient(err error) bool {
	var invalid smithy.InvalidParamsError // what the SDK refuses to send at all stays as it is
	return !errors.As(err, &invalid) && causeOf(err, nil, "").Verdict == cause.Again
}

// causeOf looks an error of a call up in the table.
func causeOf(err error, c *configuration, cluster string) cause.Result {
	report := cause.Report{Where: cause.Call, Code: errorCode(err), Message: errorMessage(err), Known: map[cause.Kind]string{cause.Cluster: cluster}}
	var failed *smithy.OperationError
	if errors.As(err, &failed) {
		report.Known[cause.Operation] = failed.OperationName
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		report.Status = response.HTTPStatusCode()
	}
	if c != nil {
		report.Known[cause.Role] = firstOf(c.executionRole, stringField(c.definition, "executionRoleArn"))
	}
	// No answer from AWS: a lost reply, no network, no credentials yet.
	report.Lost = report.Code == ""
	return cause.Classify(report)
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
	said := causeOf(err, c, cluster)
	failure := &launch.Failure{Kind: kindOf(said.Verdict), Message: describe(err), Hint: said.Hint, Cause: named(said), Err: err}
	if failure.Kind != launch.FailureRetry {
		failure.Message = inPrefectsWords(err, c, cluster)
	}
	return failure
}

func kindOf(verdict cause.Verdict) launch.FailureKind {
	switch verdict {
	case cause.Again:
		return launch.FailureRetry
	case cause.Wait, cause.GiveBack:
		return launch.FailureCapacity
	default:
		return launch.FailurePermanent
	}
}

// named is the name of a cause that is known.
func named(said cause.Result) string {
	if said.Cause == cause.Unknown {
		return ""
	}
	return string(said.Cause)
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
	said := cause.Classify(cause.Report{Where: cause.Failures, Code: reason, Message: aws.ToString(failures[0].Detail)})
	return &launch.Failure{Kind: kindOf(said.Verdict), Message: message, Hint: said.Hint, Cause: named(said)}
}
