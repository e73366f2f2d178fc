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
		runs := []string{w.api.schedule("deployment-id"), w.api.schedule("deployment-id")}
		w.after(15 * time.Second)
		if n := w.worker.panicked.Load(); n != 1 {
			t.Fatalf("%d panics", n)
		}
		over := map[string]bool{}
		for range 4 { // one after the other: there is one slot
			w.after(2 * time.Minute)
			for _, id := range runs {
				if pid := w.pid(id); pid != "" && !over[id] {
					over[id] = true
					w.launcher.end(pid, launch.Exit{Kind: launch.ExitClean})
					w.api.become(id, "COMPLETED", "Completed")
				}
			}
		}
		for _, id := range runs {
			if !over[id] {
				t.Errorf("a run is stranded: %v", w.api.history(id))
			}
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
