package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"faber/internal/infra"
	"faber/internal/stack"
)

const (
	// askEvery paces the wait. DescribeServices, ListTasks and DescribeTasks are
	// allowed 20 times a second and account, shared with the workers.
	askEvery = 3 * time.Second
	// tellEvery is how often the wait speaks where lines cannot be redrawn.
	tellEvery = 15 * time.Second
)

// waiting is the wait for a service and its worker.
type waiting struct {
	*apply

	deployed *stack.Stack
	pool     string
	logs     string // log group of the worker
	told     time.Time
}

// wait returns when the service is steady and a worker is online.
func (a *apply) wait(ctx context.Context, outputs infra.Outputs) error {
	deployed, err := deployedStack(ctx, outputs)
	if err != nil {
		return err
	}
	w := &waiting{apply: a, deployed: deployed, pool: outputs.String("work_pool_name"), logs: outputs.String("log_group_name"), told: time.Now()}
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		done, state, err := w.look(limited)
		var final *UserError
		switch {
		case done:
			a.news.end()
			fmt.Fprintln(a.std.Out, state)
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &final):
			a.news.end()
			return w.diagnosis(ctx, final.Message, final.Hint)
		case err != nil && limited.Err() == nil:
			state = err.Error() // it may pass
		}
		w.tell(state)
		select {
		case <-tick.C:
		case <-limited.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			a.news.end()
			return w.diagnosis(ctx, fmt.Sprintf("no worker came online in work pool %s within %s: %s", w.pool, a.timeout, state), "")
		}
	}
}

// look asks once. A *UserError means that waiting is of no use.
func (w *waiting) look(ctx context.Context) (done bool, state string, err error) {
	service, err := w.deployed.ReadService(ctx)
	switch {
	case errors.Is(err, stack.ErrNoService):
		return false, "", &UserError{Message: err.Error(), Hint: "'faber plan' tells whether AWS is still as terraform's state says"}
	case err != nil:
		return false, "", err
	case service.Desired == 0:
		return true, fmt.Sprintf("service %s: runs 0 tasks, as it is asked to; no worker to wait for", service.Name), nil
	case service.Rollout == "FAILED":
		return false, "", &UserError{Message: fmt.Sprintf("ECS gave up starting the service %s: %s", service.Name, service.RolloutReason)}
	}
	state = fmt.Sprintf("service %s: %d of %d tasks running", service.Name, service.Running, service.Desired)
	tasks, err := w.deployed.Tasks(ctx)
	if err != nil {
		return false, state, err
	}
	since, running := began(tasks)
	if !running {
		return false, state + ", worker: not started yet", nil
	}
	name, err := onlineWorker(ctx, w.client, w.pool, since)
	switch {
	case err != nil:
		return false, state, err
	case name == "":
		return false, state + ", worker: not ONLINE yet", nil
	case !service.Steady():
		return false, state + ", worker ONLINE, earlier tasks are being stopped", nil
	}
	return true, fmt.Sprintf("%s\nworker %s is ONLINE in work pool %s", state, name, w.pool), nil
}

func (w *waiting) tell(state string) {
	if w.std.IsTerminal {
		w.news.note("%s", state)
		return
	}
	if time.Since(w.told) >= tellEvery {
		w.told = time.Now()
		w.news.say("waiting: %s", state)
	}
}

const (
	toldEvents = 5
	toldTasks  = 3
	toldLines  = 10
	// logsBack is how far the worker's last lines are looked for.
	logsBack = 15 * time.Minute
)

// diagnosis is the error of a stack whose worker does not come online: what ECS, the
// stopped tasks and the worker's log say about it.
func (w *waiting) diagnosis(ctx context.Context, message, hint string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var text strings.Builder
	text.WriteString(message)
	if service, err := w.deployed.ReadService(ctx); err == nil && len(service.Events) > 0 {
		text.WriteString("\nlast events of the service:")
		for _, event := range service.Events[:min(len(service.Events), toldEvents)] {
			fmt.Fprintf(&text, "\n  %s  %s", event.At.Local().Format(time.TimeOnly), event.Message) //nolint:gosmopolitan // for whoever reads it here
		}
	}
	if stopped, err := w.deployed.StoppedTasks(ctx); err == nil && len(stopped) > 0 {
		text.WriteString("\nstopped tasks, newest first:")
		for _, task := range stopped[:min(len(stopped), toldTasks)] {
			fmt.Fprintf(&text, "\n  %s  %s", short(task.ID), task.Reason)
			if task.Cause != "" {
				fmt.Fprintf(&text, "\n  %8s  %s: %s", "", task.Cause, task.Hint)
			}
		}
		if hint == "" {
			hint = stopped[0].Hint
		}
	}
	if lines := w.lastLines(ctx); len(lines) > 0 {
		text.WriteString("\nthe worker's last lines:\n  " + strings.Join(lines, "\n  "))
	}
	if hint == "" {
		hint = "see 'faber status" + w.shown() + "' and 'faber logs" + w.shown() + "'; 'faber apply" + w.shown() + "' waits again"
	}
	return &UserError{Message: text.String(), Hint: hint}
}

func (w *waiting) lastLines(ctx context.Context) []string {
	var lines []string
	_ = w.deployed.ReadLogs(ctx, w.logs, time.Now().Add(-logsBack), func(line stack.Line) { // there may be none
		if !line.IsMetric() {
			lines = append(lines, strings.TrimRight(line.Message, "\n"))
		}
	})
	return lines[max(0, len(lines)-toldLines):]
}

// short is the beginning of an id, enough to tell it from others at sight.
func short(id string) string { return id[:min(len(id), 8)] }
