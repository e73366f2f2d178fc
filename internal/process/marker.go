package process

import (
	"strings"
	"time"

	"faber/internal/launch"
)

// markerName is the environment variable by which the processes of a launch are
// known, however they were started and whoever their parent is now.
const markerName = "FABER_LAUNCH"

// marker says which launch a process belongs to.
type marker struct {
	PoolID, FlowRunID, ClaimID, WorkerName string
}

func markerOf(job launch.Job) marker {
	return marker{job.Pool.ID, job.FlowRunID, job.ClaimID, job.WorkerName}
}

// String is the variable's value. The worker's name comes last: it alone may
// hold any character but a slash.
func (m marker) String() string {
	return strings.Join([]string{m.PoolID, m.FlowRunID, m.ClaimID, m.WorkerName}, "/")
}

func parseMarker(value string) (marker, bool) {
	part := strings.SplitN(value, "/", 4)
	if len(part) != 4 {
		return marker{}, false
	}
	return marker{part[0], part[1], part[2], part[3]}, true
}

// key names the launch itself, whichever worker made it.
func (m marker) key() string { return m.FlowRunID + "/" + m.ClaimID }

// marked is a live process that carries a marker.
type marked struct {
	pid     int
	started time.Time
	mark    marker
}

// endMarked ends every process of a launch: SIGTERM now, SIGKILL at the
// deadline, and returns when none is left. It looks again as long as there are
// some, since they may start others meanwhile.
func endMarked(m marker, deadline time.Time) {
	signalled := make(map[int]bool)
	kill := time.NewTimer(time.Until(deadline))
	defer kill.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left := scan(func(other marker) bool { return other.key() == m.key() })
		reap(signalled)
		if len(left) == 0 {
			return
		}
		for _, p := range left {
			if !signalled[p.pid] {
				signalled[p.pid] = true
				terminate(p.pid)
			}
		}
		select {
		case <-kill.C:
			killMarked(m)
			// What is left now is stuck in the kernel; waiting on would only
			// hold the run's end back.
			reap(signalled)
			return
		case <-tick.C:
		}
	}
}

func killMarked(m marker) {
	for _, p := range scan(func(other marker) bool { return other.key() == m.key() }) {
		killPID(p.pid)
	}
}
