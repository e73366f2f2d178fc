package worker

import (
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

func TestRunningOnceStrandsNothing(t *testing.T) {
	finishing := func(w *world) func(string, launch.Job) {
		return func(pid string, job launch.Job) {
			time.Sleep(time.Minute)
			w.api.become(job.FlowRunID, prefect.StateCompleted, "Completed")
			w.launcher.end(pid, cleanExit)
		}
	}
	t.Run("that went back to the pool", func(t *testing.T) {
		var id, other string
		inWorld(t, func(w *world, o *Options) {
			o.RunOnce = true
			finish := finishing(w)
			w.launcher.started = func(pid string, job launch.Job) {
				if job.FlowRunID == id && pid == "pid-1" {
					other = w.api.schedule("deployment-id") // due by then, and of the next batch
					w.launcher.end(pid, launch.Exit{Kind: launch.ExitStartFailure, Message: "No image."})
					return
				}
				finish(pid, job)
			}
			id = w.api.schedule("deployment-id")
		}, func(w *world) {
			<-w.ended
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "AwaitingRetry", "Pending", "Submitting", "Completed")
			w.wantHistory(other, "Scheduled")
		})
	})
	t.Run("that an earlier one claimed", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, o *Options) {
			o.RunOnce = true
			w.launcher.started = finishing(w)
			id = w.claimed("an earlier one")
			time.Sleep(2 * ownClaimAge)
		}, func(w *world) {
			<-w.ended
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Completed")
		})
	})
	t.Run("that an earlier one launched", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, o *Options) {
			o.RunOnce = true
			id = w.claimed("an earlier one", "Submitting")
			h, err := w.launcher.Launch(t.Context(), launch.Job{FlowRunID: id, ClaimID: w.api.state(id, 1).ID, WorkerName: "an earlier one"})
			if err != nil {
				t.Fatal(err)
			}
			w.launcher.end(h.PID, badExit) // the last that was heard of it
			w.launcher.phase(h.PID, launch.PhaseRunning)
			w.api.become(id, prefect.StateRunning, "Running")
			w.api.runs[id].InfrastructurePID = h.PID
			go func() {
				time.Sleep(5 * time.Minute)
				w.launcher.end(h.PID, badExit)
			}()
		}, func(w *world) {
			<-w.ended
			if got := w.api.last(id); got.Name != "Crashed" {
				t.Errorf("last state %s", got.Name)
			}
		})
	})
	t.Run("with a limit waits for all that it took", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			o.RunOnce, o.Limit = true, 2
			w.launcher.started = finishing(w)
			for range 3 {
				w.api.schedule("deployment-id")
			}
		}, func(w *world) {
			<-w.ended
			if n := w.launcher.launched(); n != 2 {
				t.Errorf("%d launched", n)
			}
		})
	})
}

// TestARunThatRetriesInItsProcess: once a flow has retried by itself, the server
// keeps its run for that process, and hands it out to no worker.
func TestARunThatRetriesInItsProcess(t *testing.T) {
	t.Run("whose task is interrupted comes back", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id, pid := w.running()
			w.api.keepInProcess(id)
			w.launcher.end(pid, launch.Exit{Kind: launch.ExitInterrupted, Message: "Spot."})
			w.after(2 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Running", "AwaitingRetry", "Pending", "Submitting")
		})
	})
	t.Run("whose task ends while it waits comes back", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id, pid := w.running()
			soon := time.Now().Add(30 * time.Second)
			w.api.mu.Lock()
			w.api.set(id, prefect.State{Type: prefect.StateScheduled, Name: "AwaitingRetry", Details: prefect.StateDetails{ScheduledTime: &soon}})
			w.api.mu.Unlock()
			w.api.keepInProcess(id)
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Running", "AwaitingRetry") // its process sees to it
			w.launcher.end(pid, badExit)
			w.after(2 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Running", "AwaitingRetry", "Pending", "Submitting")
		})
	})
	t.Run("has no infrastructure between claim and launch", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, _ *Options) {
			w.launcher.launch = func(job launch.Job, _ int) error {
				if pid := w.pid(job.FlowRunID); pid != "" {
					t.Errorf("pid %q", pid)
				}
				return nil
			}
			id = w.api.schedule("deployment-id")
			w.api.runs[id].InfrastructurePID = "old"
		}, func(w *world) {
			w.after(20 * time.Second)
			if got := w.pid(id); got != "pid-1" {
				t.Errorf("pid %q", got)
			}
		})
	})
	t.Run("elsewhere is left alone", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id, pid := w.running()
			w.api.mu.Lock()
			soon := time.Now().Add(30 * time.Second)
			w.api.set(id, prefect.State{Type: prefect.StateScheduled, Name: "AwaitingRetry", Details: prefect.StateDetails{ScheduledTime: &soon}})
			w.api.runs[id].InfrastructurePID = "another"
			w.api.mu.Unlock()
			w.api.keepInProcess(id)
			w.launcher.end(pid, badExit)
			w.after(2 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Running", "AwaitingRetry")
		})
	})
}
