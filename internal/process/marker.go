package process

import (
	"strconv"
	"strings"
	"syscall"
	"time"

	"faber/internal/launch"
)

// markerName is the environment variable by which the processes of a launch are
// known, however they were started and whoever their parent is now.
const markerName = "FABER_LAUNCH"

// marker says which launch a process belongs to.
type marker struct {
	PoolID, FlowRunID, ClaimID string
	Output                     outputMark
	WorkerName                 string
}

func markerOf(job launch.Job) marker {
	return marker{PoolID: job.Pool.ID, FlowRunID: job.FlowRunID, ClaimID: job.ClaimID, WorkerName: job.WorkerName}
}

// String is the variable's value. The worker's name comes last: it alone may
// hold any character but a slash.
func (m marker) String() string {
	return strings.Join([]string{m.PoolID, m.FlowRunID, m.ClaimID, string(m.Output), m.WorkerName}, "/")
}

func parseMarker(value string) (marker, bool) {
	part := strings.SplitN(value, "/", 5)
	if len(part) != 5 {
		return marker{}, false
	}
	return marker{part[0], part[1], part[2], outputMark(part[3]), part[4]}, true
}

// outputMark tells a later worker which pipe the launch writes to, and whether that
// is for the console: "pipe:[4711]", or "quiet pipe:[4711]"; "" when it cannot know.
type outputMark string

const quiet = "quiet "

func (o outputMark) pipe() string { return strings.TrimPrefix(string(o), quiet) }

func (o outputMark) streamed() bool { return o != "" && !strings.HasPrefix(string(o), quiet) }

// key names the launch itself, whichever worker made it.
func (m marker) key() string { return m.FlowRunID + "/" + m.ClaimID }

// marked is a live process that carries a marker.
type marked struct {
	pid     int
	ticks   uint64 // when it started, on the kernel's own clock: with the id it is unique until the next boot
	started time.Time
	mark    marker
}

func (p marked) handle() launch.Handle {
	return launch.Handle{
		PID: strconv.Itoa(p.pid), FlowRunID: p.mark.FlowRunID, ClaimID: p.mark.ClaimID,
		WorkerName: p.mark.WorkerName, StartedAt: p.started,
	}
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
				signalMarked(p, syscall.SIGTERM)
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
		signalMarked(p, syscall.SIGKILL)
	}
}
