package ecs

import (
	"context"
	"maps"
	"sync"
)

// keyedLock lets one caller at a time work on each key; the others wait for as
// long as their context lasts.
type keyedLock struct {
	mu   sync.Mutex
	held map[string]*turn
}

type turn struct {
	free    chan struct{} // holds one token while nobody works
	callers int
}

// lock waits for the key's turn and returns how to give it back.
func (k *keyedLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*turn{}
	}
	t := k.held[key]
	if t == nil {
		t = &turn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		k.held[key] = t
	}
	t.callers++
	k.mu.Unlock()

	select {
	case <-t.free:
		return func() { t.free <- struct{}{}; k.leave(key, t) }, nil
	case <-ctx.Done():
		k.leave(key, t)
		return nil, ctx.Err()
	}
}

func (k *keyedLock) leave(key string, t *turn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.callers--; t.callers == 0 {
		delete(k.held, key)
	}
}

// onceSet remembers what was met before. It forgets everything when it grows
// large: saying something twice is better than growing for ever.
type onceSet struct {
	mu   sync.Mutex
	seen map[string]bool
}

const maxOnce = 10_000

func (s *onceSet) first(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[key] {
		return false
	}
	if s.seen == nil || len(s.seen) >= maxOnce {
		s.seen = map[string]bool{}
	}
	s.seen[key] = true
	return true
}

// has reports whether the key was met.
func (s *onceSet) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[key]
}

// forget lets the key be met for the first time again.
func (s *onceSet) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, key)
}

// tally counts how many use something at the moment.
type tally struct {
	mu sync.Mutex
	of map[string]int
}

// use counts one more until done is called.
func (t *tally) use(key string) (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]int{}
	}
	t.of[key]++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.of[key]--; t.of[key] == 0 {
			delete(t.of, key)
		}
	}
}

// has reports whether anybody uses the key.
func (t *tally) has(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of[key] > 0
}

// cache is a small map that forgets its oldest entries.
type cache[V any] struct {
	mu    sync.Mutex
	limit int
	items map[string]V
	order []string
}

func (c *cache[V]) get(key string) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	value, ok := c.items[key]
	return value, ok
}

func (c *cache[V]) put(key string, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items == nil {
		c.items = map[string]V{}
	}
	if _, known := c.items[key]; !known {
		if len(c.order) >= c.limit {
			delete(c.items, c.order[0])
			c.order = c.order[1:]
		}
		c.order = append(c.order, key)
	}
	c.items[key] = value
}

// forget removes the entries that match.
func (c *cache[V]) forget(match func(key string, value V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.order[:0]
	for _, key := range c.order {
		if match(key, c.items[key]) {
			delete(c.items, key)
		} else {
			kept = append(kept, key)
		}
	}
	c.order = kept
}

// all copies what is remembered.
func (c *cache[V]) all() map[string]V {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.items)
}
