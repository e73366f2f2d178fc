package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a process of the stack, as recorded. Started tells it from a later
// process with the same number.
type Process struct {
	PID     int    `json:"pid"`
	Started string `json:"started"`
	Log     string `json:"log"`
}

// Alive reports whether the recorded process still runs.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	started, err := startTime(p.PID)
	return err == nil && started == p.Started
}

// String names the life of the process.
func (p Process) String() string { return fmt.Sprintf("%d@%s", p.PID, p.Started) }

// startTime tells two processes with the same number apart. The boot is part of
// it on Linux: numbers and ticks repeat after a restart of the machine.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return startTimeByPS(pid)
	}
	// The name of the program, in parentheses, may hold anything; fields follow it.
	rest := string(stat[bytes.LastIndexByte(stat, ')')+1:])
	fields := strings.Fields(rest)
	const state, start = 0, 19
	if len(fields) <= start || fields[state] == "Z" {
		return "", fmt.Errorf("process %d is over", pid)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return fields[start] + "-" + strings.TrimSpace(string(boot)), nil
}

func startTimeByPS(pid int) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ps", "-o", "lstart=", "-p", fmt.Sprint(pid)).Output()
	if started := strings.TrimSpace(string(out)); err == nil && started != "" {
		return started, nil
	}
	return "", fmt.Errorf("process %d is over", pid)
}

// start runs a program in the background, in a process group of its own, with
// its output in a log file. It outlives faber.
func (u *up) start(name string, env []string, program string, args ...string) error {
	log := filepath.Join(u.Layout.Logs(), name+".log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer out.Close()
	cmd := exec.Command(program, args...) //nolint:noctx // must outlive this call
	cmd.Env = append(append([]string{}, u.Environ...), env...)
	cmd.Dir = u.Layout.Dir()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	go cmd.Wait() //nolint:errcheck // reaps it should it die while faber runs; the record tells
	started, err := startTime(cmd.Process.Pid)
	if err != nil {
		return u.died(name, log)
	}
	u.state.Processes[name] = Process{PID: cmd.Process.Pid, Started: started, Log: log}
	return u.save() // at once: a crash of faber must not leave it unknown
}

// await polls a condition of a process just started until it holds, the process
// dies, or the time is over; the error then shows the end of the log.
func (u *up) await(ctx context.Context, name string, patience time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	process := u.state.Processes[name]
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		if !process.Alive() {
			return u.died(name, process.Log)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return &Problem{
				Message: fmt.Sprintf("%s did not answer within %s\n%s", name, patience, tail(process.Log, logTailLines)),
				Hint:    "the whole log: faber dev logs " + name,
				Err:     err,
			}
		}
	}
}

// logTailLines is how much of a log an error shows.
const logTailLines = 12

func (u *up) died(name, log string) error {
	return &Problem{
		Message: fmt.Sprintf("%s ended at once; its last lines:\n%s", name, tail(log, logTailLines)),
		Hint:    "the whole log: faber dev logs " + name,
	}
}

// tail returns the last lines of a file, indented.
func tail(name string, lines int) string {
	data, err := os.ReadFile(name)
	if err != nil || len(data) == 0 {
		return "  (the log is empty)"
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "  " + strings.Join(all, "\n  ")
}

// stopProcess ends the process and all of its group: SIGTERM, then SIGKILL after
// grace. Nil when it is over.
func stopProcess(p Process, grace time.Duration) error {
	if !p.Alive() {
		return nil
	}
	group, err := syscall.Getpgid(p.PID)
	if err != nil || group != p.PID {
		// Not the leader we started: leave its group alone.
		return fmt.Errorf("process %d is not the one that was started", p.PID)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(-group, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end process %d: %w", p.PID, err)
		}
		if p.overWithin(grace) {
			// Children of the leader may take a moment longer.
			return ignoreGone(syscall.Kill(-group, syscall.SIGKILL))
		}
	}
	return fmt.Errorf("process %d does not end", p.PID)
}

// overWithin waits for the end of the process. It is no child of this program, so
// that nothing tells but looking.
func (p Process) overWithin(d time.Duration) bool {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for p.Alive() {
		select {
		case <-tick.C:
		case <-timeout.C:
			return false
		}
	}
	return true
}

func ignoreGone(err error) error {
	// EPERM is what macOS says of a group that holds only zombies.
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EPERM) {
		return nil
	}
	return err
}
