package ecs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/ecs/cause"
	"faber/internal/launch"
)

// startFailures are the reasons under which a task or container never ran the
// user's code.
var startFailures = []string{
	"CannotPullContainerError", "CannotPullImageManifestError", "ResourceInitializationError", "CannotCreateContainerError", "CannotStartContainerError",
	"CannotCreateVolumeError", "CannotInspectContainerError", "ContainerRuntimeError", "EmptyVolumeError", "InternalError",
	"Timeout waiting for network interface provisioning", "Timeout waiting for EphemeralStorage provisioning",
	"Unexpected EC2 error", "DockerTimeoutError",
}

// causeOfEnd looks up what ECS says of a task's end.
func causeOfEnd(task types.Task) cause.Result {
	report := cause.Report{
		Where: cause.Stopped, StopCode: string(task.StopCode), Message: aws.ToString(task.StoppedReason),
		Known: map[cause.Kind]string{cause.Cluster: aws.ToString(task.ClusterArn)},
	}
	for _, container := range task.Containers {
		report.Reasons = append(report.Reasons, aws.ToString(container.Reason))
	}
	for _, container := range judgedContainers(task) {
		report.Known[cause.Image] = aws.ToString(container.Image)
	}
	return cause.Classify(report)
}

// exitOf tells how a stopped task ended. The container that executes the flow
// run decides; a sidecar's code does not matter.
func exitOf(task types.Task) *launch.Exit {
	judged := judgedContainers(task)
	code := exitCode(judged)
	said := causeOfEnd(task)
	exit := &launch.Exit{Code: code, At: endedAt(task), Cause: named(said)}
	switch reasons := allReasons(task); {
	case said.Cause == cause.SpotInterruption:
		exit.Kind = launch.ExitInterrupted
		exit.Message = "Fargate Spot interrupted the task: " + orUnknown(aws.ToString(task.StoppedReason))
		exit.Hint, exit.Fix = said.Hint, said.Hint
	case said.Cause == cause.HostLost:
		exit.Kind = launch.ExitInterrupted
		exit.Message = "AWS took the task's host out of service: " + orUnknown(aws.ToString(task.StoppedReason))
	case task.StopCode == types.TaskStopCodeUserInitiated, task.StopCode == types.TaskStopCodeServiceSchedulerInitiated:
		exit.Kind = launch.ExitStopped
		exit.Message = failedWords(judged, "ECS task was stopped: "+orUnknown(aws.ToString(task.StoppedReason)))
		if code == nil || *code != 0 {
			exit.Hint = diagnose(task).String()
		}
	case code == nil && neverRan(task, reasons), couldNotStart(judged):
		startFailure(exit, task, reasons, said)
	case code == nil:
		exit.Kind = launch.ExitUnknown
		exit.Message = failedWords(judged, "ECS task stopped: "+orUnknown(trimReason(task.StoppedReason)))
		exit.Hint = diagnose(task).String() + " Look at the task's stopped reason in the ECS console and at its last log lines."
	case *code == 0:
		exit.Kind, exit.Cause = launch.ExitClean, ""
		exit.Message = "The container ended with exit code 0."
	default:
		nonZero(exit, task, judged)
	}
	return exit
}

// judgedContainers are the containers whose end is the task's: the one that was
// given the flow run, else the one called prefect, else all.
func judgedContainers(task types.Task) []types.Container {
	for _, name := range []string{overriddenContainer(task), defaultContainer} {
		for _, container := range task.Containers {
			if name != "" && aws.ToString(container.Name) == name {
				return []types.Container{container}
			}
		}
	}
	return task.Containers
}

// overriddenContainer is the container that was given a flow run to execute.
func overriddenContainer(task types.Task) string {
	if task.Overrides == nil {
		return ""
	}
	for _, override := range task.Overrides.ContainerOverrides {
		for _, variable := range override.Environment {
			if aws.ToString(variable.Name) == envFlowRunID {
				return aws.ToString(override.Name)
			}
		}
	}
	return ""
}

// exitCode is the code that counts: the first that is not 0, else 0 if there
// is any.
func exitCode(containers []types.Container) *int {
	var found *int
	for _, container := range containers {
		if container.ExitCode == nil {
			continue
		}
		code := int(*container.ExitCode)
		if code != 0 {
			return &code
		}
		found = &code
	}
	return found
}

func endedAt(task types.Task) time.Time {
	for _, at := range []*time.Time{task.ExecutionStoppedAt, task.StoppedAt, task.StoppingAt} {
		if at != nil {
			return *at
		}
	}
	return time.Now()
}

// allReasons is everything that ECS says about the end, the task's own words
// first, as parts of one sentence.
func allReasons(task types.Task) string {
	var reasons []string
	add := func(reason *string) {
		if r := trimReason(reason); r != "" && !slices.Contains(reasons, r) {
			reasons = append(reasons, r)
		}
	}
	add(task.StoppedReason)
	for _, container := range task.Containers {
		add(container.Reason)
	}
	return strings.Join(reasons, "; ")
}

// trimReason is a reason without the end of its sentence, as others go on there.
func trimReason(reason *string) string {
	return strings.TrimRight(strings.TrimSpace(aws.ToString(reason)), ".")
}

func neverRan(task types.Task, reasons string) bool {
	if task.StopCode == types.TaskStopCodeTaskFailedToStart || task.StartedAt == nil {
		return true
	}
	return knownStartFailure(reasons)
}

func knownStartFailure(reasons string) bool {
	return slices.ContainsFunc(startFailures, func(known string) bool { return strings.Contains(reasons, known) })
}

// couldNotStart finds containers that have an exit code although their command
// never ran: the runtime's own.
func couldNotStart(judged []types.Container) bool {
	return slices.ContainsFunc(judged, func(c types.Container) bool {
		return strings.HasPrefix(aws.ToString(c.Reason), "CannotStartContainerError")
	})
}

// startFailure is the end of a task that ran none of the flow's code. Only a
// cause that is known to last is called permanent: what the table does not have
// may be over at the next launch.
func startFailure(exit *launch.Exit, task types.Task, reasons string, said cause.Result) {
	exit.Kind = launch.ExitStartFailure
	exit.Message = "ECS task failed to start: " + orUnknown(reasons)
	if task.StopCode == types.TaskStopCodeTaskFailedToStart && len(task.Containers) == 0 && !knownStartFailure(reasons) {
		exit.Message += ". The capacity provider could not place the task."
	}
	exit.Permanent, exit.Fix = said.Permanent(), said.Hint
	exit.OutOfMemory = said.Cause == cause.OutOfMemory
	exit.Hint = diagnose(task).String() + " " + said.Hint
}

const (
	codeNotExecutable = 126
	codeNotFound      = 127
	codeKilled        = 137
	codeSegfault      = 139
	codeTerminated    = 143
)

// nonZero words the end of a container that failed, in Prefect's words and
// with the code itself.
func nonZero(exit *launch.Exit, task types.Task, judged []types.Container) {
	exit.Kind, exit.Cause = launch.ExitNonZero, ""
	if exit.OutOfMemory = ranOutOfMemory(task, judged); exit.OutOfMemory {
		exit.Cause = string(cause.OutOfMemory)
	}
	detail, hint := codeWords(*exit.Code, exit.OutOfMemory, memoryLimit(task, judged))
	exit.Message = failedWords(judged, fmt.Sprintf("exit code %d%s", *exit.Code, detail))
	exit.Fix, exit.Hint = hint, diagnose(task).String()+" "+hint
}

// ranOutOfMemory reports whether ECS says so of the task, or of a container that
// counts: a sidecar may die of it alone.
func ranOutOfMemory(task types.Task, judged []types.Container) bool {
	reasons := []*string{task.StoppedReason}
	for _, container := range judged {
		reasons = append(reasons, container.Reason)
	}
	return slices.ContainsFunc(reasons, func(reason *string) bool {
		return strings.Contains(strings.ToLower(aws.ToString(reason)), "outofmemory")
	})
}

// memoryLimit is what the containers that count could use at most, in the form
// "beyond the container's 512 MiB": their own limit, else the task's.
func memoryLimit(task types.Task, judged []types.Container) (beyond string) {
	for _, container := range judged {
		if limit := aws.ToString(container.Memory); limit != "" && limit != "0" {
			return " beyond the container's " + limit + " MiB"
		}
	}
	if limit := aws.ToString(task.Memory); limit != "" {
		return " beyond the task's " + limit + " MiB"
	}
	return ""
}

// failedWords are Prefect's words for the containers that did not end with code
// 0, with what else is known behind them; that alone when all of them did.
func failedWords(judged []types.Container, detail string) string {
	failed := slices.DeleteFunc(slices.Clone(judged), func(c types.Container) bool { return aws.ToInt32(c.ExitCode) == 0 && c.ExitCode != nil })
	if len(failed) == 0 {
		return detail
	}
	return fmt.Sprintf("The following containers stopped with a non-zero exit code: %s (%s)", quoteNames(names(failed)), detail)
}

func codeWords(code int, outOfMemory bool, beyond string) (detail, hint string) {
	switch {
	case outOfMemory:
		return ", OutOfMemoryError: killed for its use of memory" + beyond, "Raise 'memory' of the job variables" + beyond + "."
	case code == codeKilled:
		return ", SIGKILL: out of memory, or killed after its stop timeout", "If nobody stopped the task, raise 'memory' of the job variables" + beyond + "."
	case code == codeSegfault:
		return ", SIGSEGV", "A native library crashed: look at the last log lines, and at the image's architecture."
	case code == codeTerminated:
		return ", SIGTERM", "Something asked the container to end: a stop, a deployment, or a process inside it."
	case code == codeNotFound:
		return ", command not found", "Check that the image has Prefect installed and the job's command on its PATH."
	case code == codeNotExecutable:
		return ", command cannot be executed", "Check the permissions and the format of the job's command in the image."
	default:
		return "", "Look at the last log lines: the container ended before the flow could report what happened."
	}
}

func names(containers []types.Container) []string {
	out := make([]string, len(containers))
	for i, container := range containers {
		out[i] = firstOf(aws.ToString(container.Name), aws.ToString(container.ContainerArn))
	}
	return out
}

func orUnknown(reason string) string {
	if reason == "" {
		return "unknown reason"
	}
	return reason
}
