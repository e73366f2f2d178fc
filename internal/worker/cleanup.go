package worker

import (
	"context"
	"errors"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// cancellingTeardown is the server's request to stop the infrastructure of a
// run that stayed Cancelling for too long.
const cancellingTeardown = "cancelling_timeout_teardown.v1"

// cleansUp reports whether this worker can stop infrastructure that another
// one started. A process can only be stopped on its own machine.
func (w *Worker) cleansUp() bool { return w.launcher.Type() != "process" }

func (w *Worker) cleanupHandler() prefect.CleanupFunc {
	if !w.cleansUp() {
		return nil
	}
	return w.cleanup
}

// cleanup stops what the server asks to be stopped. It never changes the run's
// state: the server has done so.
func (w *Worker) cleanup(ctx context.Context, message prefect.Cleanup) (release string) {
	run, err := w.api.ReadFlowRun(ctx, message.FlowRunID)
	switch {
	case errors.Is(err, prefect.ErrNotFound):
		return ""
	case err != nil:
		w.log.Warn("Read flow run for a cleanup", "flow_run", message.FlowRunID, "error", err)
		return prefect.ReleaseHandlerFailed
	}
	pid := message.InfrastructurePID
	if pid == "" {
		if run.InfrastructurePID != "" {
			return prefect.ReleaseMissingHandle
		}
		return ""
	}
	handle := launch.Handle{PID: pid, FlowRunID: run.ID}
	if err := w.launcher.Stop(ctx, handle, stopReason, w.opts.StopGrace); err != nil {
		w.log.Warn("Stop infrastructure for a cleanup", "flow_run", run.ID, "pid", pid, "error", err)
		return prefect.ReleaseHandlerFailed
	}
	return ""
}
