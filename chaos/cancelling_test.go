//go:build chaos

package chaos

import (
	"encoding/json"
	"net/http"
	"time"

	"faber/internal/fake/fakeaws"
)

// watchCancelling ends what is being cancelled, in the stead of the listener that
// each `prefect flow-run execute` has.
func (e *engine) watchCancelling() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.cancelled()
		case <-e.ctx.Done():
			return
		}
	}
}

func (e *engine) cancelled() {
	running := map[string]*life{}
	for _, l := range e.all() {
		if l.over().IsZero() && !l.begun().IsZero() && !l.stint.Deaf && e.p.flowOf(l.run) == "" {
			running[l.run] = l
		}
	}
	if len(running) == 0 || !e.p.cancels() {
		return
	}
	var ids []string
	for id := range running {
		ids = append(ids, id)
	}
	var found []flowRun
	status, data := e.p.client.once(e.ctx, http.MethodPost, "/flow_runs/filter", object{"limit": 200, "flow_runs": object{
		"id": object{"any_": ids}, "state": object{"type": object{"any_": []string{"CANCELLING"}}},
	}})
	if status != http.StatusOK || json.Unmarshal(data, &found) != nil {
		return
	}
	for _, run := range found {
		_, _ = running[run.ID].propose(object{"type": "CANCELLED", "name": "Cancelled"})
		running[run.ID].stop()
	}
}

// tell sends the event of a task's state as EventBridge does, or as it does on a bad
// day: 30 of 100 events never come, 10 come twice and 5 late.
func (e *engine) tell(task *fakeaws.Task) {
	e.mu.Lock()
	chance, silent := e.random.IntN(100), e.silent
	e.mu.Unlock()
	kind := e.p.s.Events
	switch {
	case silent, kind == "none":
	case kind != "lossy", chance < 55:
		task.Tell(eventQueue)
	case chance < 65:
		event := task.Tell(eventQueue)
		e.p.cloud.Send(eventQueue, fakeaws.Message(event))
	case chance < 70:
		event := task.Event()
		e.wg.Go(func() {
			timer := time.NewTimer(10 * time.Second)
			defer timer.Stop()
			select {
			case <-timer.C:
				e.p.cloud.Send(eventQueue, fakeaws.Message(event))
			case <-e.ctx.Done():
			}
		})
	}
}

// hush ends or begins the sending of events.
func (e *engine) hush(silent bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.silent = silent
}
