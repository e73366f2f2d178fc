package ecs

import (
	"context"
	"errors"
	"time"

	"faber/internal/fair"
)

// waitingLine are callers that wait for a turn. One that gives up and comes back
// finds its place again.
type waitingLine struct {
	fair.Line[*waiter]

	places uint64               // given so far
	kept   map[string]keptPlace // by ticket
}

type waiter struct {
	caller

	place uint64
	ready chan struct{} // closed when turn is set
	turn  permit
}

type keptPlace struct {
	number uint64
	at     time.Time
}

const (
	// placesKept bounds how many places are remembered before those are looked
	// through that are kept for longer than keepFor.
	placesKept = 1024
	keepFor    = 5 * time.Minute
)

// errGaveUp says that a caller waits no longer.
var errGaveUp = errors.New("waited long enough")

// wait waits for the turn, or until the caller gives up. A turn that is there goes
// before all else.
func (w *waiter) wait(ctx context.Context) error {
	var gaveUp <-chan time.Time
	if !w.until.IsZero() {
		timer := time.NewTimer(time.Until(w.until))
		defer timer.Stop()
		gaveUp = timer.C
	}
	select {
	case <-w.ready:
		return nil
	default:
	}
	select {
	case <-w.ready:
		return nil
	case <-gaveUp:
		return errGaveUp
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join puts a caller at the end of its line, or where it stood before.
func (l *waitingLine) join(c caller) *waiter {
	w := &waiter{caller: c, ready: make(chan struct{})}
	if before, ok := l.kept[c.ticket]; ok {
		w.place = before.number
		delete(l.kept, c.ticket)
	} else {
		l.places++
		w.place = l.places
	}
	l.Join(c.who, w.place, w)
	return w
}

// leave takes a waiter out and keeps its place.
func (l *waitingLine) leave(w *waiter) {
	if l.Leave(w) {
		l.keepPlace(w.caller, w.place)
	}
}

// keepPlace remembers where a caller stood that may come back.
func (l *waitingLine) keepPlace(c caller, number uint64) {
	if c.ticket == "" {
		return
	}
	if l.kept == nil {
		l.kept = map[string]keptPlace{}
	}
	now := time.Now()
	if len(l.kept) >= placesKept {
		for ticket, p := range l.kept {
			if now.Sub(p.at) > keepFor {
				delete(l.kept, ticket)
			}
		}
	}
	l.kept[c.ticket] = keptPlace{number, now}
}
