package worker

import (
	"cmp"
	"context"
	"sync"

	"faber/internal/fair"
	"faber/internal/prefect"
)

// submits are the tokens of SubmitLimit: as many runs are between claim and
// launched infrastructure at once. Those that wait for one are not claimed yet, and
// a deployment with many does not hold up one with few.
type submits struct {
	mu     sync.Mutex
	limit  int
	taken  int
	places uint64
	line   fair.Line[chan struct{}]
}

// lineOf tells in whose name a run waits.
func lineOf(run prefect.FlowRun) fair.Who {
	return fair.Who{Queue: cmp.Or(run.WorkQueueID, run.WorkQueueName), Deployment: run.DeploymentID}
}

// take waits for a token. It reports false when ctx ends first.
func (s *submits) take(ctx context.Context, who fair.Who) bool {
	ready := make(chan struct{})
	s.mu.Lock()
	s.places++
	s.line.Join(who, s.places, ready)
	s.serveLocked()
	s.mu.Unlock()
	select {
	case <-ready:
		return true
	case <-ctx.Done():
	}
	s.mu.Lock()
	left := s.line.Leave(ready)
	s.mu.Unlock()
	if !left { // it came in the last moment
		s.giveBack()
	}
	return false
}

func (s *submits) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.serveLocked()
}

func (s *submits) serveLocked() {
	for s.taken < s.limit {
		ready, ok := s.line.Next()
		if !ok {
			return
		}
		s.taken++
		close(ready)
	}
}

func (s *submits) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}
