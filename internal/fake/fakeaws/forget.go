package fakeaws

import "slices"

// Forgetful has the server keep no calls and no deleted messages, and queues that are
// added from now on as well: it may then serve for ever. Tasks go by Forget.
func (s *Server) Forgetful() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetful, s.calls = true, nil
}

// Forget has AWS know the task no more, nor its client token and its log, as an hour
// after its end.
func (t *Task) Forget() {
	group, stream := "", ""
	for _, c := range t.containers() {
		if group, stream = t.LogOf(c); group != "" {
			break
		}
	}
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = slices.DeleteFunc(s.tasks, func(other *Task) bool { return other == t })
	for key, known := range s.tokens {
		if slices.Contains(known.tasks, t) {
			delete(s.tokens, key)
		}
	}
	delete(s.logs[group], stream)
}

// containers are the names of the task's containers.
func (t *Task) containers() (names []string) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	for _, c := range objects(t.detail["containers"]) {
		names = append(names, text(c, "name"))
	}
	return names
}
