package process

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"faber/internal/launch"
)

// sight is what a look at a process id tells.
type sight int

const (
	unclear sight = iota // this system does not let us look
	absent               // nobody has the id
	foreign              // somebody has it who is not of any launch
	hidden               // somebody has it, and may not be looked at
	present              // it is of a launch
)

// inherited is a launch of an earlier worker on this machine. Its end can be seen,
// its exit status cannot: that is for its parent alone to know.
type inherited struct {
	handle launch.Handle
	first  marked // the process that stands for it
	tail   ring
	reader *os.File // what it writes; nil when that cannot be had

	mu       sync.Mutex
	stopping bool // somebody wants it to end
	ending   bool // what it left behind is being ended
	exit     *launch.Exit
}

// alive reports whether its first process is still there: the same one.
func (i *inherited) alive() bool {
	p, s := look(strconv.Itoa(i.first.pid))
	return s == present && p.ticks == i.first.ticks
}

// inherit begins to watch the launch of an earlier worker that a handle means, if
// anything of it is alive. What it writes is read from now on, as by its own worker.
func (l *Launcher) inherit(h launch.Handle) *inherited {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.inherited[h.PID]
	if known != nil && known.handle.FlowRunID == h.FlowRunID {
		return known
	}
	if l.closed {
		return nil
	}
	first, ok := survivor(h)
	if !ok {
		return nil
	}
	h.ClaimID, h.WorkerName = first.mark.ClaimID, first.mark.WorkerName
	i := &inherited{handle: h, first: first}
	l.inherited[h.PID] = i
	l.readOutput(i)
	return i
}

// survivor is the process that stands for what lives of a launch: the one that the
// handle names, else the oldest of those that it left behind.
func survivor(h launch.Handle) (marked, bool) {
	ours := func(m marker) bool {
		return m.FlowRunID == h.FlowRunID && (h.ClaimID == "" || m.ClaimID == h.ClaimID)
	}
	if p, s := look(h.PID); s == present && ours(p.mark) {
		return p, true
	}
	if left := scan(ours); len(left) > 0 {
		return left[0], true
	}
	return marked{}, false
}

// readOutput reads what an inherited launch writes, until it ends: a pipe that
// nobody reads runs full, and stops whoever writes to it. The caller holds l.mu.
func (l *Launcher) readOutput(i *inherited) {
	if i.reader = outputOf(i.first.mark); i.reader == nil {
		return
	}
	output := l.opts.Output
	if !i.first.mark.Output.streamed() {
		output = io.Discard
	}
	l.children.Go(func() {
		copyLines(i.reader, &i.tail, output)
		_ = i.reader.Close()
		l.hint(i.handle) // most likely it has ended
	})
}

// observeInherited looks at an inherited launch. It is over when its first process is, as
// with our own; what that left behind gets the same time to end.
func (l *Launcher) observeInherited(i *inherited) (launch.Phase, *launch.Exit) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.exit != nil:
		exit := *i.exit
		return launch.PhaseStopped, &exit
	case i.alive() && i.stopping:
		return launch.PhaseStopping, nil
	case i.alive():
		return launch.PhaseRunning, nil
	case len(scan(func(m marker) bool { return m.key() == i.first.mark.key() })) > 0:
		l.end(i, stragglerGrace)
		return launch.PhaseStopping, nil
	}
	i.exit = &launch.Exit{
		Kind:    launch.ExitUnknown,
		Message: "Process " + i.handle.PID + ", started by an earlier worker, ended; its exit status is not known.",
		Hint:    "Check the flow run logs for what it did last.",
		At:      time.Now(),
	}
	if i.stopping {
		i.exit.Kind = launch.ExitStopped
	}
	i.stopReading()
	exit := *i.exit
	return launch.PhaseStopped, &exit
}

// stopInherited asks an inherited launch to end, and sees to it.
func (l *Launcher) stopInherited(i *inherited, grace time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.exit != nil {
		return
	}
	i.stopping = true
	l.end(i, grace)
}

// end ends all processes of an inherited launch. The caller holds i.mu.
func (l *Launcher) end(i *inherited, grace time.Duration) {
	if i.ending {
		return
	}
	i.ending = true
	l.children.Go(func() {
		deadline := time.Now().Add(grace)
		i.endFirst(deadline)
		endMarked(i.first.mark, deadline)
		i.stopReading()
		l.hint(i.handle)
	})
}

// endFirst asks the first process to end and waits for that: Prefect's command may
// want to tell its engine why it has to go.
func (i *inherited) endFirst(deadline time.Time) {
	if !i.alive() {
		return
	}
	signalGroup(i.first.pid, syscall.SIGTERM)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i.alive() && time.Now().Before(deadline) {
		<-tick.C
	}
}

// stopReading reads what is there and no more: a pipe that leaked into some daemon
// does not hold anything back.
func (i *inherited) stopReading() {
	if i.reader != nil {
		_ = i.reader.SetReadDeadline(time.Now().Add(outputDelay))
	}
}

func (i *inherited) endedBefore(moment time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.exit != nil && i.exit.At.Before(moment)
}

// vanished judges a handle of which nothing is alive. On the machine where it was
// started that is proof of its end, if all processes can be looked at; anywhere
// else it says nothing.
func (l *Launcher) vanished(h launch.Handle) launch.Observation {
	o := launch.Observation{Handle: h, Phase: launch.PhaseMissing}
	p, s := look(h.PID)
	_, lives := survivor(h)
	switch {
	case lives: // and this launcher is closed
		o.Phase = launch.PhaseRunning
	case s == hidden && !h.StartedAt.IsZero() && !p.started.After(h.StartedAt.Add(time.Second)):
		// It runs as another user, and is as old as the launch: nobody else can have
		// got the id while the launch had it.
		o.Phase = launch.PhaseRunning
	case s == absent, s == foreign, s == present: // by another launch
		if h.Place == "" || h.Place != l.place || h.FlowRunID == "" {
			break
		}
		o.Phase = launch.PhaseStopped
		o.Exit = &launch.Exit{
			Kind:    launch.ExitUnknown,
			Message: fmt.Sprintf("Process %s is gone: it ended while no worker watched it, and its exit status is not known.", h.PID),
			Hint:    "Check the flow run logs for what it did last, and the system's log for processes that were killed for want of memory.",
			At:      time.Now(),
		}
	}
	return o
}
