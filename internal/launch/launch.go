// Package launch is the contract between the worker and the infrastructures
// that flow runs are started on. It holds no behaviour of its own: the worker
// speaks it, every launcher (ecs, process) implements it, and the suite in
// launchtest holds each of them to it.
package launch

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// Launcher starts flow runs on one kind of infrastructure, says what became of
// them, and stops them. All methods may be called from several goroutines at
// once. No method retries beyond what its comment says: pacing and patience
// across calls belong to the worker.
type Launcher interface {
	// Type is the work pool type served, in Prefect's words: "ecs", "process".
	Type() string

	// DefaultBaseJobTemplate is the template given to a pool that has none.
	DefaultBaseJobTemplate() json.RawMessage

	// Check reports every problem of a job's configuration at once, joined,
	// without calling anything. A job that fails here is never launched.
	Check(job Job) error

	// Launch starts the job. Calling it again with the same flow run and claim
	// never starts a second one: it returns the handle of the first. On failure
	// the error is a *Failure.
	Launch(ctx context.Context, job Job) (Handle, error)

	// Describe observes handles, in any number; the launcher batches. A handle
	// it cannot find is observed as PhaseMissing, which alone proves nothing.
	// On error some observations may still be returned, and are valid.
	Describe(ctx context.Context, handles []Handle) ([]Observation, error)

	// Find lists the live infrastructure started for a work pool, by any worker
	// of this type, at any time, where the pool's configuration says and in every
	// one of pool.Places.
	Find(ctx context.Context, pool Pool) ([]Handle, error)

	// Stop asks the infrastructure to end: SIGTERM, then SIGKILL after at most
	// grace (zero means the infrastructure's own default). It returns once the
	// request was taken. Stopping what is already gone is not an error.
	Stop(ctx context.Context, handle Handle, reason string, grace time.Duration) error

	// Tail returns the newest lines of the infrastructure's output, oldest
	// first, at most limit of them. No lines and no error when there is no log.
	Tail(ctx context.Context, handle Handle, limit int) ([]LogLine, error)

	// Hints tells early that something about a handle changed. Hints may be
	// late, doubled, wrong or absent; the worker then calls Describe. Nil when
	// the launcher has none. Closed by Close.
	Hints() <-chan Hint

	// Close ends what the launcher runs in the background and waits for it. It
	// does not touch running infrastructure, except that children which cannot
	// outlive the worker get grace to end.
	Close(grace time.Duration) error
}

// Placer is what a Launcher also satisfies that can tell, without calling
// anything, where a job is going to run. The worker writes the place into the
// state that the flow run has while it is launched: people read there where to
// look, and it stands there after the pool's template has changed.
type Placer interface {
	// Place names the place as it reads after "Submitting to", for example
	// "cluster blue in eu-central-1"; "" when it is not known.
	Place(job Job) string
}

// Templated is what a Launcher also satisfies that wants to know how the work
// pool's job configuration is written: which variables it refers to, and where.
type Templated interface {
	// SetTemplate tells the pool's job_configuration with its placeholders, each
	// time that it may have changed.
	SetTemplate(jobConfiguration map[string]any)
}

// Freshness is what a Launcher also satisfies whose hints come from outside, by a
// way that can be cut.
type Freshness interface {
	// HintsFresh is when it last looked for hints with success, zero for never, how
	// often it does so, and what is wrong now, nil if nothing is. Where nobody asked
	// for hints, every is zero.
	HintsFresh() (last time.Time, every time.Duration, err error)
}

// MemoryLadder is what a Launcher also satisfies that can give a flow run more
// memory after it ran out of it.
type MemoryLadder interface {
	// MemoryAfter is what the job would get after so many launches that ran out
	// of memory, as it reads in a sentence ("4096 MiB"); false when its
	// configuration has no such step.
	MemoryAfter(job Job, outOfMemory int) (string, bool)
}

// Historian is what a Launcher also satisfies that can tell what became of
// infrastructure that nobody watched. After it ended, the infrastructure's API
// remembers it for a while only (ECS: about an hour): who finds nothing here knows
// nothing.
type Historian interface {
	// Stopped observes all infrastructure that was started for flow runs of a pool
	// and is over, or about to be: what Find does not list. A run that was launched
	// several times has several, told apart by their claims. It asks in the places
	// that Find looks in. On error some observations may still be returned, and
	// are valid. It is dearer than Describe and Find, so it is for the few runs of
	// which both know nothing.
	Stopped(ctx context.Context, pool Pool, flowRunIDs []string) ([]Observation, error)
}

// Pool names the work pool that launched infrastructure belongs to.
type Pool struct {
	ID   string // UUID
	Name string
	// Configuration is the pool's current job_configuration as a job without any
	// variables of its own would get it: defaults filled in, no placeholders. A
	// launcher reads from it where to look (for ECS: the cluster). It is set for
	// Find; the pool of a Job has none, as the job has its own.
	Configuration map[string]any
	// Places are further places to look in, each as Placer names it: launches
	// were begun there before the configuration changed.
	Places []string
}

// Attempt says which launch of its flow run a job is, as the run's state history
// tells. Both kinds of count start anew when somebody runs it again by hand.
type Attempt struct {
	// Number is 1 for the first launch; launches that were refused for want of
	// capacity do not count.
	Number int
	// Last reports that the run is not launched again if this launch fails or is
	// interrupted: it should go where neither is likely.
	Last bool
	// OutOfMemory is how many earlier launches ended for want of memory.
	OutOfMemory int
	// Rescheduled reports that the worker launches the run again when this launch
	// is interrupted. The flow run's own process must not do so as well.
	Rescheduled bool
}

// EnvVar is one environment variable of a job. Order is kept: it shows in the
// request that is made.
type EnvVar struct {
	Name  string
	Value string
	// OfRun reports that the value belongs to this run alone. A launcher that
	// keeps a part of the environment for several runs leaves it out of that.
	OfRun bool
}

// Job is one launch of one flow run, with everything resolved.
type Job struct {
	FlowRunID    string // UUID
	FlowRunName  string
	ClaimID      string // id of the accepted Pending state: names this launch for ever after, on any machine
	FlowID       string
	DeploymentID string // "" for a run without a deployment
	Pool         Pool
	WorkQueue    string // tells the run's work queue from others; "" when it is not known
	WorkerName   string
	Attempt      Attempt

	// Configuration is the pool's job_configuration with every placeholder,
	// block and variable resolved, in JSON types (map[string]any, []any, string,
	// float64 or json.Number, bool, nil). Launchers must not change it.
	Configuration map[string]any
	// Document is Configuration as JSON text, whose keys have the order in which
	// they were written. Nil when nobody knows it.
	Document json.RawMessage
	// Env is the complete environment, Prefect's own variables included.
	Env []EnvVar
	// Labels are Prefect's labels (prefect.io/...) and the user's, unsanitised.
	Labels map[string]string
	// LabelNames are the names of Labels in their order.
	LabelNames []string
	// Command is the configured command line; "" means the type's default.
	Command string

	// Log writes a line to the flow run's own log in Prefect. Never nil.
	Log func(level slog.Level, message string)
}

// Handle names infrastructure that was started for a claim.
type Handle struct {
	// PID is what Prefect stores as infrastructure_pid: "cluster::taskArn" for
	// ecs, the process id for process.
	PID        string
	FlowRunID  string
	ClaimID    string // "" when found infrastructure does not tell
	WorkerName string // worker that launched it, "" when unknown
	StartedAt  time.Time
	// Place is where it was launched, as Placer names it; "" when unknown. A launcher
	// whose infrastructure dies with its place knows by it what "not here" means.
	Place string
}

// Phase is where launched infrastructure stands.
type Phase string

// Phases. Missing means the infrastructure's API does not know the handle: it
// may be too young to be seen, or long gone.
const (
	PhaseStarting Phase = "starting"
	PhaseRunning  Phase = "running"
	PhaseStopping Phase = "stopping"
	PhaseStopped  Phase = "stopped"
	PhaseMissing  Phase = "missing"
)

// Observation is what a launcher saw of one handle.
type Observation struct {
	Handle Handle
	Phase  Phase
	Exit   *Exit // set when Phase is PhaseStopped
}

// ExitKind says why infrastructure ended, as far as the worker must decide.
type ExitKind string

// Kinds of exit.
const (
	ExitClean        ExitKind = "clean"         // every container that matters ended with code 0
	ExitNonZero      ExitKind = "non_zero"      // one ended with another code, or was killed
	ExitStartFailure ExitKind = "start_failure" // it never ran user code
	ExitInterrupted  ExitKind = "interrupted"   // capacity was reclaimed (Spot)
	ExitStopped      ExitKind = "stopped"       // somebody asked for it
	ExitUnknown      ExitKind = "unknown"       // it is over, nobody says how
)

// Exit is the end of launched infrastructure.
type Exit struct {
	Kind    ExitKind
	Code    *int   // exit code of the container or process that matters; nil when none was reported
	Message string // what happened, one sentence, in the words users search for
	Hint    string // what to do next, one sentence; "" when there is nothing to do
	At      time.Time
	// OutOfMemory reports that it was killed for its use of memory.
	OutOfMemory bool
}

// Hint says that the infrastructure of a flow run may have changed.
type Hint struct {
	PID       string
	FlowRunID string // "" when the hint does not tell
	Event     *Event // nil when the hint is only a hint
}

// Event is what the infrastructure itself told, for those who watch Prefect's events.
type Event struct {
	ID       string            // of the source event; the same when it is delivered again
	At       time.Time         // when it happened, as the source says
	Name     string            // "prefect.ecs.task.provisioning"
	Resource map[string]string // the resource's labels, "prefect.resource.id" among them
	Labels   map[string]string // the infrastructure's labels (for ECS: the task's tags), which name flow run, deployment, flow, pool, worker
	Pending  string            // what to say in an InfrastructurePending state, e.g. "ECS task is provisioning."; "" when it is past that
}

// LogLine is one line of a job's own output.
type LogLine struct {
	At   time.Time
	Text string
}

// FailureKind says what a failed Launch means for the claim.
type FailureKind string

// Kinds of failure.
const (
	// FailureRetry: refused before it had effect, or the outcome is unknown
	// (lost reply, throttle, 5xx). Call Launch again with the same job.
	FailureRetry FailureKind = "retry"
	// FailureCapacity: a definite answer without infrastructure, that may be
	// otherwise later (capacity, quota). The claim is over; the run may come
	// back as a new one.
	FailureCapacity FailureKind = "capacity"
	// FailurePermanent: trying again cannot help until somebody changes
	// something. The run is Crashed with the message and the hint.
	FailurePermanent FailureKind = "permanent"
)

// Failure is why a job was not launched.
type Failure struct {
	Kind    FailureKind
	Message string // what happened
	Hint    string // what to do next
	Err     error  // cause, may be nil
	// Unknown reports that the call may have had its effect all the same: nobody
	// may conclude from it that there is no infrastructure.
	Unknown bool
}

// Error is the message alone; the hint is shown beside it.
func (f *Failure) Error() string { return f.Message }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }
