package ecs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

func TestLaunchFailures(t *testing.T) {
	tests := []struct {
		name   string
		op     string
		fault  fakeaws.Fault
		change []func(map[string]any)
		kind   launch.FailureKind
		want   string
	}{
		{"throttled", "RunTask", fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded"}, nil, launch.FailureRetry, "(ThrottlingException) when calling the RunTask operation: Rate exceeded"},
		{"server error", "RunTask", fakeaws.Fault{Status: 500, Code: "ServerException", Message: "Service Unavailable."}, nil, launch.FailureRetry, "ServerException"},
		{"unknown 5xx", "RunTask", fakeaws.Fault{Status: 502, Code: "Weird", Message: "bad gateway"}, nil, launch.FailureRetry, "bad gateway"},
		{"lost replies", "RunTask", fakeaws.Fault{Lost: true}, nil, launch.FailureRetry, "AWS could not be reached"},
		{"throttled registration", "RegisterTaskDefinition", fakeaws.Fault{Code: "ThrottlingException", Message: "Too many concurrent attempts"}, nil, launch.FailureRetry, "RegisterTaskDefinition"},
		{"throttled description", "DescribeTaskDefinition", fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded"}, nil, launch.FailureRetry, "DescribeTaskDefinition"},
		{"throttled network", "DescribeVpcs", fakeaws.Fault{Status: 503, Code: "RequestLimitExceeded", Message: "Request limit exceeded."}, nil, launch.FailureRetry, "RequestLimitExceeded"},
		{"expired", "RunTask", fakeaws.Fault{Code: "ExpiredTokenException", Message: "The security token included in the request is expired"}, nil, launch.FailureRetry, "ExpiredTokenException"},
		{"cluster", "RunTask", fakeaws.Fault{Code: "ClusterNotFoundException", Message: "Cluster not found."}, nil, launch.FailurePermanent, "Failed to run ECS task, cluster 'default' not found. Confirm that the cluster is configured in your region."},
		{"no instances", "RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "No Container Instances were found in your cluster."}, []func(map[string]any){set("EC2", "task_run_request", "launchType")}, launch.FailureCapacity, "does not appear to have any container instances"},
		{"logger args", "RunTask", fakeaws.Fault{Code: "ClientException", Message: "failed to validate logger args: AccessDeniedException"}, []func(map[string]any){withLogs}, launch.FailurePermanent, "the attached execution role does not appear to have sufficient permissions"},
		{"Spot not attached", "RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "The specified capacity provider 'FARGATE_SPOT' was not found."}, nil, launch.FailurePermanent, "due to a capacity provider error"},
		{"capacity", "RunTask", fakeaws.Fault{Code: "ClientException", Message: "Capacity is unavailable at this time. Please try again later"}, nil, launch.FailureCapacity, "due to a capacity provider error"},
		{"quota", "RunTask", fakeaws.Fault{Code: "ClientException", Message: "You've reached the limit on the number of vCPUs you can run concurrently"}, nil, launch.FailureCapacity, "quota is used up"},
		{"security group", "RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "The security group 'sg-1' does not exist"}, nil, launch.FailurePermanent, "due to a network configuration error"},
		{"overrides too long", "RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "Container Overrides length must be at most 8192"}, nil, launch.FailurePermanent, "8192 characters"},
		{"pass role", "RunTask", fakeaws.Fault{Code: "AccessDeniedException", Message: "User: x is not authorized to perform: iam:PassRole on resource: y"}, nil, launch.FailurePermanent, "may not pass the task's roles"},
		{"denied", "RunTask", fakeaws.Fault{Code: "AccessDeniedException", Message: "User: x is not authorized to perform: ecs:RunTask"}, nil, launch.FailurePermanent, "not authorized to perform: ecs:RunTask"},
		{"keys", "RunTask", fakeaws.Fault{Code: "UnrecognizedClientException", Message: "The security token included in the request is invalid."}, nil, launch.FailurePermanent, "does not accept the worker's credentials"},
		{"execution role", "RegisterTaskDefinition", fakeaws.Fault{Code: "ClientException", Message: "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'"}, nil, launch.FailurePermanent, "needs an execution role"},
		{"anything else", "RunTask", fakeaws.Fault{Code: "ClientException", Message: "No."}, nil, launch.FailurePermanent, "An error occurred (ClientException) when calling the RunTask operation: No."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeAWS(t)
			test.fault.Times = -1
			f.Fail(test.op, test.fault)
			impatient := func(o *Options) { o.patience = time.Millisecond } // with AWS, when it throttles
			failure := mustFail(t, newLauncher(t, f, impatient), testJob(test.change...), test.kind, "")
			if said := failure.Message + " " + failure.Hint; !strings.Contains(said, test.want) {
				t.Errorf("said %q, want …%s…", said, test.want)
			}
			if failure.Hint == "" && test.kind != launch.FailureRetry {
				t.Error("no hint")
			}
			if got := len(f.Bodies(test.op)); got > callAttempts {
				t.Errorf("%d calls of %s", got, test.op)
			}
		})
	}
}

func TestRunTaskFailures(t *testing.T) {
	for reason, hint := range map[string]string{
		"RESOURCE:MEMORY": "No container instance",
		"Capacity is unavailable at this time. Please try again later or in a different availability zone": "other availability zones",
		"AGENT": "agent",
	} {
		f := newFakeAWS(t)
		f.Failures(fakeaws.Failure{Reason: reason, Detail: "more"})
		failure := mustFail(t, newLauncher(t, f), testJob(), launch.FailureCapacity, "Failed to run ECS task: "+reason)
		if !strings.Contains(failure.Hint, hint) {
			t.Errorf("%s: hint %q", reason, failure.Hint)
		}
		if got := len(f.Bodies("RunTask")); got != 1 {
			t.Errorf("%s: %d calls", reason, got)
		}
	}
}

// A reply that is lost must not cost a second task, neither within a call nor
// over calls.
func TestLostReplies(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	f.Fail("RunTask", fakeaws.Fault{Lost: true})
	mustLaunch(t, l, testJob())
	if len(f.Tasks()) != 1 {
		t.Fatalf("%d tasks after a lost reply", len(f.Tasks()))
	}
	job := testJob()
	job.ClaimID = "second claim"
	f.Fail("RunTask", fakeaws.Fault{Lost: true}, fakeaws.Fault{Lost: true}, fakeaws.Fault{Lost: true})
	mustFail(t, l, job, launch.FailureRetry, "")
	first := mustLaunch(t, l, job)
	again := mustLaunch(t, l, job)
	if len(f.Tasks()) != 2 || first.PID != again.PID {
		t.Errorf("%d tasks, %q and %q", len(f.Tasks()), first.PID, again.PID)
	}
}

// A call that differs from the claim's first one is answered with a conflict
// that names the task: it is adopted.
func TestConflictAdopts(t *testing.T) {
	f := newFakeAWS(t)
	first := mustLaunch(t, newLauncher(t, f), testJob())

	job := testJob()
	job.WorkerName, job.Labels["prefect.io/worker-name"] = "w2", "w2"
	l := newLauncher(t, f)
	if adopted := mustLaunch(t, l, job); adopted.PID != first.PID || adopted.WorkerName != "w2" {
		t.Errorf("adopted %+v, want %q", adopted, first.PID)
	}
	f.Fail("DescribeTasks", fakeaws.Fault{Code: "AccessDeniedException", Message: "no"})
	if adopted := mustLaunch(t, l, job); adopted.PID != first.PID {
		t.Errorf("adopted %q without a description, want %q", adopted.PID, first.PID)
	}
	f.Fail("RunTask", fakeaws.Fault{Code: "ConflictException", Message: "used", Fields: map[string]any{"resourceIds": []any{"short-id"}}})
	mustFail(t, l, job, launch.FailureRetry, "short-id")
}

func TestEndedContext(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, err := l.Launch(ctx, testJob())
	if failure := func() *launch.Failure {
		target := &launch.Failure{}
		_ = errors.As(err, &target)
		return target
	}(); failure.Kind != launch.FailureRetry {
		t.Errorf("%+v", failure)
	}
}

func TestNoRegion(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f, func(o *Options) {
		o.LoadConfig = func(ctx context.Context, options ...func(*config.LoadOptions) error) (aws.Config, error) {
			loaded, err := loadFrom(f)(ctx, options...)
			loaded.Region, loaded.BaseEndpoint, loaded.ConfigSources = "", nil, nil
			return loaded, err
		}
	})
	_, err := l.Launch(t.Context(), testJob())
	if failure := func() *launch.Failure {
		target := &launch.Failure{}
		_ = errors.As(err, &target)
		return target
	}(); failure.Kind != launch.FailurePermanent || !strings.Contains(failure.Hint, "AWS_REGION") {
		t.Errorf("%+v", failure)
	}
}

// TestRefusalsHaveBotocoresClass was recorded from botocore, which has a class for
// each exception that a service's model names, and one for all others.
func TestRefusalsHaveBotocoresClass(t *testing.T) {
	operation := func(err error) error {
		return &smithy.OperationError{ServiceID: "ECS", OperationName: "RunTask", Err: err}
	}
	for want, err := range map[string]error{
		"ClientException":       operation(&types.ClientException{Message: aws.String("no")}),
		"AccessDeniedException": operation(&types.AccessDeniedException{Message: aws.String("no")}),
		"ClientError":           operation(&smithy.GenericAPIError{Code: "InvalidVpcID.NotFound", Message: "no"}),
		"NoSuchException":       &configError{message: "An error occurred (NoSuchException) when calling it", class: "NoSuchException"},
	} {
		failure := launchFailure(err, nil, "default")
		var classed interface{ Class() string }
		if !errors.As(failure, &classed) || classed.Class() != want {
			t.Errorf("%v: %#v, want %s", err, failure, want)
		}
		if !strings.HasPrefix(failure.Message, "An error occurred (") {
			t.Errorf("message %q", failure.Message)
		}
	}
}

func TestFailuresThatCannotMend(t *testing.T) {
	for reason, want := range map[string]launch.FailureKind{
		"ATTRIBUTE": launch.FailurePermanent, "MISSING": launch.FailurePermanent, "INACTIVE": launch.FailurePermanent,
		"RESOURCE:MEMORY": launch.FailureCapacity, "AGENT": launch.FailureCapacity, "Capacity is unavailable at this time": launch.FailureCapacity,
	} {
		if got := runFailure([]types.Failure{{Reason: aws.String(reason)}}); got.Kind != want {
			t.Errorf("%s is %s, want %s", reason, got.Kind, want)
		}
	}
}

func TestMissingParameterInBotocoresWords(t *testing.T) {
	f := newFakeAWS(t)
	job := testJob(set("vpc-1", "vpc_id"), set(map[string]any{"securityGroups": []any{"sg-1"}}, "network_configuration"))
	_, err := newLauncher(t, f).Launch(t.Context(), job)
	var failure *launch.Failure
	if !errors.As(err, &failure) || failure.Kind != launch.FailurePermanent {
		t.Fatalf("%v", err)
	}
	if want := "Parameter validation failed:\nMissing required parameter in networkConfiguration.awsvpcConfiguration: \"subnets\""; failure.Message != want {
		t.Errorf("message %q, want %q", failure.Message, want)
	}
	var classed interface{ Class() string }
	if !errors.As(err, &classed) || classed.Class() != "ParamValidationError" {
		t.Errorf("%#v has no class", err)
	}
}
