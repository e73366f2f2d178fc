package worker

import (
	"context"
	"sync"
	"time"

	"faber/internal/prefect"
)

const (
	// silentBeats and silentSlack say when a worker counts as gone: when the server
	// has not heard of it for so many of its intervals and a little more. The server
	// itself waits for three.
	silentBeats = 2
	silentSlack = 3 * time.Second
	// unknownInterval is the heartbeat of a worker that did not tell its own.
	unknownInterval = 30 * time.Second
)

// peers are the pool's other workers, as far as it matters whether they live. That
// a worker is silent is measured here, between two looks at its last heartbeat:
// so no two clocks are compared.
type peers struct {
	mu     sync.Mutex
	known  map[string]beat
	looked time.Time // when the server was asked last
}

// beat is the last heartbeat of a worker, and since when it is the last.
type beat struct {
	at       time.Time
	since    time.Time
	interval time.Duration
	online   bool
}

// note takes in what the server says now.
func (p *peers) note(workers []prefect.WorkerInfo, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := make(map[string]beat, len(workers))
	for _, w := range workers {
		b := beat{since: now, interval: unknownInterval, online: w.Status == "ONLINE"}
		if w.LastHeartbeat != nil {
			b.at = *w.LastHeartbeat
		}
		if w.HeartbeatInterval > 0 {
			b.interval = time.Duration(w.HeartbeatInterval * float64(time.Second))
		}
		if before, ok := p.known[w.Name]; ok && before.at.Equal(b.at) {
			b.since = before.since
		}
		known[w.Name] = b
	}
	p.known, p.looked = known, now
}

// silence is how long it takes, from the last look on, until the worker counts as gone
// if it stays silent: 0 for one that does already. Time in which nobody looked says
// nothing of it.
func (p *peers) silence(name string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.known[name]
	if !ok || !b.online {
		return 0
	}
	return max(0, b.since.Add(silentBeats*b.interval+silentSlack).Sub(p.looked))
}

// lookAtPeers reads which workers live.
func (w *Worker) lookAtPeers(ctx context.Context) error {
	workers, err := w.api.Workers(ctx, w.opts.Pool)
	if err == nil {
		w.peers.note(workers, time.Now())
	}
	return err
}
