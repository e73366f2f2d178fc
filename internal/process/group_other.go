//go:build unix && !linux

package process

import (
	"strconv"
	"syscall"

	"faber/internal/launch"
)

// ownGroup gives a child its own session. Only Linux can tell a child that the
// worker died, and only there can marked processes be found: elsewhere a launch
// is its process group.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func signalGroup(pid int, sig syscall.Signal) { _ = syscall.Kill(-pid, sig) } // gone already is fine

func terminate(pid int) { _ = syscall.Kill(pid, syscall.SIGTERM) }

func killPID(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

func reap(map[int]bool) {}

func scan(func(marker) bool) []marked { return nil }

func survivors(string) []marked { return nil }

func (p marked) handle() launch.Handle {
	return launch.Handle{
		PID: strconv.Itoa(p.pid), FlowRunID: p.mark.FlowRunID, ClaimID: p.mark.ClaimID,
		WorkerName: p.mark.WorkerName, StartedAt: p.started,
	}
}
