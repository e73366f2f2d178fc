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

	"github.com/prometheus/client_golang/prometheus"
)

// API is what the worker asks of Prefect. *prefect.Client satisfies it. Calls
// may be made from several goroutines at once.
type API interface {
	ReadWorkPool(ctx context.Context, name string) (prefect.WorkPool, error)
	CreateWorkPool(ctx context.Context, name, typ string, template json.RawMessage) (prefect.WorkPool, error)
	SetBaseJobTemplate(ctx context.Context, pool string, template json.RawMessage) error
	Workers(ctx context.Context, pool string) ([]prefect.WorkerInfo, error)
	Heartbeat(ctx context.Context, pool, worker string, interval time.Duration) error

	GetScheduledFlowRuns(ctx context.Context, pool string, queues []string, before time.Time, limit int) ([]prefect.FlowRun, error)
	FilterFlowRuns(ctx context.Context, filter map[string]any) ([]prefect.FlowRun, error)
	ReadFlowRun(ctx context.Context, id string) (prefect.FlowRun, error)
	FlowRunStates(ctx context.Context, id string) ([]prefect.State, error)
	SetFlowRunState(ctx context.Context, id string, s prefect.State, force bool) (prefect.OrchestrationResult, error)
	SetInfrastructurePID(ctx context.Context, id string, pid *string) error
	SetLabels(ctx context.Context, id string, labels map[string]string) error

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

// Options configure a Worker. API, Launcher, Pool and Name are needed; all else
// has a default.
type Options struct {
	API        API
	Launcher   launch.Launcher
	NewChannel NewChannel // nil: heartbeats and pool reads go over REST
	Events     Emitter
	RunLog     RunLog
	Logger     *slog.Logger
	Metrics    prometheus.Registerer

	Pool   string
	Queues []string // none means all
	Name   string
	// Limit bounds flow runs whose infrastructure has not ended; 0 is no limit.
	Limit int
	// SubmitLimit bounds flow runs between claim and launched infrastructure.
	SubmitLimit int
	RunOnce     bool

	CreatePool bool
	// BaseJobTemplate is given to a pool that is created or empty; nil means
	// the launcher's default.
	BaseJobTemplate json.RawMessage

	// Host names the machine, for launchers whose infrastructure lives on it.
	Host     string
	Settings []launch.EnvVar // the worker's own explicit settings, for flow runs' env
	Env      func(string) (string, bool)
	WorkerID func() string // the id Cloud gave this worker, "" elsewhere
	// MaintenanceUntil is the end of the pause that the server asked for last.
	MaintenanceUntil func() time.Time

	Prefetch  time.Duration
	Query     time.Duration
	Heartbeat time.Duration
	// StartingSweep and RunningSweep are how often infrastructure is described
	// that does not run yet, and that does.
	StartingSweep time.Duration
	RunningSweep  time.Duration
	AdoptEvery    time.Duration
	// CancelGrace is how long a flow run may take to end by itself when it is
	// cancelled while running, before its infrastructure is stopped; StopGrace
	// is what the infrastructure then gets between SIGTERM and SIGKILL.
	CancelGrace time.Duration
	StopGrace   time.Duration
	// DrainTimeout bounds the whole of a shutdown, DrainGrace what children
	// that cannot outlive the worker get of it.
	DrainTimeout time.Duration
	DrainGrace   time.Duration
	// MaxLaunches is how often one flow run is launched when its infrastructure
	// fails before it ran user code.
	MaxLaunches int
	// MaxCapacityWait is for how long a flow run is given back again and again
	// because there is no capacity.
	MaxCapacityWait time.Duration
	TailLines       int
}

func (o *Options) setDefaults() {
	setDefault(&o.SubmitLimit, 64)
	setDefault(&o.Query, 10*time.Second)
	setDefault(&o.Heartbeat, 30*time.Second)
	setDefault(&o.StartingSweep, 5*time.Second)
	setDefault(&o.RunningSweep, 8*time.Second)
	setDefault(&o.AdoptEvery, 20*time.Second)
	setDefault(&o.CancelGrace, 30*time.Second)
	setDefault(&o.StopGrace, 30*time.Second)
	setDefault(&o.DrainTimeout, 25*time.Second)
	setDefault(&o.DrainGrace, 10*time.Second)
	setDefault(&o.MaxLaunches, 3)
	setDefault(&o.MaxCapacityWait, time.Hour)
	setDefault(&o.TailLines, 50)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Env == nil {
		o.Env = func(string) (string, bool) { return "", false }
	}
	if o.WorkerID == nil {
		o.WorkerID = func() string { return "" }
	}
	if o.MaintenanceUntil == nil {
		o.MaintenanceUntil = func() time.Time { return time.Time{} }
	}
	if o.BaseJobTemplate == nil {
		o.BaseJobTemplate = o.Launcher.DefaultBaseJobTemplate()
	}
}

func setDefault[T comparable](value *T, standard T) {
	var zero T
	if *value == zero {
		*value = standard
	}
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
	pool     atomic.Pointer[poolView]
	synced   chan struct{} // closed when the pool is known
	syncOnce sync.Once
	loops    loops
	begun    time.Time

	wake    chan struct{} // poll now
	submits chan struct{} // tokens of SubmitLimit
	cancels chan *attempt // tracked runs that are being cancelled

	// dispatches are flow runs between poll and tracked infrastructure; jobs
	// are all else that must be finished before Run returns.
	dispatches tasks
	jobs       tasks
	draining   atomic.Bool
	started    prefect.Event
}

// New checks the options and returns a worker. It does nothing until Run.
func New(o Options) (*Worker, error) {
	switch {
	case o.API == nil || o.Launcher == nil:
		return nil, errors.New("a worker needs an API and a launcher")
	case o.Pool == "":
		return nil, errors.New("a worker needs the name of a work pool")
	}
	if err := CheckName(o.Name); err != nil {
		return nil, err
	}
	o.setDefaults()
	w := &Worker{
		opts: o, api: o.API, launcher: o.Launcher, name: o.Name, log: o.Logger, begun: time.Now(),
		metrics:  newMetrics(o.Metrics),
		slots:    newSlots(o.Limit),
		attempts: newAttempts(),
		leases:   leases{byID: make(map[string]string)},
		synced:   make(chan struct{}),
		wake:     make(chan struct{}, 1),
		submits:  make(chan struct{}, o.SubmitLimit),
		cancels:  make(chan *attempt, 256),
	}
	w.slots.freed = w.pollNow
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
	syncing.Go(func() { w.runChannelAndSync(work, firstSync) })
	w.awaitPool(ctx, firstSync)
	if ctx.Err() == nil {
		w.emitStarted()
		w.log.Info(fmt.Sprintf("Worker '%s' started!", w.name))
	}
	watching.Go(func() { w.sweepLoop(tracking, work, "starting sweep", w.opts.StartingSweep, w.attempts.starting) })
	watching.Go(func() { w.sweepLoop(tracking, work, "running sweep", w.opts.RunningSweep, w.attempts.all) })
	watching.Go(func() { w.hintLoop(tracking, work) })
	watching.Go(func() { w.cancelLoop(tracking, work) })
	watching.Go(func() { w.leaseLoop(tracking) })
	fetching.Go(func() { w.wakeLoop(fetch) })
	if w.opts.RunOnce {
		w.runOnce(ctx, work)
	} else {
		fetching.Go(func() { w.adoptLoop(fetch, work) })
		w.pollLoop(fetch, work)
	}
	stopFetch()
	w.drain(work, stopWork, drainOrder{
		fetching: &fetching,
		watching: func() { stopTracking(); watching.Wait() },
		syncing:  &syncing,
	})
	return nil
}

// awaitPool returns when the pool is known. A worker that runs once does not
// wait for a pool that is not there.
func (w *Worker) awaitPool(ctx context.Context, firstSync <-chan struct{}) {
	if !w.opts.RunOnce {
		firstSync = nil
	}
	select {
	case <-w.synced:
	case <-firstSync:
	case <-ctx.Done():
	}
}

func (w *Worker) runOnce(ctx, work context.Context) {
	if _, err := w.pollRound(ctx, work); err != nil {
		w.log.Error("Poll for flow runs", "error", err)
	}
	launched := make(chan struct{})
	w.jobs.Go(func() {
		w.dispatches.Wait()
		close(launched)
	})
	select {
	case <-launched:
		w.attempts.waitEmpty(ctx)
	case <-ctx.Done(): // the drain waits for them, for as long as it may
	}
}

// runLog writes to a flow run's own log in Prefect.
func (w *Worker) runLog(flowRunID string, level slog.Level, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	w.log.Log(context.Background(), level, message, "logger", runLogger, "flow_run", flowRunID)
	if w.opts.RunLog != nil {
		w.opts.RunLog.Log(runLogger, level, flowRunID, message)
	}
}

const runLogger = "prefect.flow_runs.worker"
