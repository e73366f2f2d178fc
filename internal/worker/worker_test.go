package worker

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

func code(n int) *int { return &n }

var (
	cleanExit = launch.Exit{Kind: launch.ExitClean, Code: code(0), Message: "Process exited cleanly."}
	badExit   = launch.Exit{Kind: launch.ExitNonZero, Code: code(7), Message: "Exited with code 7.", Hint: "Read the logs."}
)

func TestAGoodRun(t *testing.T) {
	inWorld(t, func(w *world, o *Options) { o.Limit = 5 }, func(w *world) {
		id, pid := w.running()
		w.api.become(id, prefect.StateCompleted, "Completed")
		w.launcher.end(pid, cleanExit)
		w.after(time.Minute)
		w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Running", "Completed")
		if n := w.worker.slots.inUse(); n != 0 {
			t.Errorf("%d slots are still taken", n)
		}
		if got := w.api.run(id).Raw["labels"].(map[string]any)[workerNameLabel]; got != "w1" {
			t.Errorf("worker label %v", got)
		}
		var names []string
		events := w.log.all()
		for _, e := range events {
			names = append(names, e.Event)
		}
		if want := []string{"prefect.worker.started", "prefect.worker.submitted-flow-run", "prefect.worker.executed-flow-run"}; !slices.Equal(names, want) {
			t.Errorf("events %q", names)
		}
		executed := events[2]
		if executed.Follows == nil || *executed.Follows != events[1].ID {
			t.Error("executed does not follow submitted")
		}
		var ids []string
		for _, r := range executed.Related {
			ids = append(ids, r["prefect.resource.id"])
		}
		want := []string{"prefect.deployment.deployment-id", "prefect.flow.flow-id", "prefect.flow-run." + id, "prefect.tag.a", "prefect.tag.b", "prefect.tag.c", "prefect.work-pool.pool-id"}
		if !slices.Equal(ids, want) {
			t.Errorf("related %q", ids)
		}
		if executed.Related[2]["prefect.infrastructure.status-code"] != "0" || executed.Related[2]["prefect.infrastructure.identifier"] != pid {
			t.Errorf("infrastructure of the event: %v", executed.Related[2])
		}
	})
}

func TestLimitCountsUntilTheInfrastructureEnded(t *testing.T) {
	inWorld(t, func(w *world, o *Options) { o.Limit = 2 }, func(w *world) {
		for range 5 {
			w.api.schedule("deployment-id")
		}
		w.after(time.Minute)
		if n := w.launcher.launched(); n != 2 {
			t.Fatalf("%d launched with a limit of 2", n)
		}
		w.api.become(w.launcher.allJobs()["pid-1"].FlowRunID, prefect.StateCompleted, "Completed")
		w.launcher.end("pid-1", cleanExit)
		w.launcher.hint("pid-1")
		w.after(time.Second) // a freed slot does not wait for the next poll
		if n := w.launcher.launched(); n != 3 {
			t.Errorf("%d launched after one ended", n)
		}
	})
}

func TestAnswersToTheClaim(t *testing.T) {
	t.Run("abort", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			w.api.answer = func(string, prefect.State) *prefect.OrchestrationResult {
				return &prefect.OrchestrationResult{Status: prefect.StatusAbort}
			}
		}, func(w *world) {
			w.api.schedule("deployment-id")
			w.after(30 * time.Second)
			if w.launcher.launched() != 0 || w.worker.slots.inUse() != 0 {
				t.Error("an aborted claim was launched or kept its slot")
			}
		})
	})
	t.Run("rejected into another state", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			w.api.answer = func(string, prefect.State) *prefect.OrchestrationResult {
				return &prefect.OrchestrationResult{Status: prefect.StatusReject, State: &prefect.State{Type: prefect.StateScheduled, Name: "AwaitingConcurrencySlot"}}
			}
		}, func(w *world) {
			w.api.schedule("deployment-id")
			w.after(30 * time.Second)
			if w.launcher.launched() != 0 || w.worker.slots.inUse() != 0 {
				t.Error("a rejected claim was launched or kept its slot")
			}
		})
	})
	t.Run("wait", func(t *testing.T) {
		var proposed []time.Time
		inWorld(t, func(w *world, o *Options) {
			w.api.answer = func(string, prefect.State) *prefect.OrchestrationResult {
				if proposed = append(proposed, time.Now()); len(proposed) > 1 {
					return nil
				}
				r := &prefect.OrchestrationResult{Status: prefect.StatusWait}
				r.Details.DelaySeconds = 2
				return r
			}
		}, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(30 * time.Second)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			if gap := proposed[1].Sub(proposed[0]); gap != 2*time.Second {
				t.Errorf("proposed again after %s", gap)
			}
		})
	})
	t.Run("reply lost", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			lost := 0
			w.api.after = func(op, _ string) error {
				if op == "SetFlowRunState/Pending" && lost < 2 {
					lost++
					return errDown
				}
				return nil
			}
		}, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(30 * time.Second)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			if n := w.launcher.launched(); n != 1 {
				t.Errorf("%d launched", n)
			}
		})
	})
}

func TestTheAPIIsDownForAnHour(t *testing.T) {
	var down atomic.Bool
	inWorld(t, func(w *world, o *Options) {
		down.Store(true)
		w.api.before = func(string, string) error {
			if down.Load() {
				return errDown
			}
			return nil
		}
	}, func(w *world) {
		w.after(30 * time.Minute)
		if err := w.worker.Ready(); err == nil {
			t.Error("ready without a pool")
		}
		if err := w.worker.Live(); err != nil {
			t.Errorf("not live before the API was reached at all: %v", err)
		}
		down.Store(false)
		w.after(time.Minute)
		if err := w.worker.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		id := w.api.schedule("deployment-id")
		w.after(time.Minute)
		w.wantHistory(id, "Scheduled", "Pending", "Submitting")

		down.Store(true)
		w.after(time.Hour)
		if err := w.worker.Live(); err == nil {
			t.Error("live although no poll was answered for an hour")
		}
		down.Store(false)
		w.after(10 * time.Minute)
		second := w.api.schedule("deployment-id")
		w.after(time.Minute)
		w.wantHistory(second, "Scheduled", "Pending", "Submitting")
	})
}

func TestOneBadRunHoldsNobodyUp(t *testing.T) {
	var bad string
	var healed atomic.Bool
	inWorld(t, func(w *world, o *Options) {
		w.api.before = func(op, id string) error {
			if op == "ReadDeployment" && id == "bad" && !healed.Load() {
				return errDown
			}
			return nil
		}
	}, func(w *world) {
		bad = w.api.schedule("bad")
		for range 9 {
			w.api.schedule("deployment-id")
		}
		w.after(20 * time.Second)
		if n := w.launcher.launched(); n != 9 {
			t.Errorf("%d launched", n)
		}
		w.wantHistory(bad, "Scheduled")
		healed.Store(true)
		w.after(time.Minute)
		w.wantHistory(bad, "Scheduled", "Pending", "Submitting")
	})
}

func TestADeletedDeploymentCancels(t *testing.T) {
	inWorld(t, func(w *world, o *Options) { w.api.gone["gone"] = true }, func(w *world) {
		id := w.api.schedule("gone")
		w.after(20 * time.Second)
		w.wantHistory(id, "Scheduled", "Cancelled")
		if got := w.api.last(id).Message; got != "Deployment gone no longer exists, cancelled run." {
			t.Errorf("message %q", got)
		}
	})
}

func TestBadVariablesAreAllReported(t *testing.T) {
	inWorld(t, func(w *world, o *Options) {
		w.api.vars = map[string]any{"labels": map[string]any{"a": 1.0}, "env": "x"}
	}, func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(20 * time.Second)
		w.wantHistory(id, "Scheduled", "Pending", "Crashed")
		got := w.api.last(id).Message
		if !strings.HasPrefix(got, "Failed to submit flow run to infrastructure: ") || !strings.Contains(got, "labels") || !strings.Contains(got, "env") {
			t.Errorf("message %q", got)
		}
	})
}

func TestBadVariablesAreToldInPythonsWordsFirst(t *testing.T) {
	inWorld(t, func(w *world, o *Options) {
		w.api.vars = map[string]any{"labels": map[string]any{"a": 1.0}}
	}, func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(20 * time.Second)
		want := "Failed to submit flow run to infrastructure: ValidationError: 1 validation error for ECSJobConfiguration\nlabels.a\n  Input should be a valid string\njob_configuration.labels.a: "
		if got := w.api.last(id).Message; !strings.HasPrefix(got, want) {
			t.Errorf("message %q", got)
		}
	})
}

func TestLaunchFailures(t *testing.T) {
	t.Run("retry keeps the claim", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			w.launcher.launch = func(_ launch.Job, call int) error {
				if call < 5 {
					return &launch.Failure{Kind: launch.FailureRetry, Message: "throttled"}
				}
				return nil
			}
		}, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(2 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			if w.launcher.called() != 5 || w.launcher.launched() != 1 {
				t.Errorf("%d calls, %d launched", w.launcher.called(), w.launcher.launched())
			}
		})
	})
	t.Run("capacity comes back until there is some", func(t *testing.T) {
		var available atomic.Bool
		inWorld(t, func(w *world, o *Options) {
			w.launcher.launch = func(launch.Job, int) error {
				if !available.Load() {
					return &launch.Failure{Kind: launch.FailureCapacity, Message: "RESOURCE:MEMORY", Hint: "Wait."}
				}
				return nil
			}
		}, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(3 * time.Minute)
			message := w.api.state(id, 3).Message
			if !strings.HasPrefix(message, "waiting for capacity: RESOURCE:MEMORY (since ") {
				t.Errorf("message %q", message)
			}
			available.Store(true)
			w.after(5 * time.Minute)
			history := w.api.history(id)
			if n := len(history); n < 9 || !slices.Equal(history[n-3:], []string{"AwaitingRetry", "Pending", "Submitting"}) {
				t.Errorf("history %q", history)
			}
		})
	})
	t.Run("capacity that stays away", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			o.MaxCapacityWait = 10 * time.Minute
			w.launcher.launch = func(launch.Job, int) error {
				return &launch.Failure{Kind: launch.FailureCapacity, Message: "RESOURCE:MEMORY"}
			}
		}, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(30 * time.Minute)
			if got := w.api.last(id); got.Name != "Crashed" || !strings.HasPrefix(got.Message, "Failed to submit flow run to infrastructure: RuntimeError: RESOURCE:MEMORY. There was none for 1") {
				t.Errorf("last state %s %q", got.Name, got.Message)
			}
		})
	})
	t.Run("permanent", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			w.launcher.launch = func(launch.Job, int) error {
				return &launch.Failure{Kind: launch.FailurePermanent, Message: "No such cluster", Hint: "Make one."}
			}
		}, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(30 * time.Second)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Crashed")
			if got := w.api.last(id).Message; got != "Failed to submit flow run to infrastructure: RuntimeError: No such cluster. Make one." {
				t.Errorf("message %q", got)
			}
			if w.worker.slots.inUse() != 0 {
				t.Error("the slot was kept")
			}
		})
	})
}

func TestStartFailuresAreLaunchedThreeTimes(t *testing.T) {
	failure := launch.Exit{Kind: launch.ExitStartFailure, Message: "CannotPullContainerError.", Hint: "Check the image."}
	prepare := func(w *world, _ *Options) {
		w.launcher.started = func(pid string, _ launch.Job) { w.launcher.end(pid, failure) }
	}
	t.Run("with a deployment", func(t *testing.T) {
		inWorld(t, prepare, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(5 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "AwaitingRetry", "Pending", "Submitting", "AwaitingRetry", "Pending", "Submitting", "Crashed")
			if got := w.api.state(id, 3).Message; !strings.HasPrefix(got, "CannotPullContainerError. This was launch 1 of 3; the next one follows in ") {
				t.Errorf("first %q", got)
			}
			if got := w.api.last(id).Message; got != "CannotPullContainerError. This was launch 3 of 3." {
				t.Errorf("last %q", got)
			}
			claims := map[string]bool{}
			for _, job := range w.launcher.allJobs() {
				claims[job.ClaimID] = true
			}
			if len(claims) != 3 {
				t.Errorf("%d claims for three launches", len(claims))
			}
		})
	})
	t.Run("without a deployment", func(t *testing.T) {
		inWorld(t, prepare, func(w *world) {
			id := w.api.schedule("")
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Crashed")
		})
	})
}

func TestAnEventMakesItPollAtOnce(t *testing.T) {
	inWorld(t, func(w *world, o *Options) { o.Query = time.Minute }, func(w *world) {
		w.after(5 * time.Second)
		for range 100 {
			w.api.schedule("deployment-id")
			w.api.event(prefect.Event{Event: "prefect.flow-run.Scheduled"})
		}
		w.after(time.Second)
		if n := w.launcher.launched(); n != 100 {
			t.Errorf("%d launched", n)
		}
		if n := len(w.api.pollTimes()); n > 5 {
			t.Errorf("%d polls for one burst", n)
		}
	})
}

func TestPollIntervals(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.after(time.Hour)
		polls := w.api.pollTimes()
		for i := 1; i < len(polls); i++ {
			if gap := polls[i].Sub(polls[i-1]); gap < 7500*time.Millisecond || gap > 13*time.Second {
				t.Fatalf("gap %s", gap)
			}
		}
		if n := len(w.api.pollTimes()); n < 300 || n > 420 {
			t.Errorf("%d polls in an hour", n)
		}
	})
}

func TestRunOnce(t *testing.T) {
	inWorld(t, func(w *world, o *Options) {
		o.RunOnce = true
		w.launcher.started = func(pid string, job launch.Job) {
			time.Sleep(time.Minute)
			w.api.become(job.FlowRunID, prefect.StateCompleted, "Completed")
			w.launcher.end(pid, cleanExit)
		}
		w.api.schedule("deployment-id")
	}, func(w *world) {
		begin := time.Now()
		<-w.ended
		if took := time.Since(begin); took < time.Minute || took > 2*time.Minute {
			t.Errorf("ended after %s", took)
		}
	})
	t.Run("without a pool", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) { o.RunOnce, o.CreatePool, w.api.pool = true, false, nil }, func(w *world) { <-w.ended })
	})
}

func TestThePoolIsSetUp(t *testing.T) {
	inWorld(t, func(w *world, o *Options) { w.api.pool = nil }, func(w *world) {
		w.after(time.Second)
		if pool, err := w.api.ReadWorkPool(t.Context(), "pool"); err != nil || !pool.IsSetUp() || pool.Type != "fake" {
			t.Fatalf("pool %+v, %v", pool, err)
		}
		w.after(10 * time.Minute)
		if w.api.heartbeats() < 45 || w.api.heartbeats() > 90 {
			t.Errorf("%d heartbeats in ten minutes", w.api.heartbeats())
		}
	})
	t.Run("not without being allowed to", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) { w.api.pool, o.CreatePool = nil, false }, func(w *world) {
			w.after(time.Minute)
			w.api.mu.Lock()
			missing := w.api.pool == nil
			w.api.pool = newFakePrefect().pool
			w.api.mu.Unlock()
			if !missing {
				t.Error("the pool was created")
			}
			id := w.api.schedule("deployment-id")
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
		})
	})
}

func TestStatusTellsEveryLoop(t *testing.T) {
	inWorld(t, func(w *world, o *Options) { o.Limit = 3 }, func(w *world) {
		id, _ := w.running()
		status := w.worker.Status()
		for _, want := range []string{"worker w1 (fake)", "limit 3", pollLoopName, syncLoopName, adoptLoopName, "running sweep", id} {
			if !strings.Contains(status, want) {
				t.Errorf("no %q in\n%s", want, status)
			}
		}
	})
}
