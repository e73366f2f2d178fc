package ecs

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"faber/internal/ecs/cause"
	"faber/internal/launch"
)

// seen is a message that somebody met, and what it means.
type seen struct {
	Where    cause.Where   `json:"where"`
	Code     string        `json:"code"`
	StopCode string        `json:"stop_code"`
	Message  string        `json:"message"`
	Cause    string        `json:"cause"`
	Verdict  cause.Verdict `json:"verdict"`
	Resource string        `json:"resource"`
}

func corpus(t testing.TB) []seen {
	t.Helper()
	data, err := os.ReadFile("cause/testdata/corpus.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []seen
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func refusedCall(code, message string) error {
	return &smithy.OperationError{ServiceID: "ECS", OperationName: "RunTask", Err: &smithy.GenericAPIError{Code: firstOf(code, "ClientException"), Message: message}}
}

// TestCorpusAsFailures puts what calls answered into the errors in which the SDK
// hands it over.
func TestCorpusAsFailures(t *testing.T) {
	for _, s := range corpus(t) {
		var failure *launch.Failure
		switch s.Where {
		case cause.Call:
			failure = launchFailure(refusedCall(s.Code, s.Message), nil, "blue")
		case cause.Failures:
			failure = runFailure([]types.Failure{{Reason: aws.String(firstOf(s.Code, s.Message)), Detail: aws.String(s.Message)}})
		default:
			continue
		}
		want := map[cause.Verdict]launch.FailureKind{cause.Again: launch.FailureRetry, cause.Wait: launch.FailureCapacity, cause.Crashed: launch.FailurePermanent}[s.Verdict]
		if failure.Kind != want || failure.Cause != s.Cause {
			t.Errorf("%s is %s, %s, not %s, %s", s.Message, failure.Kind, failure.Cause, want, s.Cause)
		}
		if !strings.Contains(failure.Message, s.Message) || !strings.Contains(failure.Hint, s.Resource) {
			t.Errorf("%s is told as %q, hint %q", s.Message, failure.Message, failure.Hint)
		}
	}
}

// TestCorpusAsEnds puts what was said of tasks into tasks, once as the task's
// reason and once as its container's.
func TestCorpusAsEnds(t *testing.T) {
	for _, s := range corpus(t) {
		if s.Where != cause.Stopped {
			continue
		}
		of, in := types.Task{StopCode: types.TaskStopCode(s.StopCode)}, types.Task{StopCode: types.TaskStopCode(s.StopCode)}
		of.StoppedReason = aws.String(s.Message)
		in.StoppedReason = aws.String("Task failed to start")
		in.Containers = []types.Container{{Name: aws.String("prefect"), Reason: aws.String(s.Message)}}
		for _, task := range []types.Task{of, in} {
			exit := exitOf(task)
			if exit.Cause != s.Cause && s.Cause != "spot_interruption" || exit.Kind == launch.ExitStartFailure && exit.Permanent != (s.Verdict == cause.Crashed) {
				t.Errorf("%s is %s, %s, permanent: %t", s.Message, exit.Kind, exit.Cause, exit.Permanent)
			}
			text := strings.TrimRight(strings.TrimSpace(s.Message), ".")
			if task.StoppedReason == of.StoppedReason && !strings.Contains(exit.Message, text) || !strings.Contains(exit.Fix, s.Resource) {
				t.Errorf("%s is told as %q, fix %q", s.Message, exit.Message, exit.Fix)
			}
			interrupted := s.Cause == "spot_interruption" || s.Cause == "host_lost"
			if (exit.Kind == launch.ExitInterrupted) != interrupted && task.StoppedReason == of.StoppedReason {
				t.Errorf("%s is %s", s.Message, exit.Kind)
			}
		}
	}
}

// TestUnknownIsTriedAgainIfNoCodeRan: a text that nobody has met is no reason to
// end a run of which nothing has run yet, and is not explained.
func TestUnknownIsTriedAgainIfNoCodeRan(t *testing.T) {
	exit := exitOf(types.Task{StopCode: types.TaskStopCodeTaskFailedToStart, StoppedReason: aws.String("Xyzzy: plugh.")})
	if exit.Kind != launch.ExitStartFailure || exit.Permanent || exit.Cause != "" || !strings.Contains(exit.Message, "Xyzzy: plugh") {
		t.Errorf("%+v", exit)
	}
	failure := launchFailure(refusedCall("ClientException", "Xyzzy: plugh."), nil, "blue")
	if failure.Kind != launch.FailurePermanent || failure.Cause != "" || failure.Message != "An error occurred (ClientException) when calling the RunTask operation: Xyzzy: plugh." {
		t.Errorf("%+v", failure)
	}
	if refused := runFailure([]types.Failure{{Reason: aws.String("XYZZY")}}); refused.Kind != launch.FailurePermanent || refused.Message != "Failed to run ECS task: XYZZY" {
		t.Errorf("%+v", refused)
	}
}

func TestOutOfMemoryNamesTheLimit(t *testing.T) {
	const killed = "OutOfMemoryError: Container killed due to memory usage"
	started := aws.Time(time.Unix(1_700_000_000, 0))
	end := func(code int32, reason string, more ...types.Container) types.Task {
		return types.Task{
			StopCode: types.TaskStopCodeEssentialContainerExited, StartedAt: started, Memory: aws.String("4096"),
			Containers: append([]types.Container{{Name: aws.String("prefect"), ExitCode: aws.Int32(code), Reason: aws.String(reason)}}, more...),
		}
	}
	limited := end(137, killed)
	limited.Containers[0].Memory = aws.String("512")
	for _, test := range []struct {
		name string
		task types.Task
		is   bool
		want string
	}{
		{"the task's", end(137, killed), true, "(exit code 137, OutOfMemoryError: killed for its use of memory beyond the task's 4096 MiB)"},
		{"the container's own", limited, true, "killed for its use of memory beyond the container's 512 MiB"},
		{"in other letters", end(1, "OutofMemoryError: Container killed due to memory usage"), true, "exit code 1, OutOfMemoryError"},
		{"a sidecar", end(1, "", types.Container{Name: aws.String("side"), ExitCode: aws.Int32(137), Reason: aws.String(killed)}), false, "(exit code 1)"},
		{"killed, and nobody says why", end(137, ""), false, "SIGKILL: out of memory, or killed"},
		{"clean all the same", end(0, killed), false, "ended with exit code 0"},
	} {
		exit := exitOf(test.task)
		if exit.OutOfMemory != test.is || !strings.Contains(exit.Message, test.want) {
			t.Errorf("%s: %t, %q", test.name, exit.OutOfMemory, exit.Message)
		}
		if (exit.Cause == "out_of_memory") != test.is {
			t.Errorf("%s: cause %q", test.name, exit.Cause)
		}
		if test.is && !strings.Contains(exit.Fix, "MiB.") {
			t.Errorf("%s: fix %q", test.name, exit.Fix)
		}
	}
}

// TestWhoTookTheHost: AWS gives the end of its own maintenance the code of a
// scheduler, and a Spot interruption that of a termination.
func TestWhoTookTheHost(t *testing.T) {
	for _, test := range []struct {
		code   types.TaskStopCode
		reason string
		kind   launch.ExitKind
		want   string
	}{
		{types.TaskStopCodeServiceSchedulerInitiated, "ECS is performing maintenance on the underlying infrastructure hosting the task", launch.ExitInterrupted, "AWS took the task's host out of service"},
		{types.TaskStopCodeTerminationNotice, "Your Spot Task was interrupted.", launch.ExitInterrupted, "Fargate Spot interrupted the task"},
		{types.TaskStopCodeUserInitiated, "Your Spot Task was interrupted.", launch.ExitStopped, "ECS task was stopped"},
		{types.TaskStopCodeServiceSchedulerInitiated, "Scaling activity initiated by deployment", launch.ExitStopped, "ECS task was stopped"},
	} {
		exit := exitOf(types.Task{StopCode: test.code, StoppedReason: aws.String(test.reason), StartedAt: aws.Time(time.Unix(1_700_000_000, 0))})
		if exit.Kind != test.kind || !strings.Contains(exit.Message, test.want) {
			t.Errorf("%s, %s: %s, %q", test.code, test.reason, exit.Kind, exit.Message)
		}
	}
}

// FuzzTexts: whatever AWS says, it is told, and nothing falls over.
func FuzzTexts(f *testing.F) {
	for _, s := range corpus(f) {
		f.Add(s.Code, s.Message, s.StopCode)
	}
	f.Fuzz(func(t *testing.T, code, message, stopCode string) {
		if failure := launchFailure(refusedCall(code, message), &configuration{logs: true}, "blue"); !strings.Contains(failure.Message, message) || failure.Kind == "" {
			t.Errorf("%q is told as %q", message, failure.Message)
		}
		if failure := runFailure([]types.Failure{{Reason: aws.String(code), Detail: aws.String(message)}}); !strings.Contains(failure.Message, message) || !strings.Contains(failure.Message, code) {
			t.Errorf("%q, %q are told as %q", code, message, failure.Message)
		}
		exit := exitOf(types.Task{StopCode: types.TaskStopCode(stopCode), StoppedReason: aws.String(message)})
		if !strings.Contains(exit.Message, strings.TrimRight(strings.TrimSpace(message), ".")) || exit.Kind == "" {
			t.Errorf("%q is told as %q", message, exit.Message)
		}
	})
}
