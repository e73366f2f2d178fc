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
		},
		ResourceIDs: []string{"prefect.work-pool." + w.pool.Load().pool.ID},
	}
	err = w.api.Subscribe(listening, filter, w.onEvent)
	stop()
	watch.Wait()
	return moved, err
}

const cancellingEvent = "prefect.flow-run.Cancelling"

func (w *Worker) onEvent(e prefect.Event) {
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
