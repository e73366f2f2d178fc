//go:build load

package load

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"faber/internal/fake/fakeaws"
)

// engine is the container's part: it starts a while after its task, tells Prefect
// that the run runs and how it ended, and its task stops.
type engine struct {
	aws     *fakeaws.Server
	prefect states
	life    time.Duration // of a run
	crashes float64       // part of the runs that end with code 1 and tell nobody
	post    *post         // carries events; nil sends none

	mu      sync.Mutex
	crashed map[string]bool // runs that did so
}

// states is where a flow run's process tells how it is: a fake server or a real one.
type states interface {
	Become(run, stateType, name string) error
}

func (e *engine) play(ctx context.Context, task *fakeaws.Task) {
	run := task.FlowRunID()
	e.tell(task)
	for _, step := range []struct {
		status string
		after  time.Duration
	}{{"PENDING", 500 * time.Millisecond}, {"RUNNING", time.Duration(500+rand.IntN(1000)) * time.Millisecond}} {
		if !sleep(ctx, step.after) {
			return
		}
		e.set(task, step.status)
	}
	e.become(run, "RUNNING", "Running")
	if !sleep(ctx, e.life) {
		return
	}
	code := 0
	if rand.Float64() < e.crashes {
		code = 1
		e.mu.Lock()
		if e.crashed == nil {
			e.crashed = map[string]bool{}
		}
		e.crashed[run] = true
		e.mu.Unlock()
	} else {
		e.become(run, "COMPLETED", "Completed")
	}
	e.set(task, "DEPROVISIONING", fakeaws.Exit(code))
	if sleep(ctx, time.Second) {
		e.set(task, "STOPPED", fakeaws.Exit(code))
	}
}

func (e *engine) become(run, stateType, name string) {
	if err := e.prefect.Become(run, stateType, name); err != nil {
		panic(err) // a task of no run: the launcher made it up
	}
}

func (e *engine) set(task *fakeaws.Task, status string, changes ...fakeaws.Change) {
	task.Set(status, changes...)
	e.tell(task)
}

func (e *engine) tell(task *fakeaws.Task) {
	if e.post != nil {
		e.post.carry(fakeaws.Message(task.Event()))
	}
}

func (e *engine) didCrash(run string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.crashed[run]
}

// post carries events to the queue as badly as it is told to.
type post struct {
	aws                  *fakeaws.Server
	drop, double, belate float64 // parts of all events

	mu                            sync.Mutex
	dropped, doubled, belated, of int
}

func (p *post) carry(body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of++
	if rand.Float64() < p.drop {
		p.dropped++
		return
	}
	copies := 1
	if rand.Float64() < p.double {
		p.doubled++
		copies = 2
	}
	for range copies {
		if rand.Float64() < p.belate {
			p.belated++
			// Late enough to arrive after those that follow it.
			time.AfterFunc(time.Duration(5+rand.IntN(60))*time.Second, func() { p.aws.Send(queue, body) })
			continue
		}
		p.aws.Send(queue, body)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
