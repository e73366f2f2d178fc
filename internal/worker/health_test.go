package worker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// hearing is a launcher whose hints come from outside.
type hearing struct {
	*fakeLauncher

	mu   sync.Mutex
	last time.Time
	err  error
}

func (h *hearing) HintsFresh() (last time.Time, every time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last, 20 * time.Second, h.err
}

func (h *hearing) heard(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; err == nil {
		h.last = time.Now()
	}
}

// TestUnhealthyWithinThreeIntervals freezes one part of a worker at a time. Each
// must be told within three of its intervals, by name, and be well again afterwards.
func TestUnhealthyWithinThreeIntervals(t *testing.T) {
	hang := make(map[string]func(op string) bool)
	hang["the adoption sweep"] = func(op string) bool { return op == "FilterFlowRuns" }
	hang["the poll for flow runs"] = func(op string) bool { return op == "GetScheduledFlowRuns" }
	hang["the sync with the work pool"] = func(op string) bool { return op == "Heartbeat" }
	hang["the Prefect API"] = func(string) bool { return true }
	intervals := map[string]time.Duration{
		"the adoption sweep": 20 * time.Second, "the poll for flow runs": 10 * time.Second,
		"the sync with the work pool": 30 * time.Second, "the Prefect API": 20 * time.Second,
	}
	for part, frozen := range hang {
		t.Run(part, func(t *testing.T) {
			var freeze atomic.Bool
			var answered atomic.Int64
			release := make(chan struct{})
			inWorld(t, func(w *world, o *Options) {
				release = make(chan struct{}) // of the bubble
				o.LastAnswer = func() time.Time { return time.Unix(0, answered.Load()) }
				w.api.before = func(op, _ string) error {
					if freeze.Load() && frozen(op) {
						<-release
						return errDown
					}
					answered.Store(time.Now().UnixNano())
					return nil
				}
			}, func(w *world) {
				w.running()
				w.after(5 * time.Minute)
				if err := w.worker.Ready(); err != nil {
					t.Fatalf("at first: %v", err)
				}
				freeze.Store(true)
				begin := time.Now()
				for w.worker.Ready() == nil && time.Since(begin) < time.Hour {
					w.after(time.Second)
				}
				if took, most := time.Since(begin), 3*intervals[part]+time.Second; took > most {
					t.Errorf("told after %s, not within %s", took, most)
				}
				w.after(3 * intervals[part])
				if err := w.worker.Ready(); err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("told %v", err)
				}
				w.after(20 * time.Minute)
				if err := w.worker.Alive(); err == nil {
					t.Error("alive, though a restart might help")
				}
				freeze.Store(false)
				close(release)
				w.after(5 * time.Minute)
				if err := errors.Join(w.worker.Ready(), w.worker.Alive()); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

// TestAFrozenSweep: infrastructure that cannot be described.
func TestAFrozenSweep(t *testing.T) {
	var stuck atomic.Bool
	inWorld(t, func(w *world, o *Options) {
		o.Launcher = &stuckLauncher{fakeLauncher: w.launcher, stuck: &stuck, release: make(chan struct{})}
	}, func(w *world) {
		w.running()
		stuck.Store(true)
		w.after(45 * time.Second)
		if err := w.worker.Ready(); err == nil || !strings.Contains(err.Error(), "the running sweep has not gone round for ") {
			t.Errorf("told %v", err)
		}
		stuck.Store(false)
		close(w.worker.launcher.(*stuckLauncher).release)
		w.after(time.Minute)
		if err := w.worker.Ready(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestASweepThatHasNothingLeft: once the last run began to run, the sweep of those
// that start has no more rounds in which it could succeed.
func TestASweepThatHasNothingLeft(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(15 * time.Second)
		w.launcher.mu.Lock()
		w.launcher.describe = errors.New("no route to host")
		w.launcher.mu.Unlock()
		w.after(time.Minute)
		if err := w.worker.Ready(); err == nil || !strings.Contains(err.Error(), "no route to host") {
			t.Fatalf("told %v", err)
		}
		w.api.become(id, prefect.StateCompleted, "Completed")
		w.launcher.mu.Lock()
		w.launcher.describe = nil
		w.launcher.mu.Unlock()
		w.launcher.end(w.pid(id), cleanExit)
		w.launcher.hint(w.pid(id))
		w.after(time.Minute)
		if n := len(w.worker.attempts.all()); n != 0 {
			t.Fatalf("%d runs are left", n)
		}
		if err := w.worker.Ready(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestAgesOfLoops: what has nothing to do is as fresh as what has.
func TestAgesOfLoops(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.after(time.Hour)
		names := map[string]bool{}
		for _, c := range w.worker.Checks() {
			names[c.Name] = true
			if c.Age > 2*c.Every || c.Problem != "" {
				t.Errorf("%+v", c)
			}
		}
		for _, want := range []string{pollLoopName, adoptLoopName, syncLoopName, "starting sweep", "running sweep"} {
			if !names[want] {
				t.Errorf("no %s in %v", want, names)
			}
		}
	})
}

func TestEventsThatAreCutOff(t *testing.T) {
	var ears *hearing
	inWorld(t, func(w *world, o *Options) {
		ears = &hearing{fakeLauncher: w.launcher, last: time.Now()}
		o.Launcher = ears
	}, func(w *world) {
		w.after(30 * time.Second)
		ears.heard(nil)
		w.after(58 * time.Second)
		if err := w.worker.Ready(); err != nil {
			t.Errorf("within three intervals: %v", err)
		}
		ears.heard(errors.New("connection refused"))
		w.after(3 * time.Second)
		want := "the infrastructure's events have not been read for 1m1s: connection refused"
		if err := w.worker.Ready(); err == nil || err.Error() != want {
			t.Errorf("told %v", err)
		}
		if err := w.worker.Alive(); err != nil {
			t.Errorf("a restart would not help: %v", err)
		}
		ears.heard(nil)
		if err := w.worker.Ready(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// stuckLauncher does not come back from Describe, whatever its context says.
type stuckLauncher struct {
	*fakeLauncher

	stuck   *atomic.Bool
	release chan struct{}
}

func (s *stuckLauncher) Describe(ctx context.Context, handles []launch.Handle) ([]launch.Observation, error) {
	if s.stuck.Load() {
		<-s.release
	}
	return s.fakeLauncher.Describe(ctx, handles)
}

func TestStatusOfALoopWithoutARound(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.after(time.Minute)
		text := w.worker.Status()
		if !strings.Contains(text, "running sweep: every 8s, 0 rounds, nothing to do so far\n") || strings.Contains(text, "00h") {
			t.Error(text)
		}
	})
}
