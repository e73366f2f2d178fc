package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// modelWorld is a Prefect server, a cluster and some workers, in a bubble of
// their own time. Everything in it is guarded by mu: an effect of a call is an
// instant, as it is in a database.
type modelWorld struct {
	mu    sync.Mutex
	begun time.Time
	rng   *rand.Rand
	h     modelHistory

	server *modelServer
	cloud  *modelCloud
	slots  []*modelSlot
	// incarnations are all workers that ever lived.
	incarnations []*modelWorker
	faults       []*modelFault
	apiDown      time.Time // until then no call to Prefect is answered
	cloudDown    time.Time
	deaf         time.Time // until then no event is delivered
	healed       time.Time // zero while there may be faults

	over       context.Context //nolint:containedctx // ends everything that lives in the world
	end        context.CancelFunc
	living     sync.WaitGroup // processes, events
	restore    func()
	ignored    []string // rules that do not end a history
	violations []string
	trace      []string
	waited     time.Duration // the longest that a claimed run was without a task after the healing
}

// modelSlot is a place where a worker runs: it may be killed and started again.
type modelSlot struct {
	index   int
	name    string
	renamed int
	now     *modelWorker
}

// ignoreEnv names rules whose violations are told and not counted, with commas
// between them: for looking past one that is being worked on.
const ignoreEnv = "FABER_MODEL_IGNORE"

func newModelWorld(h modelHistory) *modelWorld {
	w := &modelWorld{begun: time.Now(), rng: rand.New(rand.NewPCG(h.Seed, 1)), h: h}
	w.ignored = strings.Split(os.Getenv(ignoreEnv), ",")
	before := draw
	draw = w.chance
	w.restore = func() { draw = before }
	w.over, w.end = context.WithCancel(context.Background())
	w.server, w.cloud = newModelServer(w), newModelCloud(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range h.Workers {
		s := &modelSlot{index: i, name: fmt.Sprintf("w%d", i)}
		w.slots = append(w.slots, s)
		w.start(s)
	}
	return w
}

// note adds a line to the story. The caller holds mu.
func (w *modelWorld) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%9.3f  ", time.Since(w.begun).Seconds())+fmt.Sprintf(format, args...))
}

// violate notes that an invariant does not hold. The caller holds mu.
func (w *modelWorld) violate(rule, format string, args ...any) {
	w.note("VIOLATION %s: "+format, append([]any{rule}, args...)...)
	if slices.Contains(w.ignored, rule) {
		return
	}
	w.violations = append(w.violations, rule)
}

// after lets time pass and everything that falls due in it happen.
func (w *modelWorld) after(d time.Duration) {
	if d > 0 {
		time.Sleep(d)
	}
	synctest.Wait()
}

// modelWorker is one life of a worker: from its start to its end or its kill.
type modelWorker struct {
	world  *modelWorld
	slot   *modelSlot
	name   string
	worker *Worker
	stop   context.CancelFunc
	ended  chan struct{}
	killed chan struct{} // closed at the kill

	dead       bool // killed: nothing that it does has effect any more
	stopping   bool
	launching  int // calls of Launch under way
	begun      time.Time
	lastPoll   time.Time
	lastFull   time.Time            // when no slot was free, as the check saw it
	reads      map[string]modelRead // by run
	subscriber func(prefect.Event)
	hints      chan launch.Hint
	closed     bool // hints is closed
}

func (i *modelWorker) String() string { return i.name }

// start starts a worker at a place where none runs. The caller holds mu.
func (w *modelWorld) start(s *modelSlot) {
	name := s.name
	if s.renamed > 0 {
		name += fmt.Sprintf("-%d", s.renamed)
	}
	i := &modelWorker{world: w, slot: s, name: name, ended: make(chan struct{}), killed: make(chan struct{}), hints: make(chan launch.Hint, 100), begun: time.Now(), reads: map[string]modelRead{}}
	launcher := &modelLauncher{modelWorker: i}
	worker, err := New(Options{
		API: &modelAPI{i}, Launcher: launcher, Pool: "pool", Name: name,
		Limit: w.h.Limit, SubmitLimit: w.h.SubmitLimit, Prefetch: 10 * time.Second, StopLeftovers: w.h.Janitor,
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	i.worker, i.stop = worker, stop
	s.now = i
	w.incarnations = append(w.incarnations, i)
	w.note("start %s", i)
	go func() {
		defer close(i.ended)
		defer w.guard(i)
		if err := worker.Run(ctx); err != nil {
			w.mu.Lock()
			w.violate("a worker ended", "%s: %v", i, err)
			w.mu.Unlock()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.note("%s has ended", i)
		if n := worker.panicked.Load(); n > 0 {
			w.violate("a worker panicked", "%s: %d times", i, n)
		}
		if !i.dead && !i.stopping {
			w.violate("a worker ended", "%s was not told to", i)
		}
	}()
}

// guard makes a panic of a worker a violation.
func (w *modelWorld) guard(i *modelWorker) {
	if r := recover(); r != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.violate("a worker panicked", "%s: %v", i, r)
	}
}

// kill is SIGKILL: from this instant on nothing that the worker does has effect.
// The caller holds mu.
func (i *modelWorker) kill() {
	if i.dead {
		return
	}
	i.world.note("kill %s", i)
	i.dead = true
	close(i.killed)
	i.stop()
}

// sigterm tells a worker to stop. The caller holds mu.
func (i *modelWorker) sigterm() {
	if i.dead || i.stopping {
		return
	}
	i.world.note("stop %s", i)
	i.stopping = true
	i.stop()
}

// alive reports whether a worker takes work. The caller holds mu.
func (i *modelWorker) alive() bool { return i != nil && !i.dead && !i.stopping }

// close ends everything in the world.
func (w *modelWorld) close() {
	w.mu.Lock()
	for _, i := range w.incarnations {
		i.kill()
	}
	w.mu.Unlock()
	w.end()
	for _, i := range w.incarnations {
		<-i.ended
	}
	w.living.Wait()
	w.restore()
}

// chance is the source of all chance in the workers of this world.
func (w *modelWorld) chance() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64()
}
