package cloudwatch

import (
	"context"
	"fmt"
	"time"

	"faber/internal/prefect"
)

// API is what is asked of Prefect. *prefect.Client satisfies it.
type API interface {
	ReadWorkPool(ctx context.Context, name string) (prefect.WorkPool, error)
	WorkQueues(ctx context.Context, pool string, names []string) ([]prefect.WorkQueue, error)
	Workers(ctx context.Context, pool string) ([]prefect.WorkerInfo, error)
	CountFlowRuns(ctx context.Context, filter map[string]any) (int, error)
	FilterFlowRuns(ctx context.Context, filter map[string]any) ([]prefect.FlowRun, error)
}

// Pool is a work pool as its API tells of it.
type Pool struct {
	// Backlog is how many flow runs are due and unclaimed, OldestDue how long ago the
	// first of them was due.
	Backlog   int
	OldestDue time.Duration
	Starting  int
	Running   int
}

// ReadPool reads what there is to do and what is being done: five calls at most,
// however many flow runs there are, seven if the pool has many queues.
//
// What no worker may take is no backlog: a pool that is paused has none, and neither
// have its paused queues. What waits for a concurrency limit is some, since nothing
// tells it from the rest.
func ReadPool(ctx context.Context, api API, name string, now time.Time) (Pool, error) {
	var p Pool
	pool, err := api.ReadWorkPool(ctx, name)
	if err != nil {
		return p, fmt.Errorf("read work pool %s: %w", name, err)
	}
	if !pool.IsPaused && pool.Status != "PAUSED" {
		if err := p.readBacklog(ctx, api, name, now); err != nil {
			return p, err
		}
	}
	for _, part := range []struct {
		count  *int
		states []prefect.StateType
	}{
		{&p.Starting, []prefect.StateType{prefect.StatePending}},
		{&p.Running, []prefect.StateType{prefect.StateRunning, prefect.StateCancelling}},
	} {
		if *part.count, err = api.CountFlowRuns(ctx, inPool(name, stateIs(part.states...))); err != nil {
			return p, fmt.Errorf("count flow runs: %w", err)
		}
	}
	return p, nil
}

func (p *Pool) readBacklog(ctx context.Context, api API, name string, now time.Time) error {
	queues, err := api.WorkQueues(ctx, name, nil)
	if err != nil {
		return fmt.Errorf("read work queues: %w", err)
	}
	// Due is what the server itself hands out: by the time that it is scheduled for
	// next, which for a retry is another one than at first.
	runs := stateIs(prefect.StateScheduled)
	runs["next_scheduled_start_time"] = map[string]any{"before_": now.UTC()}
	filter := inPool(name, runs)
	var open []string
	for _, queue := range queues {
		if !queue.IsPaused {
			open = append(open, queue.ID)
		}
	}
	if len(open) < len(queues) {
		filter["work_pool_queues"] = map[string]any{"id": map[string]any{"any_": append([]string{}, open...)}}
	}
	if p.Backlog, err = api.CountFlowRuns(ctx, filter); err != nil {
		return fmt.Errorf("count due flow runs: %w", err)
	}
	if p.Backlog == 0 {
		return nil
	}
	filter["sort"], filter["limit"] = "NEXT_SCHEDULED_START_TIME_ASC", 1
	oldest, err := api.FilterFlowRuns(ctx, filter)
	if err != nil {
		return fmt.Errorf("read the oldest due flow run: %w", err)
	}
	if len(oldest) > 0 && oldest[0].NextScheduledStart != nil {
		p.OldestDue = max(0, now.Sub(*oldest[0].NextScheduledStart))
	}
	return nil
}

func stateIs(types ...prefect.StateType) map[string]any {
	return map[string]any{"state": map[string]any{"type": map[string]any{"any_": types}}}
}

func inPool(name string, flowRuns map[string]any) map[string]any {
	return map[string]any{"flow_runs": flowRuns, "work_pools": map[string]any{"name": map[string]any{"any_": []string{name}}}}
}

// Data are the pool's metrics.
func (p *Pool) Data() []Datum {
	return []Datum{
		{Backlog, []float64{float64(p.Backlog)}},
		{OldestDueAge, []float64{p.OldestDue.Seconds()}},
		{StartingRuns, []float64{float64(p.Starting)}},
		{RunningRuns, []float64{float64(p.Running)}},
	}
}
