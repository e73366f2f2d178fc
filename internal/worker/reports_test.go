package worker

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

func TestReports(t *testing.T) {
	for _, tt := range []struct {
		name string
		exit launch.Exit
		then func(w *world, id string) // what happened to the run before the end is seen
		want string                    // name of the last state
		text string
	}{
		{"non-zero", badExit, nil, "Crashed", "Exited with code 7."},
		{"non-zero but final", badExit, func(w *world, id string) { w.api.become(id, prefect.StateFailed, "Failed") }, "Failed", ""},
		{"non-zero but suspended", badExit, func(w *world, id string) { w.api.become(id, prefect.StatePaused, "Suspended") }, "Suspended", ""},
		{"non-zero but rescheduled", badExit, func(w *world, id string) {
			w.api.mu.Lock()
			defer w.api.mu.Unlock()
			later := time.Now().Add(time.Hour)
			w.api.set(id, prefect.State{Type: prefect.StateScheduled, Name: "AwaitingRetry", Details: prefect.StateDetails{ScheduledTime: &later}})
		}, "AwaitingRetry", ""},
		{"non-zero of an earlier launch", badExit, func(w *world, id string) {
			w.api.mu.Lock()
			w.api.runs[id].InfrastructurePID = "newer"
			w.api.mu.Unlock()
		}, "Running", ""},
		{"non-zero with the pid wiped", badExit, func(w *world, id string) { w.api.mu.Lock(); w.api.runs[id].InfrastructurePID = ""; w.api.mu.Unlock() }, "Crashed", "Exited with code 7."},
		{"clean and silent", cleanExit, nil, "Crashed", "The flow run's infrastructure exited cleanly without reporting a final state. Check that"},
		{"stopped by somebody", launch.Exit{Kind: launch.ExitStopped, Message: "Task stopped by user."}, nil, "Crashed", "Task stopped by user."},
		{"interrupted", launch.Exit{Kind: launch.ExitInterrupted, Message: "Spot capacity was reclaimed."}, nil, "AwaitingRetry", "Spot capacity was reclaimed. This was launch 1 of 3;"},
		{"cancelled", badExit, func(w *world, id string) { w.api.become(id, prefect.StateCancelling, "Cancelling") }, "Cancelled", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				id, pid := w.running()
				if tt.then != nil {
					tt.then(w, id)
				}
				w.launcher.end(pid, tt.exit)
				w.launcher.hint(pid)
				if tt.exit.Kind == launch.ExitClean {
					w.after(selfReport)
				}
				w.after(2 * time.Second)
				if got := w.api.last(id); got.Name != tt.want || !strings.HasPrefix(got.Message, tt.text) {
					t.Errorf("last state %s %q", got.Name, got.Message)
				}
				if copied := w.log.has("last words of " + pid); copied != (tt.want == "Crashed") {
					t.Errorf("last lines copied: %t", copied)
				}
				if tt.want == "AwaitingRetry" && tt.then == nil && w.pid(id) != "" {
					t.Error("a run given back still has a pid")
				}
			})
		})
	}
	t.Run("clean and late", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id, pid := w.running()
			w.launcher.end(pid, cleanExit)
			w.launcher.hint(pid)
			w.after(5 * time.Second)
			w.api.become(id, prefect.StateCompleted, "Completed")
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Running", "Completed")
		})
	})
	t.Run("the API is down meanwhile", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id, pid := w.running()
			var down atomic.Bool
			down.Store(true)
			w.api.mu.Lock()
			w.api.before = func(string, string) error {
				if down.Load() {
					return errDown
				}
				return nil
			}
			w.api.mu.Unlock()
			w.launcher.end(pid, badExit)
			w.after(20 * time.Minute)
			down.Store(false)
			w.after(time.Minute)
			if got := w.api.last(id).Name; got != "Crashed" {
				t.Errorf("last state %s", got)
			}
		})
	})
}

func TestHowMuchOutputIsCopied(t *testing.T) {
	for _, tt := range []struct {
		name, typ string
		begun     bool
		want      int
	}{
		{"a run that began", "fake", true, 50},
		{"a run that never began", "fake", false, 500},
		{"a child that never began", "process", false, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world, _ *Options) { w.launcher.typ = tt.typ }, func(w *world) {
				id := w.api.schedule("deployment-id")
				w.after(15 * time.Second)
				pid := w.pid(id)
				if tt.begun {
					w.api.become(id, prefect.StateRunning, "Running")
				}
				w.launcher.end(pid, badExit)
				w.launcher.hint(pid)
				w.after(time.Minute)
				w.launcher.mu.Lock()
				defer w.launcher.mu.Unlock()
				if len(w.launcher.tailed) == 0 || w.launcher.tailed[0] != tt.want {
					t.Errorf("asked for %v lines", w.launcher.tailed)
				}
			})
		})
	}
}

func TestMissingInfrastructure(t *testing.T) {
	t.Run("seen before", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id, pid := w.running()
			w.launcher.forget(pid)
			w.after(5 * time.Second)
			if got := w.api.last(id).Name; got != "Running" {
				t.Errorf("one look was enough for %s", got)
			}
			w.after(time.Minute)
			if got := w.api.last(id); got.Name != "Crashed" || !strings.Contains(got.Message, "no longer exists") {
				t.Errorf("last state %s %q", got.Name, got.Message)
			}
		})
	})
	t.Run("never seen and young", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			w.launcher.started = func(pid string, _ launch.Job) { w.launcher.forget(pid) }
			id := w.api.schedule("deployment-id")
			w.after(4 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			w.after(3 * time.Minute)
			if got := w.api.last(id).Name; got != "Crashed" {
				t.Errorf("last state %s", got)
			}
		})
	})
	t.Run("back again", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id, pid := w.running()
			w.launcher.mu.Lock()
			kept := w.launcher.seen[pid]
			w.launcher.mu.Unlock()
			for range 20 { // it flickers: gone for less than the gap each time
				w.launcher.forget(pid)
				w.launcher.hint(pid)
				w.after(time.Second)
				w.launcher.mu.Lock()
				w.launcher.seen[pid] = kept
				w.launcher.mu.Unlock()
				w.launcher.hint(pid)
				w.after(time.Second)
			}
			if got := w.api.last(id).Name; got != "Running" {
				t.Errorf("last state %s", got)
			}
		})
	})
	t.Run("throttled for a while", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id, pid := w.running()
			w.launcher.mu.Lock()
			w.launcher.describe = errors.New("throttled")
			w.launcher.mu.Unlock()
			w.launcher.end(pid, badExit)
			w.after(10 * time.Minute)
			if got := w.api.last(id).Name; got != "Running" {
				t.Errorf("last state %s", got)
			}
			w.launcher.mu.Lock()
			w.launcher.describe = nil
			w.launcher.mu.Unlock()
			w.after(3 * time.Minute)
			if got := w.api.last(id).Name; got != "Crashed" {
				t.Errorf("last state %s", got)
			}
		})
	})
}
