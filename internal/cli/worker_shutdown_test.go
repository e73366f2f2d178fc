//go:build linux

package cli

import (
	"syscall"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

// shutdownLimit is what is left of a container's stop timeout of 30 s, so that the
// worker goes by itself.
const shutdownLimit = 25 * time.Second

// TestShutdownWithEveryAPIDown: from one moment on no API answers any more, though
// all accept connections. A worker with a run in every stage is told to end.
func TestShutdownWithEveryAPIDown(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"ecs", "process"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			variables := `{}`
			if kind == "process" {
				variables = `{"command": "sh -c 'trap \"\" TERM; while :; do sleep 0.2; done'"}` // deaf
			}
			s := newStage(t, kind, variables)
			s.aws.AddQueue("events")
			s.aws.Script("", fakeaws.Script{Hold: true})
			port := freePort(t)
			worker := startProgram(t, s.env(t, "PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1", "PREFECT_WORKER_WEBSERVER_PORT="+port, "PREFECT_WORKER_QUERY_SECONDS=1"),
				"worker start -p p -n w --with-healthcheck --events-queue events -t "+kind, "Worker 'w' started!")
			tracked := s.run()
			soon(t, "a run is tracked", func() bool { r, _ := s.prefect.Run(tracked); return r.InfrastructurePID != nil })
			if err := s.prefect.Become(tracked, "RUNNING", "Running"); err != nil {
				t.Fatal(err)
			}
			s.aws.Fail("RunTask", fakeaws.Fault{Delay: time.Hour, Times: -1})
			launching := s.run()
			if kind == "ecs" {
				soon(t, "a launch is under way", func() bool { return len(s.aws.Calls("RunTask")) == 2 })
			} else {
				soon(t, "another is tracked", func() bool { r, _ := s.prefect.Run(launching); return r.InfrastructurePID != nil })
			}
			s.run() // claimed or not, as it comes
			s.toPrefect.closed.Store(true)
			s.toAWS.closed.Store(true)
			soon(t, "the worker has noticed", func() bool { code, _, _ := ask(t, port, "/readyz"); return code == 503 })

			begin := time.Now()
			if err := worker.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- worker.cmd.Wait() }()
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(2 * shutdownLimit):
				t.Fatalf("it does not end: %s", worker.talk)
			}
			took := time.Since(begin)
			if took > shutdownLimit {
				t.Errorf("it took %s", took)
			}
			for _, id := range []string{tracked, launching} {
				if left := flowProcesses(t, id); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}
			t.Logf("%s: %s", kind, took)
			if t.Failed() {
				t.Log(worker.talk)
			}
		})
	}
}
