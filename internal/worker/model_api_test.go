package worker

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"faber/internal/prefect"
)

// modelAPI is the server as one life of a worker reaches it.
type modelAPI struct{ *modelWorker }

func (a *modelAPI) ReadWorkPool(ctx context.Context, _ string) (pool prefect.WorkPool, err error) {
	err = a.call(ctx, modelCall{op: "ReadWorkPool"}, func() error {
		pool = a.world.server.pool
		return nil
	})
	return pool, err
}

func (a *modelAPI) CreateWorkPool(context.Context, string, string, json.RawMessage) (prefect.WorkPool, error) {
	panic("the pool exists")
}

func (a *modelAPI) SetBaseJobTemplate(context.Context, string, json.RawMessage) error {
	panic("the pool has a template")
}

func (a *modelAPI) Workers(ctx context.Context, _ string) (workers []prefect.WorkerInfo, err error) {
	err = a.call(ctx, modelCall{op: "Workers"}, func() error {
		workers = a.world.server.workers()
		return nil
	})
	return workers, err
}

func (a *modelAPI) Heartbeat(ctx context.Context, _, worker string, interval time.Duration, _ []prefect.Integration) error {
	return a.call(ctx, modelCall{op: "Heartbeat"}, func() error {
		a.world.server.beat(worker, interval)
		return nil
	})
}

func (a *modelAPI) GetScheduledFlowRuns(ctx context.Context, _ string, _ []string, before time.Time, limit int) (due []prefect.FlowRun, err error) {
	err = a.call(ctx, modelCall{op: "GetScheduledFlowRuns"}, func() error {
		due = a.world.server.scheduled(before, limit)
		a.lastPoll = time.Now()
		for _, run := range due {
			a.reads[run.ID] = modelRead{effect: time.Now()}
		}
		return nil
	})
	for _, run := range due {
		a.learnt(run.ID)
	}
	return due, err
}

func (a *modelAPI) FilterFlowRuns(ctx context.Context, filter map[string]any) (page []prefect.FlowRun, err error) {
	err = a.call(ctx, modelCall{op: "FilterFlowRuns"}, func() (err error) {
		page, err = a.world.server.filter(filter)
		return err
	})
	return page, err
}

// about makes a call about one run, which may not exist any more.
func (a *modelAPI) about(ctx context.Context, op, id string, effect func(r *modelRun)) error {
	return a.call(ctx, modelCall{op: op, run: id}, func() error {
		r := a.world.server.runs[id]
		if r == nil || r.deleted {
			return errModelGone
		}
		effect(r)
		return nil
	})
}

func (a *modelAPI) ReadFlowRun(ctx context.Context, id string) (run prefect.FlowRun, err error) {
	err = a.about(ctx, "ReadFlowRun", id, func(r *modelRun) {
		run = r.read()
		a.reads[id] = modelRead{effect: time.Now()}
	})
	a.learnt(id)
	return run, err
}

func (a *modelAPI) FlowRunStates(ctx context.Context, id string) (states []prefect.State, err error) {
	err = a.call(ctx, modelCall{op: "FlowRunStates", run: id}, func() error {
		if r := a.world.server.runs[id]; r != nil && !r.deleted {
			states = slices.Clone(r.states)
			a.reads[id] = modelRead{effect: time.Now()}
		}
		return nil
	})
	a.learnt(id)
	return states, err
}

func (a *modelAPI) SetFlowRunState(ctx context.Context, id string, s prefect.State, force bool) (result prefect.OrchestrationResult, err error) {
	sent := time.Now()
	err = a.about(ctx, "SetFlowRunState/"+s.Name, id, func(r *modelRun) {
		a.world.checkProposal(a.modelWorker, r, s, sent, force)
		result = a.world.server.propose(r, s, force, a.name)
		state := *result.State // the caller's own
		result.State = &state
		if result.Status == prefect.StatusReject && state.Details.TransitionID == s.Details.TransitionID && state.Type == s.Type {
			result.Status = prefect.StatusAccept // as the client says it
		}
		if _, claims := claimant(s.Message); claims && result.Status == prefect.StatusAccept {
			r.ours, r.foreign = true, false
		}
	})
	return result, err
}

func (a *modelAPI) SetInfrastructurePID(ctx context.Context, id string, pid *string) error {
	return a.about(ctx, "SetInfrastructurePID", id, func(r *modelRun) {
		r.InfrastructurePID = ""
		if pid != nil {
			r.InfrastructurePID = *pid
		}
		a.world.note("%s: pid %q by %s", short(id), r.InfrastructurePID, a.name)
	})
}

func (a *modelAPI) SetLabels(ctx context.Context, id string, labels map[string]string) error {
	return a.about(ctx, "SetLabels", id, func(r *modelRun) {
		a.world.checkOwner(a.modelWorker, r)
		for name, value := range labels {
			r.labels[name] = value
		}
	})
}

func (a *modelAPI) AllowReschedule(ctx context.Context, run prefect.FlowRun) error {
	return a.about(ctx, "AllowReschedule", run.ID, func(r *modelRun) {
		r.retryType = "reschedule"
		a.world.note("%s: may be rescheduled, by %s", short(run.ID), a.name)
	})
}

// learnt notes that the worker has the answer about a run.
func (a *modelAPI) learnt(id string) {
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	read := a.reads[id]
	read.answer = time.Now()
	a.reads[id] = read
}

func (a *modelAPI) ReadFlow(ctx context.Context, id string) (flow prefect.Flow, err error) {
	err = a.call(ctx, modelCall{op: "ReadFlow"}, func() error {
		flow = prefect.Flow{ID: id, Name: "the flow", Raw: map[string]any{"name": "the flow"}}
		return nil
	})
	return flow, err
}

func (a *modelAPI) ReadDeployment(ctx context.Context, id string) (d prefect.Deployment, err error) {
	err = a.call(ctx, modelCall{op: "ReadDeployment"}, func() error {
		for _, known := range a.world.server.deployed {
			if known.id == id && !known.deleted {
				d = prefect.Deployment{ID: id, Name: id, JobVariables: rawJSON(known.vars)}
				d.Concurrency.GracePeriod = known.grace.Seconds()
				return nil
			}
		}
		return errModelGone
	})
	return d, err
}

func (a *modelAPI) BlockDocument(context.Context, string) (map[string]any, error) {
	return nil, errModelGone
}

func (a *modelAPI) BlockDocumentByName(context.Context, string, string) (map[string]any, error) {
	return nil, errModelGone
}

func (a *modelAPI) Variable(context.Context, string) (any, error) { return nil, errModelGone }

// RenewConcurrencyLease renews what has not expired.
func (a *modelAPI) RenewConcurrencyLease(ctx context.Context, id string, d time.Duration) error {
	return a.call(ctx, modelCall{op: "RenewConcurrencyLease"}, func() error {
		s := a.world.server
		s.reap()
		lease := s.leases[id]
		if lease == nil {
			return &prefect.StatusError{Method: "POST", Path: "/", Code: 410}
		}
		lease.expires = time.Now().Add(d)
		return nil
	})
}

func (a *modelAPI) Subscribe(ctx context.Context, _ prefect.EventFilter, fn func(prefect.Event)) error {
	a.world.mu.Lock()
	a.subscriber = fn
	a.world.mu.Unlock()
	<-ctx.Done()
	return nil
}

// tell sends the event of a state to the workers that listen. The caller holds mu.
func (w *modelWorld) tell(r *modelRun, state prefect.State) {
	switch state.Name {
	case "Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot", "Resuming", "Cancelling":
	default:
		return
	}
	event := prefect.Event{
		ID: state.ID, Event: "prefect.flow-run." + state.Name,
		Resource: prefect.Resource{"prefect.resource.id": "prefect.flow-run." + r.ID},
	}
	for _, i := range w.incarnations {
		if i.dead || i.subscriber == nil || time.Now().Before(w.deaf) {
			continue
		}
		fn, delay := i.subscriber, time.Duration(2+w.rng.IntN(60))*time.Millisecond
		w.living.Go(func() {
			if i.pass(w.over, delay) {
				fn(event)
			}
		})
	}
}
