package fakeaws

import "context"

// Play has f play the life of every task that is started from now on, in a
// goroutine of its own: it is the container's part, and sets the task by hand. Its
// context ends when the test does, which waits for all of them.
func (s *Server) Play(f func(ctx context.Context, task *Task)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.play = f
}

// begin has a new task played; s.mu is held.
func (s *Server) begin(task *Task) {
	if play := s.play; play != nil && s.playing.Err() == nil {
		s.players.Go(func() { play(s.playing, task) })
	}
}
