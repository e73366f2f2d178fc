package worker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/prefect"
)

// failing has one call of the API fail.
func failing(op string, err error) func(*world, *Options) {
	return func(w *world, _ *Options) {
		w.api.before = func(called, _ string) error {
			if called == op {
				return err
			}
			return nil
		}
	}
}

func TestLabelsThatAreRefusedFailTheSubmission(t *testing.T) {
	inWorld(t, failing("SetLabels", errDown), func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(time.Minute)
		w.wantHistory(id, "Scheduled", "Pending", "Crashed")
		if got := w.api.last(id).Message; !strings.HasPrefix(got, "Failed to submit flow run to infrastructure: PrefectHTTPStatusError: label the flow run: ") {
			t.Errorf("message %q", got)
		}
		if w.launcher.called() != 0 || w.worker.slots.inUse() != 0 {
			t.Error("it was launched, or keeps its slot")
		}
	})
}

func TestLabelsThatGetNoAnswerDoNot(t *testing.T) {
	inWorld(t, failing("SetLabels", fmt.Errorf("%w: no route", prefect.ErrUnreachable)), func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(time.Minute) // it is tried for a while
		w.wantHistory(id, "Scheduled", "Pending", "Submitting")
	})
}

func TestAPIDThatCannotBeStoredIsSaidOnce(t *testing.T) {
	inWorld(t, failing("SetInfrastructurePID", errDown), func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(10 * time.Minute)
		w.wantHistory(id, "Scheduled", "Pending", "Submitting")
		w.log.mu.Lock()
		defer w.log.mu.Unlock()
		said := slices.DeleteFunc(slices.Clone(w.log.lines), func(line string) bool {
			return !strings.HasPrefix(line, "An error occurred while setting the `infrastructure_pid` on flow run UUID('"+id+"').")
		})
		if len(said) != 1 {
			t.Errorf("said %d times: %q", len(said), w.log.lines)
		}
	})
}
