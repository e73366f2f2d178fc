package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"faber/internal/prefect"
)

// modelCall is one call of a worker to the outside.
type modelCall struct {
	ecs bool
	op  string
	run string // "" when it is about no run or about many
}

// modelHow is what a fault does to a call.
type modelHow string

// Faults.
const (
	modelFails  modelHow = "fails"  // it does not take effect
	modelLost   modelHow = "lost"   // it takes effect, the answer is lost
	modelSlow   modelHow = "slow"   // it takes effect after a while
	modelLate   modelHow = "late"   // it takes effect at once and is answered after a while
	modelHangs  modelHow = "hangs"  // no effect and no answer until the faults end
	modelKilled modelHow = "killed" // the worker is killed before it takes effect
	modelDies   modelHow = "dies"   // the worker is killed after it took effect
)

// modelFault is what happens to the calls that it matches.
type modelFault struct {
	Op    string // "" matches all
	Run   int    // index of the run, -1 matches all
	Slot  int    // place of the worker, -1 matches all
	Skip  int    // so many calls go well before
	Count int    // and so many are spoiled
	How   modelHow
	For   time.Duration
}

func (f *modelFault) String() string {
	return fmt.Sprintf("%s of run %d at %d, after %d, %d times: %s %s", orAny(f.Op), f.Run, f.Slot, f.Skip, f.Count, f.How, f.For)
}

func orAny(op string) string {
	if op == "" {
		return "any call"
	}
	return op
}

// spoil says what happens to a call. The caller holds mu.
func (w *modelWorld) spoil(i *modelWorker, c modelCall) *modelFault {
	if !w.healed.IsZero() {
		return nil
	}
	for _, f := range w.faults {
		switch {
		case f.Count == 0:
		case f.Op != "" && !strings.HasPrefix(c.op, f.Op):
		case f.Slot >= 0 && f.Slot != i.slot.index:
		case f.Run >= 0 && (f.Run >= len(w.server.order) || w.server.order[f.Run] != c.run):
		case f.Skip > 0:
			f.Skip--
		default:
			f.Count--
			w.note("fault: %s %s of %s %s", c.op, short(c.run), i, f.How)
			return f
		}
	}
	return nil
}

func short(run string) string { return strings.TrimPrefix(run, "flow-") }

// down reports whether a side answers nobody. The caller holds mu.
func (w *modelWorld) down(ecs bool) bool {
	if ecs {
		return time.Now().Before(w.cloudDown)
	}
	return time.Now().Before(w.apiDown)
}

// latency is how long a call takes on its way there or back.
func (w *modelWorld) latency() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(1+w.rng.IntN(30)) * time.Millisecond
}

var (
	errModelDown = fmt.Errorf("no answer: %w", prefect.ErrUnreachable)
	errModelGone = &prefect.StatusError{Method: "GET", Path: "/", Code: 404}
)

// call is the way of every call of a worker to the outside: there, its effect, and
// back. A fault may fall on each part of it.
func (i *modelWorker) call(ctx context.Context, c modelCall, effect func() error) error {
	w := i.world
	if !i.pass(ctx, w.latency()) {
		return i.cut(ctx)
	}
	down, fault := i.meet(c)
	switch {
	case down:
		if !i.pass(ctx, time.Second) {
			return i.cut(ctx)
		}
		return errModelDown
	case fault.How == modelFails:
		return errModelDown
	case fault.How == modelHangs:
		if err := i.hang(ctx); err != nil {
			return err
		}
	case fault.How == modelSlow:
		if !i.pass(ctx, fault.For) {
			return i.cut(ctx)
		}
	}
	w.mu.Lock()
	if i.dead {
		w.mu.Unlock()
		return i.cut(ctx)
	}
	err := effect()
	if fault.How == modelDies {
		i.kill()
	}
	w.mu.Unlock()
	return i.answer(ctx, fault, err)
}

// meet says what a call meets on its way there: a side that answers nobody, or a
// fault of its own; one that is none does nothing.
func (i *modelWorker) meet(c modelCall) (down bool, fault *modelFault) {
	w := i.world
	w.mu.Lock()
	defer w.mu.Unlock()
	down = w.down(c.ecs)
	if !down && !i.dead {
		fault = w.spoil(i, c)
	}
	if fault == nil {
		return down, &modelFault{}
	}
	if fault.How == modelKilled {
		i.kill()
	}
	return down, fault
}

// answer is a call's way back.
func (i *modelWorker) answer(ctx context.Context, fault *modelFault, err error) error {
	wait := i.world.latency()
	if fault.How == modelLate {
		wait += fault.For
	}
	if !i.pass(ctx, wait) {
		return i.cut(ctx)
	}
	if fault.How == modelLost {
		return errModelLost
	}
	return err
}

// pass lets time pass in a call; false when the call is over before.
func (i *modelWorker) pass(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-i.killed:
		return false
	}
}

// hang waits for the faults to end; nil when they do.
func (i *modelWorker) hang(ctx context.Context) error {
	for i.pass(ctx, time.Second) {
		i.world.mu.Lock()
		healed := !i.world.healed.IsZero()
		i.world.mu.Unlock()
		if healed {
			return nil
		}
	}
	return i.cut(ctx)
}

// cut is what a call gets whose caller does not wait any more. A killed worker's
// calls return only when their context ends.
func (i *modelWorker) cut(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("%w: %w", prefect.ErrUnreachable, ctx.Err())
}

// isCut reports whether a call was given up by its caller.
func isCut(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
