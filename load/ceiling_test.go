//go:build load

package load

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	ceilingRuns = 120 // at most, per measurement
	ceilingTime = 15 * time.Second
	// As the worker's: flow runs between claim and launch, and connections.
	ceilingHands, ceilingConnections = 64, 16
)

// ceiling is what the server alone takes: how many runs a second can be brought
// through the calls that one run costs, by as many hands as a worker has, which do
// nothing else.
type ceiling struct {
	runs int
	took time.Duration
}

func (c ceiling) rate() float64 { return float64(c.runs) / c.took.Seconds() }

// ceiling measures with runs of a pool that no worker serves.
func (b *realBurst) ceiling(name string) ceiling {
	b.t.Helper()
	idle := b.makePool("ceiling-" + name)
	ids := b.makeRuns(idle, ceilingRuns, time.Now())
	hands := newAPI(b.t, b.passage.url, "ceiling", ceilingConnections)
	ctx, stop := context.WithCancel(b.t.Context())
	defer stop()
	var next, done atomic.Int64
	var working sync.WaitGroup
	began := time.Now()
	for range ceilingHands {
		working.Go(func() {
			for time.Since(began) < ceilingTime {
				i := int(next.Add(1)) - 1
				if i >= len(ids) {
					return
				}
				if err := oneRun(ctx, hands, b.flow, idle[i%len(idle)], ids[i]); err != nil {
					b.t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	working.Wait()
	return ceiling{int(done.Load()), time.Since(began)}
}

// oneRun makes the calls that a run costs which is claimed, launched and seen to
// its end: the worker's, and those of the run's own process.
func oneRun(ctx context.Context, a *api, flow, deployment, run string) error {
	steps := []func() error{
		func() error { return a.call(ctx, http.MethodGet, "/deployments/"+deployment, nil, nil) },
		func() error { return a.call(ctx, http.MethodGet, "/flow_runs/"+run, nil, nil) },
		become(ctx, a, run, object{"type": "PENDING", "name": "Pending"}),
		func() error { return a.call(ctx, http.MethodGet, "/flows/"+flow, nil, nil) },
		func() error {
			return a.call(ctx, http.MethodPatch, "/flow_runs/"+run+"/labels", object{"prefect.worker.name": "ceiling"}, nil)
		},
		become(ctx, a, run, object{"type": "PENDING", "name": "Submitting"}),
		func() error {
			return a.call(ctx, http.MethodPatch, "/flow_runs/"+run, object{"infrastructure_pid": "ceiling::" + run}, nil)
		},
		func() error { return a.call(ctx, http.MethodGet, "/flow_runs/"+run, nil, nil) },
		become(ctx, a, run, object{"type": "RUNNING", "name": "Running"}),
		become(ctx, a, run, object{"type": "COMPLETED", "name": "Completed"}),
		func() error { return a.call(ctx, http.MethodGet, "/flow_runs/"+run, nil, nil) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("the server alone: %w", err)
		}
	}
	return nil
}

func become(ctx context.Context, a *api, run string, state object) func() error {
	return func() error {
		accepted, err := a.propose(ctx, run, state)
		if err == nil && !accepted {
			err = fmt.Errorf("run %s may not become %s", run, state["name"])
		}
		return err
	}
}
