package process

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// ownGroup gives a child its own session, so that signals reach it and its
// group alone.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func signalGroup(pid int, sig syscall.Signal) { _ = syscall.Kill(-pid, sig) } // gone already is fine

// reap collects those of the processes that became children of this one when
// their parent ended, which happens when the worker is a container's first
// process. For all others the call is refused, which is as well.
func reap(pids map[int]bool) {
	for pid := range pids {
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
}

// scan lists the live processes that match, oldest first. Processes of other
// users cannot be read and are none of ours.
func scan(match func(marker) bool) []marked {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []marked
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		m, ok, _ := markerOfPID(pid)
		if !ok || !match(m) {
			continue
		}
		stat, err := readStat(pid)
		if err != nil || stat.dead() {
			continue
		}
		found = append(found, marked{pid: pid, ticks: stat.ticks, started: startedAt(stat.ticks), mark: m})
	}
	slices.SortStableFunc(found, func(a, b marked) int {
		return cmp.Or(cmp.Compare(a.ticks, b.ticks), cmp.Compare(a.pid, b.pid))
	})
	return found
}

// sees reports whether processes can be looked at: not where /proc is missing.
func sees() bool {
	_, err := os.Stat("/proc/self/environ")
	return err == nil
}

// look tells what is known of the process with an id.
func look(pid string) (marked, sight) {
	n, err := strconv.Atoi(pid)
	if err != nil || n <= 0 || !sees() {
		return marked{}, unclear
	}
	p := marked{pid: n}
	stat, err := readStat(n)
	if errors.Is(err, fs.ErrNotExist) || err == nil && stat.dead() {
		return p, absent
	}
	if err != nil {
		return p, unclear
	}
	p.ticks, p.started = stat.ticks, startedAt(stat.ticks)
	m, ok, err := markerOfPID(n)
	switch {
	case ok:
		p.mark = m
		return p, present
	case err == nil:
		return p, foreign
	default: // it runs as another user, or is just going
		return p, hidden
	}
}

// signalMarked sends a signal to a process that was found, and to none that has its
// id by now: what os.FindProcess opens is the process, not the number.
func signalMarked(p marked, sig syscall.Signal) {
	process, err := os.FindProcess(p.pid)
	if err != nil {
		return
	}
	defer func() { _ = process.Release() }()
	if stat, err := readStat(p.pid); err == nil && stat.ticks == p.ticks {
		_ = process.Signal(sig) // gone already is fine
	}
}

// markerOfPID reads the mark of a live process. A zombie has no environment.
func markerOfPID(pid int) (marker, bool, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return marker{}, false, err
	}
	for pair := range bytes.SplitSeq(data, []byte{0}) {
		if value, ok := bytes.CutPrefix(pair, []byte(markerName+"=")); ok {
			m, ok := parseMarker(string(value))
			return m, ok, nil
		}
	}
	return marker{}, false, nil
}

// durable is the end of a pipe that is given to a child, opened so that the child
// itself keeps the pipe from breaking. When the worker is killed its children then
// write on, until a later worker reads what they wrote; else they would die of it.
// The name is what the pipe is found by; "" means that the child depends on us.
func durable(w *os.File) (_ *os.File, name string) {
	path := "/proc/self/fd/" + strconv.Itoa(int(w.Fd()))
	name, err := os.Readlink(path)
	if err != nil {
		return w, ""
	}
	// Not by os.OpenFile, which would make it non-blocking, for the child as well.
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return w, ""
	}
	_ = w.Close()
	return os.NewFile(uintptr(fd), name), name
}

// outputOf opens the pipe that the processes of an earlier worker's launch write
// to, wherever one of them has it; nil when there is none any more.
func outputOf(m marker) *os.File {
	pipe := m.Output.pipe()
	if pipe == "" {
		return nil
	}
	for _, p := range scan(func(other marker) bool { return other.key() == m.key() }) {
		dir := filepath.Join("/proc", strconv.Itoa(p.pid), "fd")
		open, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range open {
			path := filepath.Join(dir, fd.Name())
			if link, err := os.Readlink(path); err != nil || link != pipe {
				continue
			}
			if f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
				return f
			}
		}
	}
	return nil
}
