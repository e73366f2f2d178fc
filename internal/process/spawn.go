package process

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawner starts commands on one thread that lives as long as the launcher.
//
// On Linux children ask the kernel to signal them when their parent dies, so
// that a worker that was killed leaves no flow run behind unnoticed. The kernel
// means the thread that forked, not the process: started from any goroutine, a
// child would be signalled when the Go runtime retires that thread. A thread
// that is locked to one goroutine which only ends with the launcher cannot be
// retired before.
type spawner struct {
	once     sync.Once
	requests chan spawnRequest
}

type spawnRequest struct {
	cmd   *exec.Cmd
	reply chan error
}

func (s *spawner) start(cmd *exec.Cmd) error {
	s.once.Do(func() {
		s.requests = make(chan spawnRequest)
		go s.serve(s.requests)
	})
	reply := make(chan error, 1)
	s.requests <- spawnRequest{cmd, reply}
	return <-reply
}

func (s *spawner) serve(requests <-chan spawnRequest) {
	// Never unlocked: the thread ends together with the goroutine.
	runtime.LockOSThread()
	for r := range requests {
		r.reply <- r.cmd.Start()
	}
}

// close ends the thread. No command may be started afterwards, and none may
// still run.
func (s *spawner) close() {
	s.once.Do(func() {})
	if s.requests != nil {
		close(s.requests)
	}
}
