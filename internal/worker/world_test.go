package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"

	"github.com/google/uuid"
)

// world is a worker between a fake API and a fake infrastructure.
type world struct {
	t        *testing.T
	api      *fakePrefect
	launcher *fakeLauncher
	worker   *Worker
	log      *recorder
	stop     context.CancelFunc
	ended    chan struct{}
	mayPanic bool
}

// recorder keeps run logs and events.
type recorder struct {
	mu      sync.Mutex
	lines   []string
	entries []entry // the same, with what goes with them
	events  []prefect.Event
}

type entry struct {
	logger, run, message string
	level                slog.Level
}

func (r *recorder) Log(name string, level slog.Level, run, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, message)
	r.entries = append(r.entries, entry{name, run, message, level})
}

// told are the lines of a run's log, as "LEVEL logger: text".
func (r *recorder) told(run string) (lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		if e.run == run {
			lines = append(lines, fmt.Sprintf("%s %s: %s", e.level, e.logger, e.message))
		}
	}
	return lines
}

// named are the events of a name.
func (r *recorder) named(name string) (found []prefect.Event) {
	for _, e := range r.all() {
		if e.Event == name {
			found = append(found, e)
		}
	}
	return found
}

func (r *recorder) Emit(e prefect.Event) prefect.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.ID == "" {
		e.ID = uuid.NewString()
	}
	r.events = append(r.events, e)
	return e
}

func (r *recorder) has(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.lines, line)
}

func (r *recorder) all() []prefect.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// inWorld runs a test in a bubble of its own time. prepare may change the
// options and the fakes before the worker starts.
func inWorld(t *testing.T, prepare func(*world, *Options), test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		api := newFakePrefect()
		w := &world{t: t, api: api, launcher: newFakeLauncher(api), log: &recorder{}, ended: make(chan struct{})}
		o := Options{API: api, Launcher: w.launcher, Pool: "pool", Name: "w1", CreatePool: true, RunLog: w.log, Events: w.log}
		if prepare != nil {
			prepare(w, &o)
		}
		var err error
		if w.worker, err = New(o); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		w.stop = stop
		go func() {
			defer close(w.ended)
			if err := w.worker.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		defer func() { // also when the test gives up
			stop()
			<-w.ended
			if n := w.worker.panicked.Load(); n > 0 && !w.mayPanic {
				t.Errorf("%d panics, see the log", n)
			}
		}()
		test(w)
	})
}

// after lets time pass and everything that falls due in it happen.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// pid is where a run's infrastructure is.
func (w *world) pid(id string) string { return w.api.run(id).InfrastructurePID }

// running schedules a run and takes it to Running.
func (w *world) running() (id, pid string) {
	w.t.Helper()
	id = w.api.schedule("deployment-id")
	w.after(15 * time.Second)
	if pid = w.pid(id); pid == "" {
		w.t.Fatalf("run was not launched: %v", w.api.history(id))
	}
	w.launcher.phase(pid, launch.PhaseRunning)
	w.api.become(id, prefect.StateRunning, "Running")
	w.after(15 * time.Second)
	return id, pid
}

func (w *world) wantHistory(id string, want ...string) {
	w.t.Helper()
	if got := w.api.history(id); !slices.Equal(got, want) {
		w.t.Errorf("history %q, want %q", got, want)
	}
}
