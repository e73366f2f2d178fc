package worker

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// survived tells of a panic, and lets the worker go on: one flow run must not end the
// others. What it panicked with may hold anything.
func (w *Worker) survived(recovered any) {
	if recovered == nil {
		return
	}
	w.panicked.Add(1)
	w.metrics.panics.Inc()
	w.log.Error("Panic, which is a mistake in faber; please report it. The worker goes on.",
		"panic", w.opts.Redact(fmt.Sprint(recovered)), "stack", string(debug.Stack()))
}

// panicPause lies between a loop's panic and its next beginning.
const panicPause = 5 * time.Second

// keep runs a loop until it ends by itself, and begins it anew after a panic.
func (w *Worker) keep(ctx context.Context, loop func()) {
	for w.panics(loop) && pause(ctx, panicPause) {
	}
}

func (w *Worker) panics(f func()) (panicked bool) {
	panicked = true
	defer func() {
		if panicked {
			w.survived(recover())
		}
	}()
	f()
	return false
}
