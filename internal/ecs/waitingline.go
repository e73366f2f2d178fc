package ecs

import (
	"context"
	"errors"
	"slices"
	"time"
)

// waitingLine are callers that wait for a turn. Work queues take turns, within a
// queue deployments do, and within a deployment the first comes first: five
// hundred runs of one do not hold up the single run of another.
type waitingLine struct {
	queues []*queueLine
	count  int
	places uint64               // given so far
	kept   map[string]keptPlace // by ticket, of callers that may come back
}

type queueLine struct {
	name        string
	deployments []*deploymentLine
}

type deploymentLine struct {
	name    string
	waiters []*waiter // by place
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

// wait waits for the turn, or until the caller gives up.
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

func (l *waitingLine) waiting() int { return l.count }

// join puts a caller at the end of its line, or where it stood before.
func (l *waitingLine) join(c caller) *waiter {
	w := &waiter{caller: c, ready: make(chan struct{})}
	if before, ok := l.kept[c.ticket]; ok && c.ticket != "" {
		w.place = before.number
		delete(l.kept, c.ticket)
	} else {
		l.places++
		w.place = l.places
	}
	d := l.queue(c.queue).deployment(c.deployment)
	at := len(d.waiters)
	for at > 0 && d.waiters[at-1].place > w.place {
		at--
	}
	d.waiters = slices.Insert(d.waiters, at, w)
	l.count++
	return w
}

// leave takes a waiter out and keeps its place.
func (l *waitingLine) leave(w *waiter) {
	for _, q := range l.queues {
		for _, d := range q.deployments {
			if at := slices.Index(d.waiters, w); at >= 0 {
				d.waiters = slices.Delete(d.waiters, at, at+1)
				l.count--
				l.keepPlace(w.caller, w.place)
				return
			}
		}
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

// next is whose turn it is; nil when nobody waits. Its queue, and its deployment
// within that, come last from now on.
func (l *waitingLine) next() *waiter {
	for len(l.queues) > 0 {
		q := l.queues[0]
		w := q.next()
		l.queues = rotate(l.queues, len(q.deployments) > 0)
		if w != nil {
			l.count--
			return w
		}
	}
	return nil
}

func (q *queueLine) next() *waiter {
	for len(q.deployments) > 0 {
		d := q.deployments[0]
		var w *waiter
		if len(d.waiters) > 0 {
			w, d.waiters = d.waiters[0], d.waiters[1:]
		}
		q.deployments = rotate(q.deployments, len(d.waiters) > 0)
		if w != nil {
			return w
		}
	}
	return nil
}

// rotate puts the first one last, or drops it.
func rotate[T any](list []T, again bool) []T {
	first := list[0]
	list = slices.Delete(list, 0, 1)
	if again {
		list = append(list, first)
	}
	return list
}

func (l *waitingLine) queue(name string) *queueLine {
	for _, q := range l.queues {
		if q.name == name {
			return q
		}
	}
	l.queues = append(l.queues, &queueLine{name: name})
	return l.queues[len(l.queues)-1]
}

func (q *queueLine) deployment(name string) *deploymentLine {
	for _, d := range q.deployments {
		if d.name == name {
			return d
		}
	}
	q.deployments = append(q.deployments, &deploymentLine{name: name})
	return q.deployments[len(q.deployments)-1]
}
