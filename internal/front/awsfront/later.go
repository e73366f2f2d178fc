package awsfront

import (
	"context"
	"sync"
	"time"
)

// future is what is to happen later, unless the front is closed by then.
type future struct {
	life context.Context // ends with the front
	end  context.CancelFunc

	mu      sync.Mutex
	closed  bool
	pending sync.WaitGroup
}

func newFuture() *future {
	life, end := context.WithCancel(context.Background())
	return &future{life: life, end: end}
}

// later calls do after a while.
func (f *future) later(d time.Duration, do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.pending.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			do()
		case <-f.life.Done():
		}
	})
}

// close forgets what was to come and waits for what is under way.
func (f *future) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end()
	f.pending.Wait()
}
