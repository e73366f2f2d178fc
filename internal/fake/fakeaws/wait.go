package fakeaws

import (
	"testing"
	"time"
)

// Wait waits until so returns true, asking whenever something has happened to
// the server, and fails the test when it takes too long. so may use the server.
func (s *Server) Wait(t testing.TB, within time.Duration, what string, so func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if so() {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Fatalf("fakeaws: after %s not so: %s; calls were %v", within, what, s.Ops())
		}
	}
}

// WaitCalls waits until an operation was called n times, and returns its calls.
func (s *Server) WaitCalls(t testing.TB, within time.Duration, n int, op string) []Call {
	t.Helper()
	s.Wait(t, within, op+" is called", func() bool { return len(s.Calls(op)) >= n })
	return s.Calls(op)
}

// WaitTasks waits until n tasks were started, and returns all.
func (s *Server) WaitTasks(t testing.TB, within time.Duration, n int) []*Task {
	t.Helper()
	s.Wait(t, within, "tasks are started", func() bool { return len(s.Tasks()) >= n })
	return s.Tasks()
}

// WaitDeleted waits until n messages were deleted from a queue, and returns
// their bodies.
func (s *Server) WaitDeleted(t testing.TB, within time.Duration, n int, queue string) []string {
	t.Helper()
	s.Wait(t, within, "messages are deleted from "+queue, func() bool { return len(s.Deleted(queue)) >= n })
	return s.Deleted(queue)
}

// Changed is closed when something happens to the server.
func (s *Server) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}
