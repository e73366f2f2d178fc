package worker

import (
	"sync"
	"time"
)

const (
	// sightingGap is what must lie between two sightings that count as two.
	sightingGap = 10 * time.Second
	// sightingLife is after how long without being seen a thing is forgotten.
	sightingLife = 10 * time.Minute
)

// sightings remembers what was seen before. Nothing is ended or given up for what
// was seen once: the next look may find it otherwise.
type sightings struct {
	mu   sync.Mutex
	seen map[string]sighting
}

type sighting struct{ first, last time.Time }

// seenFor notes a sighting and returns how long ago the first one of them was.
func (s *sightings) seenFor(key string, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, seen := range s.seen {
		if now.Sub(seen.last) > sightingLife {
			delete(s.seen, other)
		}
	}
	if s.seen == nil {
		s.seen = make(map[string]sighting)
	}
	seen, known := s.seen[key]
	if !known {
		seen.first = now
	}
	seen.last = now
	s.seen[key] = seen
	return now.Sub(seen.first)
}

// twice notes a sighting and reports whether it is at least the second.
func (s *sightings) twice(key string, now time.Time) bool { return s.seenFor(key, now) >= sightingGap }

// forget is for what was seen to be otherwise.
func (s *sightings) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, key)
}
