// Package process starts flow runs as children of the worker: one process group
// per run, `prefect flow-run execute` unless the job names another command.
//
// What belongs to a launch is more than the child. Prefect's own command starts
// the flow's engine in a session of its own, which no signal to the child's
// group can reach, so every launch is marked in its environment (see marker)
// and, on Linux, found again by that mark: to be stopped with the child, to be
// ended when the child died without it, and to be taken over by the next worker on
// this machine when this one was killed. Until then it goes on: a flow run does not
// need its worker.
package process

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"faber/internal/launch"
)

//go:embed template.json
var defaultTemplate []byte

// Options configure a Launcher.
type Options struct {
	// Environ is the worker's own environment, as os.Environ gives it; jobs'
	// variables are laid over it.
	Environ []string
	// Output receives the output of jobs with stream_output, line by line.
	Output io.Writer
	Logger *slog.Logger
	// Command is started when a job names none. Nil means Prefect's own.
	Command []string
	// TempDir holds the working directories of jobs that name none; "" means
	// the system's.
	TempDir string
	// Grace is what Stop gives when the caller names none. Zero means 30 s.
	Grace time.Duration
	// Host names this machine; "" means its own name.
	Host string
}

const (
	defaultGrace = 30 * time.Second
	// stragglerGrace is for what a child left behind when it ended by itself:
	// an engine whose supervisor was killed reports its run within seconds.
	stragglerGrace = 10 * time.Second
	// remembered is how long an ended launch can still be described, tailed and
	// recognised when it is asked for again.
	remembered = time.Hour
)

// Launcher is a launch.Launcher for local child processes.
type Launcher struct {
	opts     Options
	log      *slog.Logger
	place    string
	oom      *oomKills
	hints    chan launch.Hint
	children sync.WaitGroup // one per goroutine that waits for a child or ends a survivor

	mu    sync.Mutex
	byKey map[string]*child // flow run id + claim id
	byPID map[string]*child
	// inherited are launches of an earlier worker that were seen alive, by the id of
	// their process: once they are gone, that is certain.
	inherited map[string]*inherited
	closed    bool
}

var (
	_ launch.Launcher = (*Launcher)(nil)
	_ launch.Placer   = (*Launcher)(nil)
)

// New returns a launcher. It starts nothing until the first Launch.
func New(o Options) *Launcher {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Output == nil {
		o.Output = io.Discard
	}
	if len(o.Command) == 0 {
		o.Command = []string{"prefect", "flow-run", "execute"}
	}
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	o.Output = &lineWriter{w: o.Output}
	return &Launcher{
		opts:      o,
		log:       o.Logger,
		place:     here(o.Host),
		oom:       newOOMKills(),
		hints:     make(chan launch.Hint, 256),
		byKey:     make(map[string]*child),
		byPID:     make(map[string]*child),
		inherited: make(map[string]*inherited),
	}
}

// Type is "process".
func (l *Launcher) Type() string { return "process" }

// DefaultBaseJobTemplate is the template for pools that have none.
func (l *Launcher) DefaultBaseJobTemplate() json.RawMessage { return defaultTemplate }

// Hints tells of children that ended.
func (l *Launcher) Hints() <-chan launch.Hint { return l.hints }

// Check reports every problem of the job's configuration.
func (l *Launcher) Check(job launch.Job) error {
	_, err := l.settings(job)
	return err
}

// Describe observes children of this worker, and of an earlier one on this
// machine.
func (l *Launcher) Describe(_ context.Context, handles []launch.Handle) ([]launch.Observation, error) {
	observations := make([]launch.Observation, 0, len(handles))
	for _, h := range handles {
		observations = append(observations, l.observe(h))
	}
	return observations, nil
}

func (l *Launcher) observe(h launch.Handle) launch.Observation {
	if c := l.child(h); c != nil {
		phase, exit := c.observe()
		return launch.Observation{Handle: c.handle, Phase: phase, Exit: exit}
	}
	if i := l.inherit(h); i != nil {
		phase, exit := l.observeInherited(i)
		return launch.Observation{Handle: h, Phase: phase, Exit: exit}
	}
	return l.vanished(h)
}

// Find lists the live processes of a pool: this worker's children and what an
// earlier worker left behind on this machine.
func (l *Launcher) Find(_ context.Context, pool launch.Pool) ([]launch.Handle, error) {
	var found []launch.Handle
	seen := make(map[string]bool)
	l.mu.Lock()
	for key, c := range l.byKey {
		if phase, _ := c.observe(); c.poolID == pool.ID && phase != launch.PhaseStopped {
			found = append(found, c.handle)
		}
		seen[key] = true
	}
	l.mu.Unlock()
	for _, s := range scan(func(m marker) bool { return m.PoolID == pool.ID }) {
		key := s.mark.key()
		if seen[key] {
			continue
		}
		seen[key] = true // the oldest process of a launch stands for it
		h := s.handle()
		h.Place = l.place
		found = append(found, h)
	}
	return found, nil
}

// Stop sends SIGTERM to the launch and SIGKILL to what is left after grace.
func (l *Launcher) Stop(_ context.Context, h launch.Handle, reason string, grace time.Duration) error {
	if grace <= 0 {
		grace = l.opts.Grace
	}
	if c := l.child(h); c != nil {
		l.log.Info("Stopping flow run's process", "pid", h.PID, "flow_run", h.FlowRunID, "reason", reason)
		c.stop(grace)
		return nil
	}
	if i := l.inherit(h); i != nil {
		l.log.Info("Stopping process of an earlier worker", "pid", h.PID, "flow_run", h.FlowRunID, "reason", reason)
		l.stopInherited(i, grace)
	}
	return nil
}

// Tail returns the last lines that a child of this worker wrote, or what an
// inherited one wrote since.
func (l *Launcher) Tail(_ context.Context, h launch.Handle, limit int) ([]launch.LogLine, error) {
	if c := l.child(h); c != nil {
		return c.tail.last(limit), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.inherited[h.PID]; i != nil && i.handle.FlowRunID == h.FlowRunID {
		return i.tail.last(limit), nil
	}
	return nil, nil
}

// Close ends all children, and what was inherited: SIGTERM, and SIGKILL after
// grace. Describe and Tail keep working, so that what became of the children can
// still be told.
func (l *Launcher) Close(grace time.Duration) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	live := slices.Collect(maps.Values(l.byKey))
	heirlooms := slices.Collect(maps.Values(l.inherited))
	l.mu.Unlock()

	for _, c := range live {
		c.stop(grace)
	}
	for _, i := range heirlooms {
		l.stopInherited(i, grace)
	}
	ended := make(chan struct{})
	go func() {
		l.children.Wait()
		close(l.hints)
		close(ended)
	}()
	// After SIGKILL only a process stuck in the kernel is left to wait for.
	timer := time.NewTimer(grace + outputDelay + 2*time.Second)
	defer timer.Stop()
	select {
	case <-ended:
		return nil
	case <-timer.C:
		return errors.New("some child processes did not end after SIGKILL")
	}
}

// child finds a launch of this worker by the handle's process id. A process id
// alone is not proof, ids come back: the flow run must be the same.
func (l *Launcher) child(h launch.Handle) *child {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.byPID[h.PID]
	if c == nil || (h.FlowRunID != "" && c.handle.FlowRunID != h.FlowRunID) {
		return nil
	}
	return c
}

// forget drops launches that ended long ago. The caller holds l.mu.
func (l *Launcher) forget(now time.Time) {
	for key, c := range l.byKey {
		if _, exit := c.observe(); exit == nil || now.Sub(exit.At) < remembered {
			continue
		}
		delete(l.byKey, key)
		if l.byPID[c.handle.PID] == c {
			delete(l.byPID, c.handle.PID)
		}
	}
	for pid, i := range l.inherited {
		if i.endedBefore(now.Add(-remembered)) {
			delete(l.inherited, pid)
		}
	}
}
