package worker

import (
	"context"
	"strings"
	"sync"
	"time"

	"faber/internal/prefect"
)

const wakeLoopName = "event subscription"

// wakeLoop listens to the pool's events, so that a new run need not wait for
// the next poll and a cancelled one not for the next sweep. Events are a hint:
// all that they cause happens without them too, a little later.
func (w *Worker) wakeLoop(ctx context.Context) {
	select {
	case <-w.synced:
	case <-ctx.Done():
		return
	}
	for ctx.Err() == nil {
		moved, err := w.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if moved {
			continue
		}
		// The server will not have it: the polls do all the work, and now and
		// then it is asked again.
		w.round(wakeLoopName, 0, err, "")
		if !pause(ctx, 5*time.Minute) {
			return
		}
	}
}

// listen subscribes to the events of the pool as it is now. It ends when another
// pool takes its name: the events of that one are others.
func (w *Worker) listen(ctx context.Context) (moved bool, err error) {
	listening, stop := context.WithCancel(ctx)
	defer stop()
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-w.moved:
			moved = true
			stop()
		case <-listening.Done():
		}
	})
	filter := prefect.EventFilter{
		Names: []string{
			"prefect.flow-run.Scheduled",
			"prefect.flow-run.Late",
			"prefect.flow-run.AwaitingRetry",
			"prefect.flow-run.AwaitingConcurrencySlot",
			"prefect.flow-run.Resuming",
			cancellingEvent,
			// What one worker reads from the queue of its infrastructure is told to all.
			taskEvents + "running",
			taskEvents + "deprovisioning",
			taskEvents + "stopped",
		},
		ResourceIDs: []string{"prefect.work-pool." + w.pool.Load().pool.ID},
	}
	err = w.api.Subscribe(listening, filter, w.onEvent)
	stop()
	watch.Wait()
	return moved, err
}

const (
	cancellingEvent = "prefect.flow-run.Cancelling"
	// taskEvents is how the events of tasks begin, as Prefect's own observer sends them.
	taskEvents = "prefect.ecs.task."
)

// noticeTask takes an event of a task as a hint, if the task is tracked here and the
// event comes from another worker: there may be one queue for many, and each message
// in it is read by one.
func (w *Worker) noticeTask(e prefect.Event) {
	if w.replicas.knows(e.ID) {
		return
	}
	for _, related := range e.Related {
		id, ok := strings.CutPrefix(related["prefect.resource.id"], "prefect.flow-run.")
		if !ok || w.attempts.get(id) == nil {
			continue
		}
		select {
		case w.told <- id:
		default: // the sweep sees it
		}
	}
}

// toldGap is how long hints of other workers are gathered before they are followed.
const toldGap = time.Second

// toldLoop looks at the infrastructure that other workers told of.
func (w *Worker) toldLoop(ctx, work context.Context) {
	for {
		ids := make(map[string]bool)
		select {
		case id := <-w.told:
			ids[id] = true
		case <-ctx.Done():
			return
		}
		if !pause(ctx, toldGap) {
			return
		}
		for len(w.told) > 0 {
			ids[<-w.told] = true
		}
		hinted := w.attempts.where(func(a *attempt) bool { return ids[a.run.ID] })
		if len(hinted) > 0 {
			_, _ = w.observe(ctx, work, hinted) // a sweep says it if it stays so
		}
	}
}

func (w *Worker) onEvent(e prefect.Event) {
	if strings.HasPrefix(e.Event, taskEvents) {
		w.noticeTask(e)
		return
	}
	if e.Event != cancellingEvent {
		w.pollNow()
		return
	}
	id, ok := strings.CutPrefix(e.Resource["prefect.resource.id"], "prefect.flow-run.")
	if ok {
		w.noticeCancelling(id)
	}
}

// pollNow makes the next poll happen at once. Many calls before it are one.
func (w *Worker) pollNow() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
