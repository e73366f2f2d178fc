package worker

import "sync"

// tasks counts goroutines that must end before the worker does. Unlike a
// sync.WaitGroup it may be waited for while more are being started, which is
// what a shutdown with a time limit does.
type tasks struct {
	// survived is deferred by each; nil lets a panic end the program.
	survived func(recovered any)

	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n comes to zero; nil until somebody waits
}

// Go runs f in a goroutine of its own.
func (t *tasks) Go(f func()) {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
	go func() {
		defer t.done()
		if t.survived != nil {
			defer func() { t.survived(recover()) }()
		}
		f()
	}()
}

func (t *tasks) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.n == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// Wait returns when none is running.
func (t *tasks) Wait() {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	<-idle
}
