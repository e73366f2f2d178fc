package process

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"faber/internal/launch"
)

// outputDelay is how long output is still read after a launch is over: a pipe
// that leaked into some daemon must not hold the run's end back.
const outputDelay = 2 * time.Second

// child is one launch of this worker.
type child struct {
	handle  launch.Handle
	mark    marker
	oom     *oomKills
	poolID  string
	cmd     *exec.Cmd
	tempDir string // removed at the end; "" when the job named its directory
	tail    ring
	reader  *os.File
	drained chan struct{} // closed when the output was read to its end
	ended   chan struct{} // closed when exit is set

	mu       sync.Mutex
	gone     bool // the child itself was waited for: its id may be another's now
	stopping bool
	killAt   time.Time // when stopping: what is left then is killed
	killer   *time.Timer
	exit     *launch.Exit
}

// start runs the command with its output on a pipe of our own: exec.Cmd's own
// copying would make Wait last until whoever inherited the pipe closes it.
func (c *child) start(set settings, output io.Writer) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	w, pipe := durable(w)
	c.mark.Output = outputMark(pipe)
	if pipe != "" && !set.streamOutput {
		c.mark.Output = outputMark(quiet + pipe)
	}
	c.cmd.Stdout, c.cmd.Stderr = w, w
	c.cmd.Env = append(c.cmd.Env, markerName+"="+c.mark.String())
	err = c.cmd.Start()
	_ = w.Close() // the child has its own
	if err != nil {
		_ = r.Close()
		return err
	}
	c.reader = r
	if !set.streamOutput {
		output = io.Discard
	}
	go func() {
		defer close(c.drained)
		copyLines(r, &c.tail, output)
	}()
	return nil
}

// await returns when the launch is over: the child has ended, what it left
// behind has ended, and the output was read.
func (c *child) await() {
	waitErr := c.cmd.Wait()
	c.mu.Lock()
	c.gone = true
	deadline := time.Now().Add(stragglerGrace)
	if c.stopping {
		deadline = c.killAt
	}
	c.mu.Unlock()
	endMarked(c.mark, deadline)

	timer := time.NewTimer(outputDelay)
	select {
	case <-c.drained:
	case <-timer.C:
		_ = c.reader.SetReadDeadline(time.Now())
		<-c.drained
	}
	timer.Stop()
	_ = c.reader.Close()
	c.removeTempDir()

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killer != nil {
		c.killer.Stop()
	}
	code := exitCode(c.cmd.ProcessState, waitErr)
	exit := exitOf(code, c.stopping)
	exit.At = time.Now()
	if c.oom.killed(code) && !c.stopping {
		outOfMemory(&exit)
	}
	c.exit = &exit
	close(c.ended)
}

// stop asks the child to end, and kills everything of the launch after grace.
// The group comes first and the rest only when the child is gone: Prefect's
// command may want to tell its engine why it has to go.
func (c *child) stop(grace time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exit != nil {
		return
	}
	at := time.Now().Add(grace)
	if c.stopping && !at.Before(c.killAt) {
		return
	}
	first := !c.stopping
	c.stopping, c.killAt = true, at
	if c.killer != nil {
		c.killer.Stop()
	}
	c.killer = time.AfterFunc(grace, func() {
		c.signal(syscall.SIGKILL)
		killMarked(c.mark)
	})
	if first && !c.gone {
		signalGroup(c.cmd.Process.Pid, syscall.SIGTERM)
	}
}

func (c *child) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		signalGroup(c.cmd.Process.Pid, sig)
	}
}

func (c *child) observe() (launch.Phase, *launch.Exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.exit != nil:
		exit := *c.exit
		return launch.PhaseStopped, &exit
	case c.stopping:
		return launch.PhaseStopping, nil
	default:
		return launch.PhaseRunning, nil
	}
}

func (c *child) removeTempDir() {
	if c.tempDir != "" {
		_ = os.RemoveAll(c.tempDir) // best effort: the system's temp cleaner gets the rest
	}
}

// exitCode is the code in Python's way: the negative signal for a process that
// was killed by one.
func exitCode(state *os.ProcessState, waitErr error) *int {
	if state == nil {
		return nil
	}
	var exitErr *exec.ExitError
	if waitErr != nil && !errors.As(waitErr, &exitErr) {
		return nil
	}
	code := state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = -int(status.Signal())
	}
	return &code
}
