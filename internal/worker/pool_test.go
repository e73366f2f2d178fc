package worker

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// pooled changes the pool as somebody else does.
func (f *fakePrefect) pooled(change func(*prefect.WorkPool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pool := *f.pool
	change(&pool)
	f.pool = &pool
}

// ownLines is the worker's own log, readable while it writes.
type ownLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func lines(o *Options) *ownLines {
	l := &ownLines{}
	o.Logger = slog.New(slog.NewTextHandler(l, nil))
	return l
}

func (l *ownLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *ownLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestAPoolThatIsPausedAndResumed(t *testing.T) {
	var log *ownLines
	inWorld(t, func(w *world, o *Options) {
		log = lines(o)
		w.api.pool.IsPaused, w.api.pool.Status = true, "PAUSED"
	}, func(w *world) {
		w.after(time.Minute)
		const notice = "The work pool 'pool' is currently paused. This worker will not execute any flow runs until the work pool is unpaused."
		if n := strings.Count(log.String(), notice); n != 1 {
			t.Errorf("noticed %d times:\n%s", n, log)
		}
		polls := len(w.api.pollTimes())
		if polls == 0 {
			t.Error("a paused pool is not polled: it may be resumed at any time")
		}
		w.api.pooled(func(p *prefect.WorkPool) { p.IsPaused, p.Status = false, "READY" })
		w.after(time.Minute)
		w.running()
	})
}

func TestAPoolThatIsEditedServesTheNextRun(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.running()
		w.api.pooled(func(p *prefect.WorkPool) {
			p.BaseJobTemplate = withCommand("edited")
		})
		w.after(45 * time.Second)
		w.running()
		jobs := w.launcher.allJobs()
		if jobs["pid-1"].Command != "" || jobs["pid-2"].Command != "edited" {
			t.Errorf("commands %q, %q", jobs["pid-1"].Command, jobs["pid-2"].Command)
		}
		w.launcher.mu.Lock()
		defer w.launcher.mu.Unlock()
		if w.launcher.template["command"] != "edited" {
			t.Errorf("the launcher knows the template %v", w.launcher.template)
		}
	})
}

func TestAPoolThatIsDeleted(t *testing.T) {
	t.Run("and made anew by the worker", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			w.running()
			w.api.mu.Lock()
			w.api.pool, w.api.nextPool = nil, "other-id"
			w.api.mu.Unlock()
			w.after(time.Minute)
			if got := w.worker.pool.Load().pool; got.ID != "other-id" || !got.IsSetUp() {
				t.Errorf("pool %+v", got)
			}
			w.api.mu.Lock()
			subscribed := slices.Clone(w.api.subscribed)
			w.api.mu.Unlock()
			if want := []string{"prefect.work-pool.pool-id", "prefect.work-pool.other-id"}; !slices.Equal(subscribed, want) {
				t.Errorf("subscribed to %q", subscribed)
			}
			w.running()
		})
	})
	t.Run("and made anew by somebody else, later", func(t *testing.T) {
		var log *ownLines
		inWorld(t, func(w *world, o *Options) {
			log = lines(o)
			o.CreatePool = false
		}, func(w *world) {
			w.running()
			w.api.mu.Lock()
			pool := *w.api.pool
			w.api.pool = nil
			w.api.mu.Unlock()
			w.after(time.Hour)
			if n := strings.Count(log.String(), "Work pool 'pool' not found!"); n < 90 || n > 160 {
				t.Errorf("told %d times in an hour", n)
			}
			if strings.Contains(log.String(), "it goes on trying") {
				t.Errorf("it is an error:\n%s", log)
			}
			if err := w.worker.Live(); err != nil {
				t.Errorf("not live: %v", err)
			}
			pool.ID = "other-id"
			w.api.mu.Lock()
			w.api.pool = &pool
			w.api.mu.Unlock()
			w.after(45 * time.Second)
			w.running()
		})
	})
}

func TestARunOfAnUnknownPoolIsNotPolledFor(t *testing.T) {
	var log *ownLines
	inWorld(t, func(w *world, o *Options) {
		log = lines(o)
		w.api.pool, o.CreatePool = nil, false
	}, func(w *world) {
		w.after(10 * time.Minute)
		if n := len(w.api.pollTimes()); n != 0 {
			t.Errorf("%d polls without a pool", n)
		}
		if !strings.Contains(log.String(), "Worker 'w1' started!") {
			t.Error("it did not start")
		}
		if n := strings.Count(log.String(), "not found!"); n < 15 || n > 30 {
			t.Errorf("told %d times in ten minutes", n)
		}
		if n := len(w.log.named("prefect.worker.started")); n != 0 {
			t.Errorf("%d started events without a pool to name", n)
		}
		w.api.mu.Lock()
		w.api.pool = newFakePrefect().pool
		w.api.mu.Unlock()
		id := w.api.schedule("deployment-id")
		w.after(8 * time.Second)
		w.wantHistory(id, "Scheduled", "Pending", "Submitting")
		started := w.log.named("prefect.worker.started")
		if len(started) != 1 || len(started[0].Related) != 1 {
			t.Errorf("started events %v", started)
		}
	})
}

// TestTheServerRestarts: everything fails for a while, in the middle of everything.
func TestTheServerRestarts(t *testing.T) {
	var down atomic.Bool
	inWorld(t, func(w *world, _ *Options) {
		w.api.before = func(string, string) error {
			if down.Load() {
				return prefect.ErrUnreachable
			}
			return nil
		}
		w.launcher.launch = func(_ launch.Job, call int) error {
			if call == 2 {
				time.Sleep(3 * time.Second)
			}
			return nil
		}
	}, func(w *world) {
		ended, pid := w.running()
		midway := w.api.schedule("deployment-id")
		for w.launcher.called() < 2 {
			w.after(time.Second)
		}
		down.Store(true)
		w.launcher.end(pid, badExit)
		w.after(90 * time.Second)
		due := w.api.schedule("deployment-id")
		down.Store(false)
		w.after(90 * time.Second)
		if got := w.api.last(ended).Name; got != "Crashed" {
			t.Errorf("the run that ended meanwhile is %s", got)
		}
		for _, id := range []string{midway, due} {
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
			if w.pid(id) == "" {
				t.Error("a pid was not stored")
			}
		}
		if n := w.launcher.launched(); n != 3 {
			t.Errorf("%d launched", n)
		}
	})
}

func TestStoppedBeforeTheAPIWasEverReached(t *testing.T) {
	inWorld(t, func(w *world, o *Options) {
		w.api.before = func(string, string) error { return prefect.ErrUnreachable }
		o.NewChannel = func(prefect.Hello, func(prefect.WorkPool), prefect.CleanupFunc) Channel {
			return &fakeChannel{ready: make(chan struct{}), run: func(ctx context.Context) error { <-ctx.Done(); return nil }}
		}
	}, func(w *world) {
		w.after(time.Second)
		begin := time.Now()
		w.stop()
		<-w.ended
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %s", took)
		}
		if events := w.log.all(); len(events) != 0 {
			t.Errorf("events %v", events)
		}
	})
}

func TestPollsThatFailAreFewerAndFewer(t *testing.T) {
	var log *ownLines
	var down atomic.Bool
	var tries []time.Time
	inWorld(t, func(w *world, o *Options) {
		log = lines(o)
		w.api.before = func(op, _ string) error {
			if op != "GetScheduledFlowRuns" || !down.Load() {
				return nil
			}
			tries = append(tries, time.Now())
			return errDown
		}
	}, func(w *world) {
		w.after(time.Minute)
		down.Store(true)
		w.after(2 * time.Hour)
		for i := 1; i < len(tries); i++ {
			gap := tries[i].Sub(tries[i-1])
			if early := i < 3; early && gap > 13*time.Second || gap > 16*13*time.Second || i > 12 && gap < 16*7500*time.Millisecond {
				t.Errorf("gap %d is %s", i, gap)
			}
		}
		if !strings.Contains(log.String(), "Failed the last 3 attempts. Please check your environment and configuration. Backing off due to consecutive errors") {
			t.Errorf("log:\n%s", log)
		}
		down.Store(false)
		w.after(5 * time.Minute)
		if !strings.Contains(log.String(), "Resetting backoff due to successful run.") {
			t.Error("the end of it is not told")
		}
	})
}

func TestTheHelloTellsWhatTheWorkerIs(t *testing.T) {
	var hello prefect.Hello
	inWorld(t, func(w *world, o *Options) {
		w.launcher.typ, o.Version, o.BaseJobTemplate = "ecs", "1.2.3", json.RawMessage(`{"variables":{}}`)
		o.NewChannel = func(h prefect.Hello, _ func(prefect.WorkPool), _ prefect.CleanupFunc) Channel {
			hello = h
			return &fakeChannel{ready: make(chan struct{}), run: func(context.Context) error { return prefect.ErrChannelDisabled }}
		}
	}, func(w *world) {
		w.after(time.Minute)
		if !slices.Equal(hello.Integrations, []prefect.Integration{{Name: "faber", Version: "1.2.3"}}) {
			t.Errorf("integrations %v", hello.Integrations)
		}
		if !slices.Equal(hello.HandledCleanup, []string{cancellingTeardown}) || hello.MaxCleanup != 1 || string(hello.DefaultTemplate) != `{"variables":{}}` {
			t.Errorf("hello %+v", hello)
		}
	})
}
