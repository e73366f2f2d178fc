package worker

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// cancelled cancels a run as a user does, and tells it by event.
func (w *world) cancelled(id string) {
	w.api.become(id, prefect.StateCancelling, "Cancelling")
	w.api.event(prefect.Event{Event: cancellingEvent, Resource: prefect.Resource{"prefect.resource.id": "prefect.flow-run." + id}})
}

func TestCancelledWhileItIsLaunched(t *testing.T) {
	for _, tt := range []struct {
		name   string
		launch func(call int) error
		stops  int
	}{
		{"and the launch comes about", func(int) error { time.Sleep(10 * time.Second); return nil }, 1},
		{"and the launch has no answer yet", func(int) error {
			time.Sleep(10 * time.Second)
			return &launch.Failure{Kind: launch.FailureRetry, Message: "throttled"}
		}, 0},
		{"and the launch fails", func(int) error {
			time.Sleep(10 * time.Second)
			return &launch.Failure{Kind: launch.FailurePermanent, Message: "no"}
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world, _ *Options) {
				w.launcher.launch = func(_ launch.Job, call int) error { return tt.launch(call) }
				w.launcher.onStop = func(pid string) {
					w.launcher.end(pid, launch.Exit{Kind: launch.ExitStopped, Message: "Stopped."})
					w.launcher.hint(pid)
				}
			}, func(w *world) {
				id := w.api.schedule("deployment-id")
				for w.launcher.called() == 0 {
					w.after(time.Second)
				}
				w.cancelled(id)
				w.after(time.Second)
				w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Cancelling", "Cancelled")
				if got := w.api.last(id).Message; got != "Flow run cancelled by worker (no infrastructure found)." {
					t.Errorf("message %q", got)
				}
				w.after(time.Minute)
				if n := len(w.launcher.stopped()); n != tt.stops {
					t.Errorf("%d stops", n)
				}
				if n := w.launcher.called(); n != 1 {
					t.Errorf("%d launches", n)
				}
				if n := w.worker.slots.inUse(); n != 0 {
					t.Errorf("%d slots are still taken", n)
				}
				w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Cancelling", "Cancelled")
			})
		})
	}
	t.Run("says an event of another time", func(t *testing.T) {
		inWorld(t, func(w *world, _ *Options) {
			w.launcher.launch = func(launch.Job, int) error { time.Sleep(10 * time.Second); return nil }
		}, func(w *world) {
			id := w.api.schedule("deployment-id")
			for w.launcher.called() == 0 {
				w.after(time.Second)
			}
			w.api.event(prefect.Event{Event: cancellingEvent, Resource: prefect.Resource{"prefect.resource.id": "prefect.flow-run." + id}})
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			if w.pid(id) == "" || len(w.launcher.stopped()) != 0 {
				t.Errorf("pid %q, stops %v", w.pid(id), w.launcher.stopped())
			}
		})
	})
}

func TestACancelledPendingRunIsToldInItsLog(t *testing.T) {
	inWorld(t, func(w *world, _ *Options) {
		w.launcher.onStop = func(pid string) {
			w.launcher.end(pid, launch.Exit{Kind: launch.ExitStopped, Message: "Stopped."})
			w.launcher.hint(pid)
		}
	}, func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(20 * time.Second)
		w.cancelled(id)
		w.after(10 * time.Second)
		if got := w.api.last(id); got.Name != "Cancelled" || got.Message != "Flow run cancelled by worker while pending." {
			t.Errorf("last state %s %q", got.Name, got.Message)
		}
		if told := w.log.told(id); !slices.Contains(told, "INFO prefect.flow_runs.worker: Cancelled pending flow run '"+id+"'") {
			t.Errorf("told %q", told)
		}
		if reasons := w.launcher.reasons(); !slices.Equal(reasons, []string{"Stopped by Prefect worker"}) {
			t.Errorf("reasons %q", reasons)
		}
	})
}

// TestACommandThatDoesNotListen: nobody but the worker can cancel a run whose
// command is not Prefect's own.
func TestACommandThatDoesNotListen(t *testing.T) {
	for command, deaf := range map[string]bool{"": false, "prefect flow-run execute": false, "python -m prefect.engine": true} {
		t.Run(command, func(t *testing.T) {
			inWorld(t, func(w *world, _ *Options) {
				w.api.vars = map[string]any{"command": command}
				w.launcher.onStop = func(pid string) {
					w.launcher.end(pid, launch.Exit{Kind: launch.ExitStopped, Message: "Stopped."})
					w.launcher.hint(pid)
				}
			}, func(w *world) {
				id, _ := w.running()
				w.cancelled(id)
				w.after(5 * time.Second)
				if got := w.api.last(id).Name; (got == "Cancelled") != deaf {
					t.Errorf("after five seconds it is %s", got)
				}
			})
		})
	}
}

func TestAnEngineThatCallsItsCancellationACrash(t *testing.T) {
	inWorld(t, func(w *world, _ *Options) {
		w.launcher.typ = "process"
		w.api.vars = map[string]any{"command": "python -m prefect.engine"}
		w.launcher.onStop = func(pid string) {
			w.api.become(w.launcher.allJobs()[pid].FlowRunID, prefect.StateCrashed, "Crashed") // by force
			w.launcher.end(pid, launch.Exit{Kind: launch.ExitStopped, Code: code(-15), Message: "Stopped."})
			w.launcher.hint(pid)
		}
	}, func(w *world) {
		id, _ := w.running()
		w.cancelled(id)
		w.after(5 * time.Second)
		w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Running", "Cancelling", "Crashed", "Cancelled")
		if got := w.api.last(id).Message; got != "Flow run was cancelled successfully." {
			t.Errorf("message %q", got)
		}
	})
}

// broken is a template that nothing can be made of.
func broken() json.RawMessage {
	return json.RawMessage(`{"job_configuration": [], "variables": {}}`)
}

func TestAMalformedTemplateDoesNotHideWhatRuns(t *testing.T) {
	var id string
	inWorld(t, func(w *world, _ *Options) {
		w.api.workers = []prefect.WorkerInfo{{Name: "gone", Status: "OFFLINE"}}
		id = w.claimed("gone", "Submitting")
		h, err := w.launcher.Launch(t.Context(), launch.Job{FlowRunID: id, ClaimID: w.api.state(id, 1).ID, WorkerName: "gone"})
		if err != nil {
			t.Fatal(err)
		}
		w.launcher.phase(h.PID, launch.PhaseRunning)
		w.api.become(id, prefect.StateRunning, "Running")
		w.api.runs[id].InfrastructurePID = h.PID
		w.api.runs[id].Raw = map[string]any{"labels": map[string]any{workerNameLabel: "gone"}}
		w.api.pool.BaseJobTemplate = broken()
	}, func(w *world) {
		w.after(time.Minute)
		if !w.worker.slots.holds(id) {
			t.Fatal("not adopted")
		}
		w.launcher.end("pid-1", badExit)
		w.after(time.Minute)
		if got := w.api.last(id).Name; got != "Crashed" {
			t.Errorf("last state %s", got)
		}
	})
}

// TestALaunchThatWasBegunElsewhere: a claim is taken up where it was being launched.
func TestALaunchThatWasBegunElsewhere(t *testing.T) {
	begun := func(w *world, place string) string {
		id := w.api.schedule("deployment-id")
		w.api.mu.Lock()
		defer w.api.mu.Unlock()
		w.api.set(id, prefect.State{Type: prefect.StatePending, Name: "Pending", Message: claimMessage("w1")})
		w.api.set(id, prefect.State{Type: prefect.StatePending, Name: "Submitting", Message: placePrefix + place})
		return id
	}
	t.Run("in the same place, at once", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, _ *Options) {
			w.launcher.place = "cluster blue"
			id = begun(w, "cluster blue")
		}, func(w *world) {
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Resubmitting")
		})
	})
	t.Run("in another place, where it does not show itself", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, o *Options) {
			w.launcher.place = "cluster green"
			id = begun(w, "cluster blue")
		}, func(w *world) {
			w.after(placePatience - 10*time.Second)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			w.after(90 * time.Second)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "AwaitingRetry", "Pending", "Submitting")
			if n := w.launcher.launched(); n != 1 {
				t.Errorf("%d launched", n)
			}
			if asked := w.launcher.searches(); !slices.ContainsFunc(asked, func(p launch.Pool) bool { return slices.Contains(p.Places, "cluster blue") }) {
				t.Error("the other place was not searched")
			}
		})
	})
	t.Run("in another place, and it runs there", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, _ *Options) {
			w.launcher.place = "cluster green"
			id = begun(w, "cluster blue")
			job := launch.Job{FlowRunID: id, ClaimID: w.api.state(id, 1).ID, WorkerName: "w1"}
			if _, err := w.launcher.Launch(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			w.launcher.phase("pid-1", launch.PhaseRunning)
		}, func(w *world) {
			w.after(time.Minute)
			w.api.become(id, prefect.StateRunning, "Running")
			w.after(time.Hour)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Running")
			if n := w.launcher.launched(); n != 1 || w.pid(id) != "pid-1" {
				t.Errorf("%d launched, pid %q", n, w.pid(id))
			}
		})
	})
}
