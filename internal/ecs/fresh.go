package ecs

import (
	"sync"
	"time"

	"faber/internal/launch"
)

var _ launch.Freshness = (*Launcher)(nil)

// freshness is how well the event queue is read.
type freshness struct {
	mu      sync.Mutex
	last    time.Time // end of the last receive that succeeded, with messages or without
	err     error     // of the round since, if it failed
	missing bool      // there is no queue
}

func (f *freshness) received() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.err, f.missing = time.Now(), nil, false
}

func (f *freshness) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.missing = err, isMissingQueue(err)
}

// HintsFresh tells how well the event queue is read. One that nobody asked for and
// that does not exist is not missed.
func (l *Launcher) HintsFresh() (last time.Time, every time.Duration, err error) {
	l.fresh.mu.Lock()
	defer l.fresh.mu.Unlock()
	if l.options.Queue == "" || l.fresh.missing && l.options.QueueOptional {
		return time.Time{}, 0, nil
	}
	return l.fresh.last, receiveWait, l.fresh.err
}
