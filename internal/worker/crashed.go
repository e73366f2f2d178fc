package worker

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"

	"faber/internal/jobtemplate"
	"faber/internal/launch"
	"faber/internal/prefect"
)

// submissionFailed is how the message of Crashed begins for a run that never got
// infrastructure. What follows is an exception of Python's, with its class: that
// is what the message of Prefect's worker looks like, and what is searched for.
const submissionFailed = "Failed to submit flow run to infrastructure: "

// couldNotStart is how Prefect's worker reports a child that was not started: with
// that, and nothing before it.
const couldNotStart = "Flow run could not start: "

// failSubmission ends a run that never got infrastructure and never will.
func (w *Worker) failSubmission(ctx context.Context, run prefect.FlowRun, still func([]prefect.State) bool, err error, hint string) {
	text := pythonError(err)
	switch {
	case strings.Contains(text, "\n") && hint != "":
		text += "\n" + oneLine(hint)
	case hint != "":
		text = sentences(text, hint)
	}
	var problems *jobtemplate.Problems
	if errors.As(err, &problems) {
		// Python's words first, they are searched for; then each problem in its place.
		text = problems.Exception(w.configurationClass()) + "\n" + problems.Error()
	}
	w.runLog(run.ID, slog.LevelError, "Failed to submit flow run '%s' to infrastructure.\n%s", run.Name, text)
	if !strings.HasPrefix(text, couldNotStart) {
		text = submissionFailed + text
	}
	w.crash(ctx, run.ID, still, text)
}

// configurationClass is what Prefect's worker calls the configuration of a run.
func (w *Worker) configurationClass() string {
	if w.launcher.Type() == "process" {
		return "ProcessJobConfiguration"
	}
	return "ECSJobConfiguration"
}

// className is what the name of an exception looks like at the beginning of a text.
var className = regexp.MustCompile(`^[A-Z]\w*(Error|Exception|NotFound|Exists|Exit): `)

// pythonError is an error as Prefect's worker would have told it: after the class
// of the exception that it has for the case.
func pythonError(err error) string {
	text := strings.TrimSpace(err.Error())
	if class := pythonClass(err); class != "" && !className.MatchString(text) && !strings.HasPrefix(text, couldNotStart) {
		return class + ": " + text
	}
	return text
}

func pythonClass(err error) string {
	var (
		classed interface{ Class() string }
		status  *prefect.StatusError
		failure *launch.Failure
	)
	switch {
	case errors.As(err, &classed):
		return classed.Class()
	case errors.Is(err, prefect.ErrNotFound):
		return "ObjectNotFound"
	case errors.As(err, &status):
		return "PrefectHTTPStatusError"
	case errors.Is(err, prefect.ErrUnreachable):
		return "ConnectError"
	case errors.As(err, &failure):
		return "RuntimeError"
	default:
		return "ValidationError" // a configuration that cannot be
	}
}
