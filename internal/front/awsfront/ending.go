package awsfront

import (
	"context"
	"errors"
	"maps"
	"time"

	"faber/internal/front"
)

// ending is an invented end of a task. The task that the emulator runs is
// stopped for a reason that nobody else gives; wherever that reason or the task
// shows up from then on, the invented end is told instead.
type ending struct {
	front.Stop
	fault string
	rule  int
	due   time.Time
	at    time.Time // when the task was stopped; zero before
}

// reason is the one under which the task is stopped at the emulator.
func (e *ending) reason() string { return "stopped by " + e.fault }

// retryStop is how long after a failure the emulator is asked again.
const retryStop = time.Second

// schedule has a task end when it is due, at once if that is now.
func (t *tasks) schedule(k *knownTask, due *ending) {
	switch {
	case due == nil:
	case time.Until(due.due) <= 0:
		t.stop(k, due)
	default:
		t.f.later(time.Until(due.due), func() { t.stop(k, due) })
	}
}

// stop stops the real task. If it had ended by itself, that end stands; if the
// rule is gone, nothing happens any more.
func (t *tasks) stop(k *knownTask, due *ending) {
	if !t.f.gate.Faults().Has(due.rule) {
		t.settle(k, nil)
		return
	}
	ctx, cancel := context.WithTimeout(t.f.life, 30*time.Second)
	defer cancel()
	var out struct {
		Task struct{ StoppedReason string }
	}
	in := map[string]any{"cluster": clusterOf(k.arn), "task": k.arn, "reason": due.reason()}
	err := t.f.callAs(ctx, k.scope, t.f.o.Ministack, "ecs", ecsTarget+"StopTask", in, &out)
	var refused *APIError
	switch {
	case err == nil && out.Task.StoppedReason != due.reason():
		t.settle(k, nil)
	case err == nil:
		ended := *due
		ended.at = time.Now()
		t.settle(k, &ended)
	case errors.As(err, &refused) && refused.Status < 500 && refused.Code != "ThrottlingException":
		t.f.log.Warn("task cannot be stopped for its invented end", "task", k.arn, "fault", due.fault, "error", err)
		t.settle(k, nil)
	default:
		t.f.log.Warn("emulator does not stop a task; trying again", "task", k.arn, "fault", due.fault, "error", err)
		t.f.later(retryStop, func() { t.stop(k, due) })
	}
}

func (t *tasks) settle(k *knownTask, e *ending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.end = e
}

// tell puts the invented end of a task over what the emulator tells of it, and
// reports whether there is one.
func (t *tasks) tell(task map[string]any) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.known[str(task["taskArn"])]
	if k == nil || k.end == nil || k.end.at.IsZero() && task["stoppedReason"] != k.end.reason() {
		return false
	}
	k.end.over(task)
	return true
}

// over writes the end into a task as DescribeTasks or an event tells it.
func (e *ending) over(task map[string]any) {
	at := e.at
	if at.IsZero() {
		at = time.Now()
	}
	task["lastStatus"], task["desiredStatus"] = "STOPPED", "STOPPED"
	task["stopCode"], task["stoppedReason"] = e.Code, e.Reason
	for _, name := range []string{"stoppingAt", "executionStoppedAt", "stoppedAt"} {
		if task[name] == nil {
			task[name] = likewise(task["createdAt"], at)
		}
	}
	if e.neverRan() {
		delete(task, "startedAt")
		delete(task, "executionStoppedAt")
	}
	list, _ := task["containers"].([]any)
	for i, item := range list {
		if c, ok := item.(map[string]any); ok {
			list[i] = e.container(c, i)
		}
	}
}

func (e *ending) neverRan() bool { return e.Code == "TaskFailedToStart" }

func (e *ending) container(c map[string]any, i int) map[string]any {
	c = maps.Clone(c)
	c["lastStatus"] = "STOPPED"
	told := e.Container == "" && i == 0 || e.Container != "" && c["name"] == e.Container
	if told || e.neverRan() {
		delete(c, "exitCode")
		delete(c, "reason")
	}
	if told && e.ExitCode != nil {
		c["exitCode"] = *e.ExitCode
	}
	if told && e.ContainerReason != "" {
		c["reason"] = e.ContainerReason
	}
	return c
}

// likewise writes a time as another one is written: as text in events, else in
// seconds.
func likewise(other any, t time.Time) any {
	if _, text := other.(string); text {
		return millis(t)
	}
	return float64(t.UnixMilli()) / 1000
}
