// Package fair is a line of those who wait for the same thing, in which nobody is
// held up by the many of another: work queues take turns, within a queue
// deployments do, and within a deployment the first comes first.
package fair

import "slices"

// Who tells in whose name somebody waits.
type Who struct{ Queue, Deployment string }

// Line is such a line. The zero value is empty. It is not safe for use by several
// goroutines at once.
type Line[T comparable] struct {
	queues []*queue[T]
	count  int
}

type queue[T comparable] struct {
	name        string
	deployments []*deployment[T]
}

type deployment[T comparable] struct {
	name    string
	waiting []entry[T]
}

type entry[T comparable] struct {
	place uint64
	item  T
}

// Len is how many wait.
func (l *Line[T]) Len() int { return l.count }

// Join puts an item behind those of the same queue and deployment whose place is
// not higher.
func (l *Line[T]) Join(who Who, place uint64, item T) {
	d := l.queue(who.Queue).deployment(who.Deployment)
	at := len(d.waiting)
	for at > 0 && d.waiting[at-1].place > place {
		at--
	}
	d.waiting = slices.Insert(d.waiting, at, entry[T]{place, item})
	l.count++
}

// Leave takes an item out, and reports whether it waited.
func (l *Line[T]) Leave(item T) bool {
	for _, q := range l.queues {
		for _, d := range q.deployments {
			at := slices.IndexFunc(d.waiting, func(e entry[T]) bool { return e.item == item })
			if at >= 0 {
				d.waiting = slices.Delete(d.waiting, at, at+1)
				l.count--
				return true
			}
		}
	}
	return false
}

// Next takes out the one whose turn it is; false when nobody waits. Its queue, and
// its deployment within that, come last from now on.
func (l *Line[T]) Next() (item T, ok bool) {
	for len(l.queues) > 0 {
		q := l.queues[0]
		item, ok = q.next()
		l.queues = rotate(l.queues, len(q.deployments) > 0)
		if ok {
			l.count--
			return item, true
		}
	}
	return item, false
}

func (q *queue[T]) next() (item T, ok bool) {
	for len(q.deployments) > 0 {
		d := q.deployments[0]
		if ok = len(d.waiting) > 0; ok {
			item, d.waiting = d.waiting[0].item, d.waiting[1:]
		}
		q.deployments = rotate(q.deployments, len(d.waiting) > 0)
		if ok {
			return item, true
		}
	}
	return item, false
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

func (l *Line[T]) queue(name string) *queue[T] {
	for _, q := range l.queues {
		if q.name == name {
			return q
		}
	}
	l.queues = append(l.queues, &queue[T]{name: name})
	return l.queues[len(l.queues)-1]
}

func (q *queue[T]) deployment(name string) *deployment[T] {
	for _, d := range q.deployments {
		if d.name == name {
			return d
		}
	}
	q.deployments = append(q.deployments, &deployment[T]{name: name})
	return q.deployments[len(q.deployments)-1]
}
