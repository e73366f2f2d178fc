package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"faber/internal/launch"
)

// fakeLauncher is infrastructure in memory. Its runs end when a test says so.
type fakeLauncher struct {
	api *fakePrefect

	mu       sync.Mutex
	typ      string
	byClaim  map[string]launch.Handle
	jobs     map[string]launch.Job // by pid
	seen     map[string]launch.Observation
	stops    []string
	why      []string // reasons of the stops
	calls    int
	hints    chan launch.Hint
	closed   bool
	looks    [][]string // pids of each description
	describe error
	partly   bool                                 // describe fails for others than those that are asked for
	launch   func(job launch.Job, call int) error // before a launch takes effect
	started  func(pid string, job launch.Job)     // after
	cluster  string                               // what pids begin with
	place    string
	searched []launch.Pool
	tail     func(ctx context.Context) ([]launch.LogLine, error)
	tailed   []int // how many lines were asked for
	template map[string]any
	onStop   func(pid string)
	onClose  func()
}

func newFakeLauncher(api *fakePrefect) *fakeLauncher {
	return &fakeLauncher{
		api: api, typ: "fake", byClaim: map[string]launch.Handle{}, jobs: map[string]launch.Job{},
		seen: map[string]launch.Observation{}, hints: make(chan launch.Hint, 100),
	}
}

func (f *fakeLauncher) Type() string { return f.typ }

func (f *fakeLauncher) SetTemplate(jobConfiguration map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.template = jobConfiguration
}

func (f *fakeLauncher) DefaultBaseJobTemplate() json.RawMessage {
	data, _ := json.Marshal(template())
	return data
}

func (f *fakeLauncher) Check(job launch.Job) error {
	switch size := job.Configuration["size"].(type) {
	case float64, json.Number:
		return nil
	default:
		return fmt.Errorf("size: a number is needed, not %v", size)
	}
}

func (f *fakeLauncher) Launch(ctx context.Context, job launch.Job) (launch.Handle, error) {
	f.mu.Lock()
	f.calls++
	hook, call := f.launch, f.calls
	f.mu.Unlock()
	if hook != nil {
		if err := hook(job, call); err != nil {
			return launch.Handle{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, known := f.byClaim[job.ClaimID]; known {
		return h, nil
	}
	h := launch.Handle{
		PID: fmt.Sprintf("%spid-%d", f.cluster, len(f.byClaim)+1), FlowRunID: job.FlowRunID, ClaimID: job.ClaimID,
		WorkerName: job.WorkerName, StartedAt: time.Now(),
	}
	f.byClaim[job.ClaimID], f.jobs[h.PID] = h, job
	f.seen[h.PID] = launch.Observation{Handle: h, Phase: launch.PhaseStarting}
	if f.started != nil {
		go f.started(h.PID, job)
	}
	return h, nil
}

func (f *fakeLauncher) Describe(_ context.Context, handles []launch.Handle) (seen []launch.Observation, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.describe != nil && !f.partly {
		return nil, f.describe
	}
	var pids []string
	for _, h := range handles {
		pids = append(pids, h.PID)
	}
	f.looks = append(f.looks, pids)
	for _, h := range handles {
		o, known := f.seen[h.PID]
		if !known {
			o = launch.Observation{Handle: h, Phase: launch.PhaseMissing}
		}
		seen = append(seen, o)
	}
	return seen, f.describe
}

// described are the pids of each description so far.
func (f *fakeLauncher) described() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.looks)
}

func (f *fakeLauncher) Place(launch.Job) string { return f.place }

func (f *fakeLauncher) Find(_ context.Context, pool launch.Pool) (live []launch.Handle, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.searched = append(f.searched, pool)
	for _, o := range f.seen {
		if o.Phase != launch.PhaseStopped {
			live = append(live, o.Handle)
		}
	}
	return live, nil
}

func (f *fakeLauncher) Stop(_ context.Context, h launch.Handle, reason string, _ time.Duration) error {
	f.mu.Lock()
	f.stops = append(f.stops, h.PID)
	f.why = append(f.why, reason)
	hook := f.onStop
	f.mu.Unlock()
	if hook != nil {
		hook(h.PID)
	}
	return nil
}

func (f *fakeLauncher) Tail(ctx context.Context, h launch.Handle, limit int) ([]launch.LogLine, error) {
	f.mu.Lock()
	f.tailed = append(f.tailed, limit)
	f.mu.Unlock()
	if f.tail != nil {
		return f.tail(ctx)
	}
	return []launch.LogLine{{Text: "last words of " + h.PID}}, nil
}

func (f *fakeLauncher) Hints() <-chan launch.Hint { return f.hints }

func (f *fakeLauncher) Close(time.Duration) error {
	f.mu.Lock()
	first := !f.closed
	f.closed = true
	hook := f.onClose
	f.mu.Unlock()
	if first && hook != nil {
		hook()
	}
	if first {
		close(f.hints)
	}
	return nil
}

func (f *fakeLauncher) phase(pid string, p launch.Phase) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.seen[pid]
	o.Phase = p
	f.seen[pid] = o
}

func (f *fakeLauncher) end(pid string, exit launch.Exit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.seen[pid]
	o.Phase, o.Exit = launch.PhaseStopped, &exit
	f.seen[pid] = o
}

func (f *fakeLauncher) forget(pid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.seen, pid)
}

func (f *fakeLauncher) hint(pid string) { f.hints <- launch.Hint{PID: pid} }

func (f *fakeLauncher) searches() []launch.Pool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.searched)
}

func (f *fakeLauncher) launched() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.byClaim)
}

func (f *fakeLauncher) called() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *fakeLauncher) stopped() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.stops)
}

func (f *fakeLauncher) reasons() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.why)
}

func (f *fakeLauncher) allJobs() map[string]launch.Job {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.jobs)
}

func (f *fakeLauncher) claims() map[string]launch.Handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.byClaim)
}
