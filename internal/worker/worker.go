// Package worker is the daemon between a Prefect work pool and an
// infrastructure: it polls for flow runs, claims, renders, launches and tracks
// them, reports what their infrastructure did, and never loses, doubles or
// strands one.
//
// It keeps nothing on disk. What it must know after a restart stands in Prefect
// (the runs' states, the claim among them) and in the infrastructure itself.
//
// Each loop has a file of its own: sync, wake, poll, track, adopt. They talk
// through few shared things: the pool's latest view, the slots, the attempts.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// API is what the worker asks of Prefect. *prefect.Client satisfies it. Calls
// may be made from several goroutines at once.
type API interface {
	ReadWorkPool(ctx context.Context, name string) (prefect.WorkPool, error)
	CreateWorkPool(ctx context.Context, name, typ string, template json.RawMessage) (prefect.WorkPool, error)
	SetBaseJobTemplate(ctx context.Context, pool string, template json.RawMessage) error
	Workers(ctx context.Context, pool string) ([]prefect.WorkerInfo, error)
	Heartbeat(ctx context.Context, pool, worker string, interval time.Duration, integrations []prefect.Integration) error

	GetScheduledFlowRuns(ctx context.Context, pool string, queues []string, before time.Time, limit int) ([]prefect.FlowRun, error)
	FilterFlowRuns(ctx context.Context, filter map[string]any) ([]prefect.FlowRun, error)
	ReadFlowRun(ctx context.Context, id string) (prefect.FlowRun, error)
	FlowRunStates(ctx context.Context, id string) ([]prefect.State, error)
	SetFlowRunState(ctx context.Context, id string, s prefect.State, force bool) (prefect.OrchestrationResult, error)
	SetInfrastructurePID(ctx context.Context, id string, pid *string) error
	SetLabels(ctx context.Context, id string, labels map[string]string) error
	AllowReschedule(ctx context.Context, run prefect.FlowRun) error

	ReadFlow(ctx context.Context, id string) (prefect.Flow, error)
	ReadDeployment(ctx context.Context, id string) (prefect.Deployment, error)
	BlockDocument(ctx context.Context, id string) (map[string]any, error)
	BlockDocumentByName(ctx context.Context, typeSlug, name string) (map[string]any, error)
	Variable(ctx context.Context, name string) (any, error)

	Subscribe(ctx context.Context, filter prefect.EventFilter, fn func(prefect.Event)) error
}

// Channel is the worker channel. *prefect.Channel satisfies it.
type Channel interface {
	Run(ctx context.Context) error
	Healthy() bool
	Ready() <-chan struct{}
}

// NewChannel makes the worker channel. onCleanup is nil for a launcher that
// has no infrastructure to clean up.
type NewChannel func(hello prefect.Hello, onSnapshot func(prefect.WorkPool), onCleanup prefect.CleanupFunc) Channel

// Emitter sends events and never blocks. *prefect.Events satisfies it.
type Emitter interface {
	Emit(event prefect.Event) prefect.Event
}

// RunLog writes to the logs of flow runs and never blocks. *prefect.FlowRunLogger
// satisfies it.
type RunLog interface {
	Log(name string, level slog.Level, flowRunID, message string)
}

// Worker serves one work pool.
type Worker struct {
	opts     Options
	api      API
	launcher launch.Launcher
	name     string
	log      *slog.Logger
	metrics  *metrics
	slots    *slots
	attempts *attempts
	leases   leases
	defaults poolDefaults
	peers    peers
	pool     atomic.Pointer[poolView]
	synced   chan struct{} // closed when the pool is known
	syncOnce sync.Once
	loops    loops
	begun    time.Time
	// toldNoPool is when it was said last that there is no pool; of the sync loop.
	toldNoPool time.Time

	wake chan struct{} // poll now
	// recovered says that the API answers again.
	recovered chan struct{}
	moved     chan struct{} // the pool is another one of the same name
	submits   submits
	cancels   chan string // ids of flow runs in work that are being cancelled
	told      chan string // ids of flow runs whose infrastructure another worker tells of
	// unlaunched are flow runs that were cancelled between claim and launch.
	unlaunched idSet
	// evicted are flow runs that lost their concurrency slot before they ran.
	evicted      idSet
	sightings    sightings
	toldLeftover idSet
	// open are the pool's open runs, as of the last adoption sweep.
	open     atomic.Pointer[map[string]bool]
	returned returned
	replicas replicas

	// dispatches are flow runs between poll and tracked infrastructure; jobs
	// are all else that must be finished before Run returns.
	dispatches tasks
	jobs       tasks
	draining   atomic.Bool
	panicked   atomic.Int64 // how often it survived a panic
	started    atomic.Pointer[prefect.Event]
}

// New checks the options and returns a worker. It does nothing until Run.
func New(o Options) (*Worker, error) {
	switch {
	case o.API == nil || o.Launcher == nil:
		return nil, errors.New("a worker needs an API and a launcher")
	case o.Pool == "":
		return nil, errors.New("a worker needs the name of a work pool")
	}
	if err := errors.Join(CheckName(o.Name), o.LimitCounts.check()); err != nil {
		return nil, err
	}
	o.setDefaults()
	var err error
	if o.BaseJobTemplate, err = withPoolDefaults(o.BaseJobTemplate, o.PoolDefaults); err != nil {
		return nil, err
	}
	w := &Worker{
		opts: o, api: o.API, launcher: o.Launcher, name: o.Name, log: newOwnLogger(&o), begun: time.Now(),
		metrics:   newMetrics(o.Metrics, o.API),
		slots:     newSlots(o.Limit),
		attempts:  newAttempts(),
		synced:    make(chan struct{}),
		wake:      make(chan struct{}, 1),
		recovered: make(chan struct{}, 1),
		moved:     make(chan struct{}, 1),
		submits:   submits{limit: o.SubmitLimit},
		cancels:   make(chan string, 256),
		told:      make(chan string, 1024),
	}
	w.defaults.values = o.PoolDefaults
	w.slots.freed = w.pollNow
	w.dispatches.survived, w.jobs.survived = w.survived, w.survived
	return w, nil
}

// CheckName says why a worker must not be named so.
func CheckName(name string) error {
	if name == "" {
		return errors.New("a worker needs a name")
	}
	if strings.ContainsAny(name, "/%") {
		return fmt.Errorf("worker name %q holds a '/' or a '%%': Prefect refuses such names", name)
	}
	return nil
}

// Run serves the pool until ctx ends, then drains: it stops fetching, finishes
// what is in flight and returns, within DrainTimeout. With RunOnce it returns
// when the flow runs of one poll have ended. API errors never end it.
func (w *Worker) Run(ctx context.Context) error {
	// Stopping to take work is not stopping to work: what was claimed is
	// finished on a context that only the drain's end cancels.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	fetch, stopFetch := context.WithCancel(ctx)
	defer stopFetch()

	tracking, stopTracking := context.WithCancel(work)
	defer stopTracking()

	var fetching, watching, syncing sync.WaitGroup
	firstSync := make(chan struct{})
	synced := sync.OnceFunc(func() { close(firstSync) })
	syncing.Go(func() { w.keep(work, func() { w.runChannelAndSync(work, synced) }) })
	select {
	case <-firstSync:
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		w.log.Info(fmt.Sprintf("Worker '%s' started!", w.name))
	}
	w.announce(fetch, &fetching)
	w.watch(tracking, work, &watching)
	fetchFor := func(loop func()) { fetching.Go(func() { w.keep(fetch, loop) }) }
	fetchFor(func() { w.wakeLoop(fetch) })
	if w.opts.RunOnce {
		w.runOnce(ctx, work)
	} else {
		fetchFor(func() { w.adoptLoop(fetch, work) })
		fetchFor(func() { w.janitorLoop(fetch) })
		w.keep(fetch, func() { w.pollLoop(fetch, work) })
	}
	stopFetch()
	w.drain(work, stopWork, drainOrder{
		fetching: &fetching,
		watching: func() { stopTracking(); watching.Wait() },
		syncing:  &syncing,
	})
	return nil
}

// watch starts the loops that see work end.
func (w *Worker) watch(tracking, work context.Context, watching *sync.WaitGroup) {
	for _, loop := range []func(){
		func() { w.sweepLoop(tracking, work, "starting sweep", w.opts.StartingSweep, w.attempts.starting) },
		func() { w.sweepLoop(tracking, work, "running sweep", w.opts.RunningSweep, w.attempts.all) },
		func() { w.hintLoop(tracking, work) },
		func() { w.cancelLoop(tracking, work) },
		func() { w.leaseLoop(tracking, work) },
		func() { w.toldLoop(tracking, work) },
		func() { w.runtimeLoop(tracking, work) },
	} {
		watching.Go(func() { w.keep(tracking, loop) })
	}
}

// announce tells that the worker started, at once if the pool is known that the
// event is to name, else as soon as it is.
func (w *Worker) announce(ctx context.Context, later *sync.WaitGroup) {
	select {
	case <-w.synced:
		w.emitStarted()
		return
	default:
	}
	later.Go(func() {
		select {
		case <-w.synced:
			w.emitStarted()
		case <-ctx.Done():
		}
	})
}

// runLog writes to a flow run's own log in Prefect.
func (w *Worker) runLog(flowRunID string, level slog.Level, format string, args ...any) {
	w.logAs(runLogger, flowRunID, level, fmt.Sprintf(format, args...))
}

// observerLog is runLog under the name of the one that watches infrastructure.
func (w *Worker) observerLog(flowRunID string, level slog.Level, message string) {
	w.logAs(observerLogger, flowRunID, level, message)
}

func (w *Worker) logAs(logger, flowRunID string, level slog.Level, message string) {
	w.log.Log(context.Background(), level, message, "logger", logger, "flow_run", flowRunID)
	if w.opts.RunLog != nil {
		w.opts.RunLog.Log(logger, level, flowRunID, message)
	}
}

// Loggers of a flow run's log, as Prefect names them.
const (
	runLogger      = "prefect.flow_runs.worker"
	observerLogger = "prefect.flow_runs.observer"
)
