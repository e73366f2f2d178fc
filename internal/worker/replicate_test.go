package worker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// taskEvent is what an infrastructure tells of a run's task.
func taskEvent(run, status string, at time.Time) *launch.Event {
	e := &launch.Event{
		ID: uuid.NewString(), At: at, Name: "prefect.ecs.task." + status,
		Resource: map[string]string{"prefect.resource.id": "prefect.ecs.task.t-" + run, "ecs.taskArn": "arn:t-" + run},
		Labels: map[string]string{
			"prefect.io/flow-run-id": run, "prefect.io/flow-run-name": "my-run",
			"prefect.io/deployment-id": "d", "prefect.io/deployment-name": "dep",
			"prefect.io/flow-id": "f", "prefect.io/flow-name": "flow",
			"prefect.io/work-pool-id": "p", "prefect.io/work-pool-name": "pool",
			"prefect.io/worker-name": "Other Worker",
		},
	}
	if status == "provisioning" || status == "pending" {
		e.Pending = "ECS task is " + status + "."
	}
	return e
}

// tell hands events to the worker, as a launcher does.
func (w *world) tell(events ...*launch.Event) {
	for _, e := range events {
		w.launcher.hints <- launch.Hint{Event: e}
	}
	w.after(time.Second)
}

func TestEventsOfTheInfrastructureArePassedOn(t *testing.T) {
	inWorld(t, func(w *world, _ *Options) { w.launcher.typ = "ecs" }, func(w *world) {
		at := time.Now().Add(-time.Hour)
		first := taskEvent("run-1", "activating", at)
		second := taskEvent("run-1", "running", at.Add(3*time.Second))
		w.tell(first, second, first, second) // the source delivers twice
		other := taskEvent("run-2", "running", at.Add(4*time.Second))
		late := taskEvent("run-1", "provisioning", at.Add(-time.Second))
		late.Pending = ""
		stopped := taskEvent("run-1", "stopped", at.Add(10*time.Minute))
		w.tell(other, late, stopped)

		var got []string
		ids := map[string]string{}
		for _, e := range w.log.all() {
			if e.Resource["ecs.taskArn"] == "" {
				continue
			}
			follows := "-"
			if e.Follows != nil {
				follows = ids[*e.Follows]
			}
			ids[e.ID] = e.Event
			got = append(got, fmt.Sprintf("%s of %s at %s follows %s", e.Event, e.Resource["ecs.taskArn"], e.Occurred.Sub(at), follows))
		}
		want := []string{
			"prefect.ecs.task.activating of arn:t-run-1 at 0s follows -",
			"prefect.ecs.task.running of arn:t-run-1 at 3s follows prefect.ecs.task.activating",
			"prefect.ecs.task.running of arn:t-run-2 at 4s follows -",
			"prefect.ecs.task.provisioning of arn:t-run-1 at -1s follows -", // it is older than what is known
			"prefect.ecs.task.stopped of arn:t-run-1 at 10m0s follows -",    // too long after
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if ids[first.ID] != first.Name {
			t.Error("the event has another id than its source")
		}
	})
}

func TestWhatAnEventOfTheInfrastructureConcerns(t *testing.T) {
	inWorld(t, func(w *world, _ *Options) { w.launcher.typ = "ecs" }, func(w *world) {
		bare := taskEvent("run-2", "running", time.Now())
		bare.Labels = map[string]string{"prefect.io/flow-run-id": "run-2"}
		w.tell(taskEvent("run-1", "running", time.Now()), bare)
		events := w.log.named("prefect.ecs.task.running")
		if len(events) != 2 {
			t.Fatalf("%d events", len(events))
		}
		want := []prefect.Resource{
			{"prefect.resource.id": "prefect.flow-run.run-1", "prefect.resource.role": "flow-run", "prefect.resource.name": "my-run"},
			{"prefect.resource.id": "prefect.deployment.d", "prefect.resource.role": "deployment", "prefect.resource.name": "dep"},
			{"prefect.resource.id": "prefect.flow.f", "prefect.resource.role": "flow", "prefect.resource.name": "flow"},
			{"prefect.resource.id": "prefect.work-pool.p", "prefect.resource.role": "work-pool", "prefect.resource.name": "pool"},
			{
				"prefect.resource.id": "prefect.worker.ecs.other-worker", "prefect.resource.role": "worker", "prefect.resource.name": "Other Worker",
				"prefect.worker-type": "ecs", "prefect.version": prefect.Version,
			},
		}
		if diff := cmp.Diff(want, events[0].Related); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]prefect.Resource{{"prefect.resource.id": "prefect.flow-run.run-2", "prefect.resource.role": "flow-run"}}, events[1].Related); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEventsAreNotLostAtTheEnd(t *testing.T) {
	inWorld(t, func(w *world, _ *Options) {
		w.launcher.onClose = func() { // read from the queue, and deleted there, in the last moment
			w.launcher.hints <- launch.Hint{Event: taskEvent("run-1", "stopped", time.Now())}
		}
	}, func(w *world) {
		w.after(time.Minute)
		w.stop()
		<-w.ended
		if n := len(w.log.named("prefect.ecs.task.stopped")); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestInfrastructurePending(t *testing.T) {
	t.Run("is told once for each word", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(15 * time.Second)
			event := taskEvent(id, "provisioning", time.Now())
			w.tell(event)
			w.tell(event, taskEvent(id, "pending", time.Now()))
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "InfrastructurePending")
			if got := w.api.last(id).Message; got != "ECS task is provisioning." {
				t.Errorf("message %q", got)
			}
			// It is no obstacle to what follows.
			w.launcher.end(w.pid(id), launch.Exit{Kind: launch.ExitStartFailure, Message: "No."})
			w.after(15 * time.Second)
			if history := w.api.history(id); len(history) < 5 || history[4] != "AwaitingRetry" {
				t.Errorf("history %q", history)
			}
		})
	})
	t.Run("for the runs of others, too", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id := w.api.plan("deployment-id", time.Now().Add(time.Hour))
			w.api.become(id, prefect.StatePending, "Pending") // by Prefect's own worker
			w.tell(taskEvent(id, "pending", time.Now()))
			w.wantHistory(id, "Scheduled", "Pending", "InfrastructurePending")
		})
	})
	for _, now := range []prefect.StateType{
		prefect.StateScheduled, prefect.StateRunning, prefect.StatePaused, prefect.StateCancelling, prefect.StateCompleted, prefect.StateCrashed,
	} {
		t.Run("not for a run that is "+string(now), func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				later := time.Now().Add(time.Hour)
				id := w.api.plan("deployment-id", later)
				w.api.mu.Lock()
				w.api.set(id, prefect.State{Type: now, Name: "X", Details: prefect.StateDetails{ScheduledTime: &later}})
				w.api.mu.Unlock()
				w.tell(taskEvent(id, "pending", time.Now()))
				if history := w.api.history(id); slices.Contains(history, "InfrastructurePending") {
					t.Errorf("history %q", history)
				}
			})
		})
	}
	t.Run("not for good when the run goes back to its pool in that moment", func(t *testing.T) {
		inWorld(t, func(w *world, _ *Options) {
			raced := false
			w.api.before = func(op, id string) error {
				if op != "SetFlowRunState/InfrastructurePending" || raced {
					return nil
				}
				raced = true
				w.api.mu.Lock()
				defer w.api.mu.Unlock()
				soon := time.Now().Add(time.Minute)
				w.api.set(id, prefect.State{Type: prefect.StateScheduled, Name: "AwaitingRetry", Message: "This was launch 1 of 3; x", Details: prefect.StateDetails{ScheduledTime: &soon}})
				return nil
			}
		}, func(w *world) {
			id := w.api.plan("deployment-id", time.Now().Add(time.Hour))
			w.api.become(id, prefect.StatePending, "Pending")
			w.tell(taskEvent(id, "pending", time.Now()))
			w.wantHistory(id, "Scheduled", "Pending", "AwaitingRetry", "InfrastructurePending", "AwaitingRetry")
			w.after(2 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "AwaitingRetry", "InfrastructurePending", "AwaitingRetry", "Pending", "Submitting")
		})
	})
	t.Run("of a run that is gone", func(t *testing.T) {
		inWorld(t, nil, func(w *world) { w.tell(taskEvent(uuid.NewString(), "pending", time.Now())) })
	})
}

func TestRecentForgetsTheOldest(t *testing.T) {
	var r recent[int, int]
	for i := range 3 * replicasKept {
		r.put(i, i)
	}
	_, old := r.get(0)
	value, young := r.get(3*replicasKept - 1)
	if old || !young || value != 3*replicasKept-1 || len(r.values) != replicasKept || len(r.order) != replicasKept {
		t.Errorf("old %t, young %t, %d values, %d in order", old, young, len(r.values), len(r.order))
	}
}
