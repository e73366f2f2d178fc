package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// modelCloud is ECS: clusters in which tasks are started under client tokens. It
// is guarded by the world's mu.
type modelCloud struct {
	w      *modelWorld
	tasks  []*modelTask
	byPID  map[string]*modelTask
	tokens map[string]*modelToken
	claims map[string]int // tasks by claim
	starts map[string]int // launches by run that had a definite answer
}

// modelToken is what ECS remembers of a client token.
type modelToken struct {
	at      time.Time
	task    *modelTask
	failure *launch.Failure
}

// modelTask is a task.
type modelTask struct {
	pid, cluster, run, claim, worker string

	by      *modelWorker // nil for one that is not ours
	plan    modelPlan
	born    time.Time
	visible time.Time // when ECS begins to know it
	hidden  time.Time // until then ECS denies it
	phase   launch.Phase
	exit    *launch.Exit
	stopped time.Time
	lost    bool // its end is forgotten at once
	forked  bool // a user scheduled the run anew while it lived
	asked   chan struct{}
	reason  string
	// relaunched says that the worker launches the run again when the task is interrupted.
	relaunched bool
}

const (
	modelForgets = time.Hour // a stopped task is listed no longer than that
	modelToken24 = 24 * time.Hour
)

func newModelCloud(w *modelWorld) *modelCloud {
	return &modelCloud{w: w, byPID: map[string]*modelTask{}, tokens: map[string]*modelToken{}, claims: map[string]int{}, starts: map[string]int{}}
}

func (t *modelTask) alive() bool { return t.phase != launch.PhaseStopped }

// living is a live task of a run.
func (c *modelCloud) living(run string) *modelTask {
	for _, t := range c.tasks {
		if t.run == run && t.alive() {
			return t
		}
	}
	return nil
}

// known reports whether ECS tells of the task.
func (t *modelTask) known() bool {
	now := time.Now()
	gone := !t.alive() && (t.lost || now.Sub(t.stopped) > modelForgets)
	return !now.Before(t.visible) && !now.Before(t.hidden) && !gone
}

// remembered is the first answer to a token, nil when it is forgotten.
func (c *modelCloud) remembered(token string) *modelToken {
	k := c.tokens[token]
	switch {
	case k == nil, time.Since(k.at) > modelToken24:
		return nil
	case k.failure != nil && time.Since(k.at) > time.Hour:
		return nil
	case k.task != nil && !k.task.alive() && time.Since(k.task.stopped) > time.Hour:
		return nil
	}
	return k
}

// runTask is RunTask: the same token gets the first answer again.
func (c *modelCloud) runTask(i *modelWorker, job launch.Job, sent time.Time) (launch.Handle, *launch.Failure) {
	cluster, _ := job.Configuration["cluster"].(string)
	token := cluster + " " + job.FlowRunID + " " + job.ClaimID
	if k := c.remembered(token); k != nil {
		c.w.note("%s: RunTask by %s: as before", short(job.FlowRunID), i)
		if k.failure != nil {
			return launch.Handle{}, k.failure
		}
		return k.task.handle(), nil
	}
	run := c.w.server.runs[job.FlowRunID]
	plan := run.plan(c.starts[job.FlowRunID])
	c.starts[job.FlowRunID]++
	if f := plan.refusal(); f != nil {
		c.w.note("%s: RunTask by %s: %s", short(job.FlowRunID), i, f.Message)
		c.tokens[token] = &modelToken{at: time.Now(), failure: f}
		return launch.Handle{}, f
	}
	t := c.begin(run, cluster, plan)
	t.by, t.claim, t.worker, t.relaunched = i, job.ClaimID, job.WorkerName, job.Attempt.Rescheduled
	c.tokens[token] = &modelToken{at: time.Now(), task: t}
	c.w.note("%s: RunTask by %s for %s: %s, %s", short(job.FlowRunID), i, job.ClaimID, t.pid, plan)
	c.w.checkTask(i, run, t, sent)
	return t.handle(), nil
}

// begin starts a task.
func (c *modelCloud) begin(run *modelRun, cluster string, plan modelPlan) *modelTask {
	now := time.Now()
	t := &modelTask{
		pid: fmt.Sprintf("%s::task-%d", cluster, len(c.tasks)+1), cluster: cluster, run: run.ID, plan: plan,
		born: now, visible: now.Add(plan.Unseen), phase: launch.PhaseStarting, asked: make(chan struct{}),
	}
	c.tasks = append(c.tasks, t)
	c.byPID[t.pid] = t
	c.w.living.Go(func() { (&modelProcess{w: c.w, t: t, run: run}).live() })
	return t
}

func (t *modelTask) handle() launch.Handle {
	return launch.Handle{PID: t.pid, FlowRunID: t.run, ClaimID: t.claim, WorkerName: t.worker, StartedAt: t.born}
}

// end ends a task.
func (c *modelCloud) end(t *modelTask, exit launch.Exit) {
	if !t.alive() {
		return
	}
	exit.At = time.Now()
	t.phase, t.exit, t.stopped = launch.PhaseStopped, &exit, time.Now()
	c.w.note("%s: %s has ended: %s", short(t.run), t.pid, exit.Kind)
	for _, i := range c.w.incarnations {
		if i.alive() && !time.Now().Before(c.w.deaf) && c.w.rng.IntN(2) == 0 {
			i.hint(t.pid)
		}
	}
}

// ask is StopTask.
func (t *modelTask) ask(reason string) {
	if t.alive() && t.reason == "" {
		t.reason = reason
		close(t.asked)
	}
}

// modelLauncher is the cloud as one life of a worker reaches it.
type modelLauncher struct {
	*modelWorker
}

func (l *modelLauncher) Type() string { return "fake" }

func (l *modelLauncher) DefaultBaseJobTemplate() json.RawMessage { return json.RawMessage(`{}`) }

func (l *modelLauncher) Check(launch.Job) error { return nil }

// Place is where a job goes.
func (l *modelLauncher) Place(job launch.Job) string {
	cluster, _ := job.Configuration["cluster"].(string)
	return "cluster " + cluster
}

func (l *modelLauncher) Launch(ctx context.Context, job launch.Job) (handle launch.Handle, err error) {
	w, sent := l.world, time.Now()
	w.mu.Lock()
	l.launching++
	if l.launching > w.h.SubmitLimit && w.h.SubmitLimit > 0 {
		w.violate("the submit limit", "%d launches of %s at a time", l.launching, l.name)
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		l.launching--
		w.mu.Unlock()
	}()
	err = l.call(ctx, modelCall{ecs: true, op: "Launch", run: job.FlowRunID}, func() error {
		var f *launch.Failure
		if handle, f = w.cloud.runTask(l.modelWorker, job, sent); f != nil {
			return f
		}
		return nil
	})
	return handle, launchError(err)
}

// errModelLost is a call that had its effect and no answer.
var errModelLost = fmt.Errorf("the answer is lost: %w", prefect.ErrUnreachable)

// launchError is what a launcher makes of a call without an answer.
func launchError(err error) error {
	if f, ok := err.(*launch.Failure); ok || err == nil { //nolint:errorlint // the model's own
		if f == nil {
			return err
		}
		return f
	}
	return &launch.Failure{
		Kind: launch.FailureRetry, Message: "RunTask: " + err.Error(), Err: err,
		Unknown: errors.Is(err, errModelLost) || isCut(err),
	}
}

func (l *modelLauncher) Describe(ctx context.Context, handles []launch.Handle) (seen []launch.Observation, err error) {
	run := ""
	if len(handles) == 1 {
		run = handles[0].FlowRunID
	}
	err = l.call(ctx, modelCall{ecs: true, op: "Describe", run: run}, func() error {
		for _, h := range handles {
			o := launch.Observation{Handle: h, Phase: launch.PhaseMissing}
			if t := l.world.cloud.byPID[h.PID]; t != nil && t.known() {
				o.Phase, o.Exit = t.phase, t.exit
			}
			if o.Phase == launch.PhaseMissing {
				l.world.note("%s: %s is missing to %s", short(h.FlowRunID), h.PID, l.name)
			}
			seen = append(seen, o)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return seen, nil
}

func (l *modelLauncher) Find(ctx context.Context, pool launch.Pool) (found []launch.Handle, err error) {
	cluster, _ := pool.Configuration["cluster"].(string)
	places := append([]string{"cluster " + cluster}, pool.Places...)
	err = l.call(ctx, modelCall{ecs: true, op: "Find"}, func() error {
		for _, t := range l.world.cloud.tasks {
			if t.alive() && t.known() && slices.Contains(places, "cluster "+t.cluster) {
				found = append(found, t.handle())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Stopped is what is still known of tasks that have ended.
func (l *modelLauncher) Stopped(ctx context.Context, pool launch.Pool, runs []string) (seen []launch.Observation, err error) {
	cluster, _ := pool.Configuration["cluster"].(string)
	places := append([]string{"cluster " + cluster}, pool.Places...)
	err = l.call(ctx, modelCall{ecs: true, op: "Stopped"}, func() error {
		for _, t := range l.world.cloud.tasks {
			if !t.alive() && t.known() && slices.Contains(runs, t.run) && slices.Contains(places, "cluster "+t.cluster) {
				seen = append(seen, launch.Observation{Handle: t.handle(), Phase: t.phase, Exit: t.exit})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return seen, nil
}

func (l *modelLauncher) Stop(ctx context.Context, h launch.Handle, reason string, _ time.Duration) error {
	return l.call(ctx, modelCall{ecs: true, op: "Stop", run: h.FlowRunID}, func() error {
		t := l.world.cloud.byPID[h.PID]
		if t == nil {
			return nil
		}
		l.world.note("%s: StopTask of %s by %s", short(t.run), t.pid, l.name)
		l.world.checkStop(l.modelWorker, t)
		t.ask(reason)
		return nil
	})
}

func (l *modelLauncher) Tail(ctx context.Context, _ launch.Handle, _ int) ([]launch.LogLine, error) {
	return nil, l.call(ctx, modelCall{ecs: true, op: "Tail"}, func() error { return nil })
}

func (l *modelLauncher) Hints() <-chan launch.Hint { return l.hints }

func (l *modelLauncher) Close(time.Duration) error {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.hints)
	}
	return nil
}

// hint tells the worker of a task. The caller holds mu.
func (i *modelWorker) hint(pid string) {
	if i.closed {
		return
	}
	select {
	case i.hints <- launch.Hint{PID: pid}:
	default:
	}
}
