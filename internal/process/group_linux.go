package process

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"faber/internal/launch"
)

// ownGroup gives a child its own session, so that signals reach it and its
// group alone, and lets the kernel send it SIGTERM when the worker dies without
// saying goodbye (see spawner).
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
}

func signalGroup(pid int, sig syscall.Signal) { _ = syscall.Kill(-pid, sig) } // gone already is fine

func terminate(pid int) { _ = syscall.Kill(pid, syscall.SIGTERM) }

func killPID(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

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
		m, ok := markerOfPID(pid)
		if !ok || !match(m) {
			continue
		}
		p := marked{pid: pid, mark: m}
		if info, err := os.Stat(filepath.Join("/proc", entry.Name())); err == nil {
			p.started = info.ModTime()
		}
		found = append(found, p)
	}
	slices.SortStableFunc(found, func(a, b marked) int {
		return cmp.Or(a.started.Compare(b.started), cmp.Compare(a.pid, b.pid))
	})
	return found
}

// survivors are the processes of the launch whose first process has this id.
func survivors(pid string) []marked {
	n, err := strconv.Atoi(pid)
	if err != nil || n <= 0 {
		return nil
	}
	m, ok := markerOfPID(n)
	if !ok {
		return nil
	}
	return []marked{{pid: n, mark: m}}
}

// markerOfPID reads the mark of a live process. A zombie has no environment.
func markerOfPID(pid int) (marker, bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return marker{}, false
	}
	for pair := range bytes.SplitSeq(data, []byte{0}) {
		if value, ok := bytes.CutPrefix(pair, []byte(markerName+"=")); ok {
			return parseMarker(string(value))
		}
	}
	return marker{}, false
}

func (p marked) handle() launch.Handle {
	return launch.Handle{
		PID: strconv.Itoa(p.pid), FlowRunID: p.mark.FlowRunID, ClaimID: p.mark.ClaimID,
		WorkerName: p.mark.WorkerName, StartedAt: p.started,
	}
}
