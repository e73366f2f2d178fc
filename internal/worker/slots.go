package worker

import (
	"math"
	"sync"
)

// slots are the flow runs this worker is responsible for: each has one lease,
// from the moment it is picked up until its infrastructure has ended. Without a
// limit they still keep a run from being picked up twice.
type slots struct {
	mu      sync.Mutex
	limit   int // 0 is none
	held    map[string]*lease
	counted int // leases that count against the limit
	// missed says that work was left lying because all slots were taken.
	missed bool
	freed  func()
}

// lease is the right to work on one flow run.
type lease struct {
	slots     *slots
	flowRunID string
	counts    bool // against the limit
	claimed   bool // the run is this worker's; else it was only polled
	once      sync.Once
}

func newSlots(limit int) *slots {
	return &slots{limit: limit, held: make(map[string]*lease), freed: func() {}}
}

// free is how many more runs may be picked up.
func (s *slots) free() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.freeLocked()
}

func (s *slots) freeLocked() int {
	if s.limit <= 0 {
		return math.MaxInt
	}
	return max(0, s.limit-s.counted)
}

func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// claim notes that a run in work is this worker's from here on.
func (s *slots) claim(flowRunID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.held[flowRunID]; l != nil {
		l.claimed = true
	}
}

// claims reports whether a run in work was claimed here.
func (s *slots) claims(flowRunID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.held[flowRunID]
	return l != nil && l.claimed
}

func (s *slots) holds(flowRunID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[flowRunID] != nil
}

// acquire takes a lease on a run to be picked up. It gives nil when the run is
// in work already or no slot is free; full tells which.
func (s *slots) acquire(flowRunID string) (l *lease, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[flowRunID] != nil {
		return nil, false
	}
	if s.freeLocked() == 0 {
		s.missed = true
		return nil, true
	}
	return s.leaseLocked(flowRunID), false
}

// adopt takes a lease on a run whose infrastructure exists already, limit or
// not: it runs all the same, and must count. Nil when it is in work already.
func (s *slots) adopt(flowRunID string) *lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[flowRunID] != nil {
		return nil
	}
	return s.leaseLocked(flowRunID)
}

func (s *slots) leaseLocked(flowRunID string) *lease {
	l := &lease{slots: s, flowRunID: flowRunID, counts: true}
	s.held[flowRunID] = l
	s.counted++
	return l
}

// leftWork notes that there was work and no slot for it: the next slot to become
// free, or one that is free again by now, is worth a poll at once.
func (s *slots) leftWork() {
	s.mu.Lock()
	s.missed = true
	tell := s.freeLocked() > 0 && s.tellLocked()
	s.mu.Unlock()
	if tell {
		s.freed()
	}
}

// uncount frees the slot and keeps the lease: the run is still this worker's, and
// is not picked up again.
func (l *lease) uncount() {
	s := l.slots
	s.mu.Lock()
	s.uncountLocked(l)
	tell := s.tellLocked()
	s.mu.Unlock()
	if tell {
		s.freed()
	}
}

func (s *slots) uncountLocked(l *lease) {
	if l.counts {
		l.counts = false
		s.counted--
	}
}

// tellLocked reports, once, whether somebody waits for a slot.
func (s *slots) tellLocked() bool {
	tell := s.missed
	s.missed = false
	return tell
}

// release gives the lease back. Only the first call does.
func (l *lease) release() {
	l.once.Do(func() {
		s := l.slots
		s.mu.Lock()
		delete(s.held, l.flowRunID)
		s.uncountLocked(l)
		tell := s.tellLocked()
		s.mu.Unlock()
		if tell {
			s.freed()
		}
	})
}
