package worker

import (
	"context"
	"strings"
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

func TestCancel(t *testing.T) {
	t.Run("a hung run is stopped after the grace", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			w.launcher.onStop = func(pid string) {
				w.launcher.end(pid, launch.Exit{Kind: launch.ExitStopped, Message: "Stopped."})
				w.launcher.hint(pid)
			}
			id, _ := w.running()
			w.api.become(id, prefect.StateCancelling, "Cancelling")
			w.api.event(prefect.Event{Event: cancellingEvent, Resource: prefect.Resource{"prefect.resource.id": "prefect.flow-run." + id}})
			w.after(cancelGrace - time.Second)
			if len(w.launcher.stopped()) != 0 {
				t.Error("stopped before the grace was over")
			}
			w.after(11 * time.Second)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Running", "Cancelling", "Cancelled")
			if len(w.launcher.stopped()) != 1 {
				t.Errorf("%d stops", len(w.launcher.stopped()))
			}
		})
	})
	t.Run("a run that has not begun is stopped at once, also without an event", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(20 * time.Second)
			w.api.become(id, prefect.StateCancelling, "Cancelling")
			w.after(2 * time.Minute) // nothing ends: the run is Cancelled all the same
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Cancelling", "Cancelled")
			if len(w.launcher.stopped()) != 1 {
				t.Errorf("%d stops", len(w.launcher.stopped()))
			}
		})
	})
	t.Run("a run that ends by itself is left alone", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			id, pid := w.running()
			w.api.become(id, prefect.StateCancelling, "Cancelling")
			w.worker.noticeCancelling(id)
			w.after(5 * time.Second)
			w.api.become(id, prefect.StateCancelled, "Cancelled")
			w.launcher.end(pid, cleanExit)
			w.after(2 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Running", "Cancelling", "Cancelled")
		})
	})
	t.Run("between claim and launch", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			w.api.before = func(op, id string) error {
				if op == "SetFlowRunState/Submitting" {
					w.api.become(id, prefect.StateCancelling, "Cancelling")
				}
				return nil
			}
		}, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(20 * time.Second)
			w.wantHistory(id, "Scheduled", "Pending", "Cancelling", "Cancelled")
			if w.launcher.launched() != 0 {
				t.Error("it was launched all the same")
			}
		})
	})
}

// claimed leaves a run as a worker leaves it that dies after the claim.
func (w *world) claimed(worker string, more ...string) string {
	id := w.api.schedule("deployment-id")
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	w.api.set(id, prefect.State{Type: prefect.StatePending, Name: "Pending", Message: claimMessage(worker)})
	for _, name := range more {
		w.api.set(id, prefect.State{Type: prefect.StatePending, Name: name})
	}
	return id
}

func TestStaleClaims(t *testing.T) {
	t.Run("own, right after the claim", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, _ *Options) { id = w.claimed("w1") }, func(w *world) {
			claim := w.api.state(id, 1).ID
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			if h, ok := w.launcher.claims()[claim]; !ok || w.pid(id) != h.PID {
				t.Error("not launched under the old claim")
			}
		})
	})
	t.Run("own, after Submitting, task exists", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, _ *Options) {
			id = w.claimed("w1", "Submitting")
			job := launch.Job{FlowRunID: id, ClaimID: w.api.state(id, 1).ID, WorkerName: "w1"}
			if _, err := w.launcher.Launch(context.Background(), job); err != nil {
				t.Fatal(err)
			}
		}, func(w *world) {
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			if w.launcher.launched() != 1 || w.pid(id) != "pid-1" {
				t.Errorf("%d launched, pid %q", w.launcher.launched(), w.pid(id))
			}
		})
	})
	t.Run("own, after Submitting, no task", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, _ *Options) { id = w.claimed("w1", "Submitting") }, func(w *world) {
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting", "Resubmitting")
			if w.launcher.launched() != 1 {
				t.Errorf("%d launched", w.launcher.launched())
			}
		})
	})
	t.Run("called Late at the same moment", func(t *testing.T) {
		var id, claim string
		inWorld(t, func(w *world, _ *Options) {
			id = w.claimed("gone")
			claim = w.api.late(id)
		}, func(w *world) {
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Late", "Submitting")
			if h, ok := w.launcher.claims()[claim]; !ok || w.pid(id) != h.PID || w.launcher.launched() != 1 {
				t.Errorf("%d launched, and not under the old claim", w.launcher.launched())
			}
		})
	})
	t.Run("of a worker that is gone, and the first look fails", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, o *Options) {
			id = w.claimed("gone")
			o.AdoptEvery = time.Hour
			failures := 2
			w.api.before = func(op, _ string) error {
				if op != "FilterFlowRuns" || failures == 0 {
					return nil
				}
				failures--
				return &prefect.StatusError{Code: 503}
			}
		}, func(w *world) {
			w.after(30 * time.Second)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
		})
	})
	t.Run("of a worker that is gone", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, _ *Options) {
			id = w.claimed("other")
			w.api.workers = []prefect.WorkerInfo{{Name: "other", Status: "ONLINE"}}
		}, func(w *world) {
			w.after(5 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending")
			w.api.mu.Lock()
			w.api.workers[0].Status = "OFFLINE"
			w.api.mu.Unlock()
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
		})
	})
	t.Run("not of Prefect's own worker", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, _ *Options) {
			id = w.api.schedule("deployment-id")
			w.api.become(id, prefect.StatePending, "Pending")
		}, func(w *world) {
			w.after(10 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending")
			if n := w.worker.attempts.foreign(); n != 1 {
				t.Errorf("%d foreign runs", n)
			}
		})
	})
	t.Run("cancelled meanwhile", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, _ *Options) {
			id = w.claimed("w1")
			w.api.become(id, prefect.StateCancelling, "Cancelling")
		}, func(w *world) {
			w.after(time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Cancelling", "Cancelled")
		})
	})
}

func TestTwoWorkersTakeUpOneClaimOnce(t *testing.T) {
	var id string
	inWorld(t, func(w *world, _ *Options) { id = w.claimed("gone") }, func(w *world) {
		// The other worker is as quick as this one: its proposal comes first.
		w.api.mu.Lock()
		w.api.workers = []prefect.WorkerInfo{{Name: "other", Status: "ONLINE"}}
		w.api.before = func(op, run string) error {
			if op == "SetFlowRunState/Submitting" && w.api.last(run).Name == "Pending" {
				if err := w.api.SetLabels(t.Context(), run, map[string]string{workerNameLabel: "other"}); err != nil {
					t.Error(err)
				}
				w.api.become(run, prefect.StatePending, "Submitting")
			}
			return nil
		}
		w.api.mu.Unlock()
		w.after(90 * time.Second)
		if w.launcher.launched() != 0 {
			t.Error("launched although another worker took it up")
		}
		w.wantHistory(id, "Scheduled", "Pending", "Submitting")
	})
}

func TestAdoptedInfrastructure(t *testing.T) {
	adopt := func(owner, status string) func(w *world, o *Options) string {
		return func(w *world, o *Options) string {
			w.api.workers = []prefect.WorkerInfo{{Name: owner, Status: status}}
			id := w.api.schedule("deployment-id")
			h, err := w.launcher.Launch(context.Background(), launch.Job{FlowRunID: id, ClaimID: "c", WorkerName: owner})
			if err != nil {
				t.Fatal(err)
			}
			w.launcher.phase(h.PID, launch.PhaseRunning)
			w.api.become(id, prefect.StateRunning, "Running")
			w.api.runs[id].InfrastructurePID = h.PID
			w.api.runs[id].Raw = map[string]any{"labels": map[string]any{workerNameLabel: owner}}
			return id
		}
	}
	for _, tt := range []struct {
		owner, status string
		taken         bool
	}{{"w1", "ONLINE", true}, {"other", "OFFLINE", true}, {"other", "ONLINE", false}} {
		t.Run(tt.owner+" "+tt.status, func(t *testing.T) {
			var id string
			inWorld(t, func(w *world, o *Options) { id = adopt(tt.owner, tt.status)(w, o) }, func(w *world) {
				w.after(30 * time.Second)
				if got := w.worker.slots.holds(id); got != tt.taken {
					t.Fatalf("adopted: %t", got)
				}
				w.launcher.end("pid-1", badExit)
				w.after(time.Minute)
				want := "Running"
				if tt.taken {
					want = "Crashed"
				}
				if got := w.api.last(id).Name; got != want {
					t.Errorf("last state %s", got)
				}
			})
		})
	}
	t.Run("gone while nobody looked", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, o *Options) {
			id = adopt("w1", "ONLINE")(w, o)
			w.launcher.forget("pid-1")
		}, func(w *world) {
			w.after(4 * time.Minute)
			if got := w.api.last(id).Name; got != "Running" {
				t.Errorf("crashed too early: %s", got)
			}
			w.after(4 * time.Minute)
			if got := w.api.last(id).Name; got != "Crashed" {
				t.Errorf("last state %s", got)
			}
		})
	})
}

func TestDrain(t *testing.T) {
	t.Run("launches in flight are finished, infrastructure is left alone", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			w.launcher.launch = func(launch.Job, int) error { time.Sleep(4 * time.Second); return nil }
		}, func(w *world) {
			id := w.api.schedule("deployment-id")
			for w.launcher.called() == 0 {
				w.after(time.Second)
			}
			begin := time.Now()
			w.stop()
			<-w.ended
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			if w.pid(id) != "pid-1" || len(w.launcher.stopped()) != 0 {
				t.Errorf("pid %q, stops %v", w.pid(id), w.launcher.stopped())
			}
		})
	})
	t.Run("children are reported", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			w.launcher.onClose = func() {
				for pid := range w.launcher.allJobs() {
					w.launcher.end(pid, launch.Exit{Kind: launch.ExitStopped, Code: code(-15), Message: "Killed."})
				}
			}
		}, func(w *world) {
			running, _ := w.running()
			itself, _ := w.running()
			pending := w.api.schedule("deployment-id")
			w.after(20 * time.Second)
			w.launcher.mu.Lock()
			ending := w.launcher.onClose
			w.launcher.onClose = func() {
				w.api.become(itself, prefect.StateCrashed, "Crashed") // its own report
				ending()
			}
			w.launcher.mu.Unlock()
			w.stop()
			<-w.ended
			if got := w.api.last(running); got.Name != "Crashed" || !strings.Contains(got.Message, "Worker 'w1' was shut down") {
				t.Errorf("running run: %s %q", got.Name, got.Message)
			}
			if got := w.api.last(itself); got.Message != "" {
				t.Errorf("a run that reported itself: %s %q", got.Name, got.Message)
			}
			if got := w.api.last(pending).Name; got != "AwaitingRetry" {
				t.Errorf("run that had not begun: %s", got)
			}
		})
	})
	t.Run("bounded with every API down", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			_, pid := w.running()
			w.api.mu.Lock()
			w.api.before = func(string, string) error { return errDown }
			w.api.mu.Unlock()
			w.launcher.end(pid, badExit)
			w.after(time.Minute)
			begin := time.Now()
			w.stop()
			<-w.ended
			if took := time.Since(begin); took > 26*time.Second {
				t.Errorf("took %s", took)
			}
		})
	})
}

// fakeChannel is a worker channel that is up until it is told otherwise.
type fakeChannel struct {
	ready   chan struct{}
	healthy bool
	run     func(ctx context.Context) error
}

func (c *fakeChannel) Run(ctx context.Context) error { return c.run(ctx) }
func (c *fakeChannel) Healthy() bool                 { return c.healthy }
func (c *fakeChannel) Ready() <-chan struct{}        { return c.ready }

func TestTheChannelSavesHeartbeats(t *testing.T) {
	var snapshot func(prefect.WorkPool)
	inWorld(t, func(w *world, o *Options) {
		o.NewChannel = func(h prefect.Hello, onSnapshot func(prefect.WorkPool), _ prefect.CleanupFunc) Channel {
			snapshot = onSnapshot
			c := &fakeChannel{ready: make(chan struct{}), healthy: true}
			c.run = func(ctx context.Context) error {
				onSnapshot(*w.api.pool)
				close(c.ready)
				<-ctx.Done()
				return nil
			}
			return c
		}
	}, func(w *world) {
		w.after(10 * time.Minute)
		if w.api.heartbeats() != 0 {
			t.Errorf("%d heartbeats over REST", w.api.heartbeats())
		}
		// A changed template serves the next run without a restart.
		changed := *w.api.pool
		changed.BaseJobTemplate = withCommand("changed")
		snapshot(changed)
		w.running()
		if got := w.launcher.allJobs()["pid-1"].Command; got != "changed" {
			t.Errorf("command %q", got)
		}
	})
}

func TestADisabledChannelMeansREST(t *testing.T) {
	inWorld(t, func(w *world, o *Options) {
		o.NewChannel = func(prefect.Hello, func(prefect.WorkPool), prefect.CleanupFunc) Channel {
			return &fakeChannel{ready: make(chan struct{}), run: func(context.Context) error { return prefect.ErrChannelDisabled }}
		}
	}, func(w *world) {
		w.running()
		w.after(10 * time.Minute)
		if w.api.heartbeats() < 15 {
			t.Errorf("%d heartbeats", w.api.heartbeats())
		}
	})
}

func TestCleanup(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		id, pid := w.running()
		ctx := context.Background()
		for _, tt := range []struct {
			name    string
			message prefect.Cleanup
			want    string
		}{
			{"gone run", prefect.Cleanup{FlowRunID: "none"}, ""},
			{"pid missing", prefect.Cleanup{FlowRunID: id}, prefect.ReleaseMissingHandle},
			{"stopped", prefect.Cleanup{FlowRunID: id, InfrastructurePID: pid}, ""},
		} {
			if got := w.worker.cleanup(ctx, tt.message); got != tt.want {
				t.Errorf("%s: %q", tt.name, got)
			}
		}
		if len(w.launcher.stopped()) != 1 {
			t.Errorf("stops %v", w.launcher.stopped())
		}
	})
}

// leasingAPI is a fake API that also renews concurrency leases.
type leasingAPI struct {
	*fakePrefect
	renewed chan string
}

func (l leasingAPI) RenewConcurrencyLease(_ context.Context, id string, _ time.Duration) error {
	l.renewed <- id
	return nil
}

func TestALeaseIsRenewedUntilTheRunRuns(t *testing.T) {
	renewed := make(chan string, 1000)
	inWorld(t, func(w *world, o *Options) {
		o.API = leasingAPI{w.api, renewed}
		w.api.answer = func(id string, s prefect.State) *prefect.OrchestrationResult {
			if s.Name != "Pending" {
				return nil
			}
			s.Details.DeploymentConcurrencyLeaseID = "lease"
			set := w.api.set(id, s)
			return &prefect.OrchestrationResult{Status: prefect.StatusAccept, State: &set}
		}
	}, func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(20 * time.Minute) // a launch that takes its time
		if n := len(renewed); n < 40 {
			t.Errorf("%d renewals in twenty minutes", n)
		}
		w.launcher.phase(w.pid(id), launch.PhaseRunning)
		w.after(10 * time.Minute) // it has not begun to run itself
		if n := len(renewed); n < 60 {
			t.Errorf("%d renewals in half an hour", n)
		}
		w.api.become(id, prefect.StateRunning, "Running")
		w.after(10 * time.Minute)
		before := len(renewed)
		w.after(time.Hour)
		if n := len(renewed) - before; n > 0 {
			t.Errorf("%d renewals of a lease that the run itself keeps", n)
		}
	})
}
