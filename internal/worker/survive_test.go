package worker

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/launch"
)

// TestAPanicOfOneFlowRun: it ends that launch, and nothing else. Neither a slot nor
// the run is lost.
func TestAPanicOfOneFlowRun(t *testing.T) {
	var panicked atomic.Bool
	inWorld(t, func(w *world, o *Options) {
		w.mayPanic, o.Limit = true, 1
		o.Redact = func(text string) string { return strings.ReplaceAll(text, "hunter2", "***") }
		w.launcher.launch = func(launch.Job, int) error {
			if panicked.CompareAndSwap(false, true) {
				panic(errors.New("send hunter2"))
			}
			return nil
		}
	}, func(w *world) {
		first := w.api.schedule("deployment-id")
		w.after(time.Second)
		second := w.api.schedule("deployment-id")
		w.after(15 * time.Second)
		if n := w.worker.panicked.Load(); n != 1 {
			t.Fatalf("%d panics", n)
		}
		w.wantHistory(second, "Scheduled", "Pending", "Submitting")
		w.launcher.end(w.pid(second), launch.Exit{Kind: launch.ExitClean})
		w.api.become(second, "COMPLETED", "Completed")
		w.after(2 * time.Minute)
		if pid := w.pid(first); pid == "" {
			t.Errorf("the run is stranded: %v", w.api.history(first))
		}
	})
}

// TestAPanicOfALoop: the loop begins anew.
func TestAPanicOfALoop(t *testing.T) {
	for _, op := range []string{"GetScheduledFlowRuns", "FilterFlowRuns", "Heartbeat"} {
		t.Run(op, func(t *testing.T) {
			var calls atomic.Int64
			inWorld(t, func(w *world, _ *Options) {
				w.mayPanic = true
				w.api.before = func(called, _ string) error {
					if called == op && calls.Add(1) == 2 {
						panic(op)
					}
					return nil
				}
			}, func(w *world) {
				w.after(3 * time.Minute)
				if n := w.worker.panicked.Load(); n != 1 || calls.Load() < 4 {
					t.Errorf("%d panics, %d calls", n, calls.Load())
				}
				if err := w.worker.Ready(); err != nil {
					t.Error(err)
				}
				id := w.api.schedule("deployment-id")
				w.after(15 * time.Second)
				w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			})
		})
	}
}
