package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// replicasKept bounds what is remembered of events that were passed on.
const replicasKept = 1000

// replicas remembers the events of infrastructure that were passed on: the last of
// each resource, for the next one to follow, and all ids, so that a source that
// delivers twice is heard once. Where more is forgotten than that, the server knows
// an event by its id, and a missing link is a missing link.
type replicas struct {
	mu   sync.Mutex
	seen recent[string, bool]
	last recent[string, prefect.Event] // by resource
}

// note takes in an event and returns the one that it follows. It reports false for
// an event that was passed on already.
func (r *replicas) note(e prefect.Event) (follows prefect.Event, isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if doubled, _ := r.seen.get(e.ID); doubled {
		return prefect.Event{}, false
	}
	r.seen.put(e.ID, true)
	resource := e.Resource["prefect.resource.id"]
	last, _ := r.last.get(resource)
	if e.Occurred.Before(last.Occurred) {
		return prefect.Event{}, true // late: it follows nothing that is known here
	}
	r.last.put(resource, e)
	return last, true
}

// knows reports whether an event was passed on from here.
func (r *replicas) knows(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, _ := r.seen.get(id)
	return known
}

// replicate passes on the events that the infrastructure told with its hints, of
// any worker's runs: there is one queue for them all, and each message in it is
// read once.
func (w *Worker) replicate(work context.Context, hints []launch.Hint) {
	pending := make(map[string][]string) // messages by flow run, in their order
	past := make(map[string]bool)        // flow runs whose infrastructure is past that
	for _, hint := range hints {
		if hint.Event == nil {
			continue
		}
		w.emitReplica(hint.Event)
		switch id := hint.Event.Labels["prefect.io/flow-run-id"]; {
		case id == "":
		case hint.Event.Pending == "":
			past[id] = true
		default:
			pending[id] = append(pending[id], hint.Event.Pending)
		}
	}
	received := time.Now()
	for id, messages := range pending {
		if past[id] {
			continue
		}
		w.jobs.Go(func() {
			for _, message := range messages {
				w.infrastructurePending(work, id, message, received)
			}
		})
	}
}

func (w *Worker) emitReplica(e *launch.Event) {
	if w.opts.Events == nil {
		return
	}
	event := prefect.Event{
		ID: e.ID, Occurred: e.At, Event: e.Name, Payload: map[string]any{},
		Resource: maps.Clone(e.Resource), Related: w.relatedByLabels(e.Labels),
	}
	follows, isNew := w.replicas.note(event)
	if !isNew {
		return
	}
	if follows.ID != "" && event.Occurred.Sub(follows.Occurred) < followGap {
		event.Follows = &follows.ID
	}
	w.opts.Events.Emit(event)
}

// relatedByLabels lists what labels name, in the order of Prefect's observer.
func (w *Worker) relatedByLabels(labels map[string]string) []prefect.Resource {
	var all []prefect.Resource
	for _, role := range []string{"flow-run", "deployment", "flow", "work-pool"} {
		id := labels["prefect.io/"+role+"-id"]
		if id == "" {
			continue
		}
		r := resource(role, id, labels["prefect.io/"+role+"-name"])
		if r["prefect.resource.name"] == "" {
			delete(r, "prefect.resource.name")
		}
		all = append(all, r)
	}
	if name := labels["prefect.io/worker-name"]; name != "" {
		all = append(all, prefect.Resource{
			"prefect.resource.id":   "prefect.worker." + w.launcher.Type() + "." + slug(name),
			"prefect.resource.role": "worker",
			"prefect.resource.name": name,
			"prefect.worker-type":   w.launcher.Type(),
			"prefect.version":       prefect.Version,
		})
	}
	return all
}

// pendingFresh is for how long it is worth telling what infrastructure waits for. On
// a slow server the run may have ended by the time it is told.
const pendingFresh = 3 * time.Second

// infrastructurePending says in the run's state what its infrastructure waits for.
// Only a run that is pending is told so: one that was scheduled again meanwhile
// must not be taken from its pool by an old message.
func (w *Worker) infrastructurePending(work context.Context, flowRunID, message string, received time.Time) {
	var run prefect.FlowRun
	err := persist(work, claimTries, func() (err error) {
		run, err = w.api.ReadFlowRun(work, flowRunID)
		return err
	})
	if err != nil || run.StateType != prefect.StatePending || time.Since(received) > pendingFresh {
		return
	}
	result, err := w.propose(work, flowRunID, proposal{
		state: prefect.State{Type: prefect.StatePending, Name: "InfrastructurePending", Message: message},
		tries: claimTries, still: isPending,
	})
	switch {
	case err != nil && !errors.Is(err, prefect.ErrNotFound) && !errors.Is(err, errOvertaken):
		w.log.Warn("Failed to propose InfrastructurePending for flow run "+flowRunID, "error", err)
	case err == nil && result.Status == prefect.StatusAccept && result.State != nil:
		w.undoTaking(work, flowRunID, result.State.Details.TransitionID)
	}
}

// isPending reports whether a run waits for its infrastructure.
func isPending(states []prefect.State) bool {
	return len(states) > 0 && states[len(states)-1].Type == prefect.StatePending
}

// undoTaking looks what the run was before it became pending by our word. Between
// reading it and saying so it may have gone back to its pool, or ended: then it
// becomes again what it was, because a pending run without a claim is nobody's.
func (w *Worker) undoTaking(work context.Context, flowRunID, transition string) {
	states, err := w.statesOf(work, flowRunID)
	if err != nil {
		w.log.Debug("Read the states of a flow run", "flow_run", flowRunID, "error", err)
		return
	}
	ours := func(s prefect.State) bool { return s.Details.TransitionID == transition }
	if before, ok := goneOn(slices.DeleteFunc(slices.Clone(states), ours)); ok {
		w.restore(work, flowRunID, before, transition)
	}
}

// restore makes a run again what it was before it became pending by our word, if it
// still is. What is current, the run itself must tell: the server stamps states before
// their turn comes, so that two that are close may stand in the wrong order.
func (w *Worker) restore(work context.Context, flowRunID string, before prefect.State, transition string) {
	run, err := w.readRun(work, flowRunID)
	if err != nil || run.State == nil || run.State.Details.TransitionID != transition {
		return
	}
	state := prefect.State{Type: before.Type, Name: before.Name, Message: before.Message, Data: before.Data}
	if before.Type == prefect.StateScheduled {
		due := time.Now()
		if before.Details.ScheduledTime != nil {
			due = *before.Details.ScheduledTime
		}
		state.Details.ScheduledTime = &due
	}
	w.log.Info("Flow run becomes again what it was", "flow_run", flowRunID, "state", before.Name)
	if _, err := w.propose(work, flowRunID, proposal{state: state, force: before.Type.Final()}); err != nil {
		w.log.Error("Give flow run its state back", "flow_run", flowRunID, "state", before.Name, "error", err)
	}
}

// restoreEnd gives a run its end back that had it under its last claim, and is pending
// again by a late word of somebody's. It reports whether there was such an end.
func (w *Worker) restoreEnd(work context.Context, run prefect.FlowRun, states []prefect.State) bool {
	if run.StateType != prefect.StatePending || run.State == nil || run.State.Name == "Pending" {
		return false
	}
	current := func(s prefect.State) bool { return s.ID == run.State.ID }
	end, ok := goneOn(slices.DeleteFunc(slices.Clone(states), current))
	if !ok || !end.Type.Final() {
		return false
	}
	w.restore(work, run.ID, end, run.State.Details.TransitionID)
	return true
}

// recent is a map that forgets the oldest beyond replicasKept.
type recent[K comparable, V any] struct {
	values map[K]V
	order  []K
}

func (r *recent[K, V]) get(key K) (V, bool) {
	value, ok := r.values[key]
	return value, ok
}

func (r *recent[K, V]) put(key K, value V) {
	if r.values == nil {
		r.values = make(map[K]V)
	}
	if _, known := r.values[key]; !known {
		r.order = append(r.order, key)
	}
	r.values[key] = value
	if len(r.order) > replicasKept {
		delete(r.values, r.order[0])
		r.order = r.order[1:]
	}
}
