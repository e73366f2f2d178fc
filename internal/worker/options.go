package worker

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"faber/internal/launch"

	"github.com/prometheus/client_golang/prometheus"
)

// LimitCounts says until when a flow run counts against Options.Limit.
type LimitCounts string

// What a limit may count.
const (
	// LimitRunning counts a flow run until its infrastructure has ended.
	LimitRunning LimitCounts = "running"
	// LimitLaunches counts a flow run until its infrastructure was launched, as
	// Prefect's worker does. A child of the worker is no infrastructure that
	// lives on without it, and counts until it has ended all the same.
	LimitLaunches LimitCounts = "launches"
)

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
	// Limit bounds flow runs in work; 0 is no limit.
	Limit       int
	LimitCounts LimitCounts // LimitRunning when empty
	// SubmitLimit bounds flow runs between claim and launched infrastructure.
	SubmitLimit int
	RunOnce     bool

	CreatePool bool
	// BaseJobTemplate is given to a pool that is created or empty; nil means
	// the launcher's default.
	BaseJobTemplate json.RawMessage
	// PoolDefaults are defaults of job variables, by name, that the pool is given when
	// the worker starts; nil leaves it as it is. A pool that is created or empty gets
	// them within BaseJobTemplate.
	PoolDefaults json.RawMessage

	// Version is what the server is told of this program; "" means that of the build.
	Version string
	// Host names the machine, for launchers whose infrastructure lives on it.
	Host     string
	Settings func() []launch.EnvVar // the worker's own explicit settings, for flow runs' env; nil means none
	Env      func(string) (string, bool)
	WorkerID func() string // the id Cloud gave this worker, "" elsewhere
	// Redact takes the secrets out of a text that others may have put there; nil takes
	// nothing. Learn is told of each job before anything else is done with it: the
	// secrets of its flow run are in it.
	Redact func(string) string
	Learn  func(launch.Job)
	// OnLaunch is told of each launch: when its flow run was due, if that is known, and
	// when its infrastructure was created. It must be quick.
	OnLaunch func(flowRunID string, due *time.Time, created time.Time)
	// LastAnswer is when the API answered last; nil when nobody knows.
	LastAnswer func() time.Time
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
	JanitorEvery  time.Duration
	// StopLeftovers stops infrastructure of faber's whose flow run is over or
	// deleted; without it that is only told.
	StopLeftovers bool
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
	// TailLines is how many lines of output are copied into the log of a flow run
	// whose infrastructure failed; none when it is negative.
	TailLines int
	// UnbegunTailLines is the same for a flow run on infrastructure of its own that
	// never began to run: nothing of what it wrote is in Prefect.
	UnbegunTailLines int
}

// DefaultHeartbeat is how often a worker says that it lives, if nobody says
// otherwise. Prefect's own does every 30 s. Others take over what a silent worker
// left after two and a bit of its heartbeats, and nobody wants to wait for longer.
const DefaultHeartbeat = 10 * time.Second

// cancelGrace is longer than what Prefect's own command gives its engine: 30 s
// until SIGKILL, some seconds to notice, and then the run's hooks.
const cancelGrace = 45 * time.Second

func (o *Options) setDefaults() {
	setDefault(&o.LimitCounts, LimitRunning)
	setDefault(&o.SubmitLimit, 64)
	setDefault(&o.Version, buildVersion())
	setDefault(&o.Query, 10*time.Second)
	setDefault(&o.Heartbeat, DefaultHeartbeat)
	setDefault(&o.StartingSweep, 5*time.Second)
	setDefault(&o.RunningSweep, 8*time.Second)
	setDefault(&o.AdoptEvery, 20*time.Second)
	setDefault(&o.JanitorEvery, janitorEvery)
	setDefault(&o.CancelGrace, cancelGrace)
	setDefault(&o.StopGrace, 30*time.Second)
	setDefault(&o.DrainTimeout, 25*time.Second)
	setDefault(&o.DrainGrace, 10*time.Second)
	setDefault(&o.MaxLaunches, 3)
	setDefault(&o.MaxCapacityWait, time.Hour)
	setDefault(&o.TailLines, 50)
	setDefault(&o.UnbegunTailLines, 500) // as much as Prefect's observer copies
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Env == nil {
		o.Env = func(string) (string, bool) { return "", false }
	}
	if o.WorkerID == nil {
		o.WorkerID = func() string { return "" }
	}
	if o.Redact == nil {
		o.Redact = func(text string) string { return text }
	}
	if o.Learn == nil {
		o.Learn = func(launch.Job) {}
	}
	if o.Settings == nil {
		o.Settings = func() []launch.EnvVar { return nil }
	}
	if o.OnLaunch == nil {
		o.OnLaunch = func(string, *time.Time, time.Time) {}
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

func (c LimitCounts) check() error {
	switch c {
	case "", LimitRunning, LimitLaunches:
		return nil
	default:
		return fmt.Errorf("the limit counts %q; it may count %q or %q", string(c), LimitRunning, LimitLaunches)
	}
}

// buildVersion is the version that this program was built as.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
