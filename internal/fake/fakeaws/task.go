package fakeaws

import (
	"slices"
	"time"
)

// A Script is how the tasks of a flow run live: they are PROVISIONING when they
// are made, RUNNING when they are described for the second time, and STOPPED with
// Code when they are described for the third time, unless they Hold. A task
// without a script stays as it is until the test sets it.
type Script struct {
	Lines []string // what the containers print
	Hold  bool     // runs until StopTask
	Code  int
}

// Script sets what tasks of a flow run do from now on; "" stands for the runs
// that have no script of their own.
func (s *Server) Script(flowRunID string, script Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[flowRunID] = script
}

// StopByHand has StopTask say only that a task is to stop, and leaves it to the
// test to set it to STOPPED. Else a task stops at once, with code 143 if it ran.
func (s *Server) StopByHand() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopsByHand = true
}

// A Task is one that RunTask started.
type Task struct {
	ARN        string
	Cluster    string         // ARN
	Definition string         // ARN
	Request    map[string]any // the body of RunTask; it is not to be changed

	s         *Server
	scripted  bool
	script    Script
	described int
	hidden    bool
	version   int
	detail    object // as it is shown, with times as time.Time
	tags      []any
}

// Tasks returns all tasks, the oldest first.
func (s *Server) Tasks() []*Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tasks)
}

// TaskOf returns the newest task of a flow run, or nil.
func (s *Server) TaskOf(flowRunID string) *Task {
	for _, task := range slices.Backward(s.Tasks()) {
		if task.FlowRunID() == flowRunID {
			return task
		}
	}
	return nil
}

// ID is the last part of the task's ARN.
func (t *Task) ID() string { return lastPart(t.ARN) }

// FlowRunID is the flow run that the task's environment names, else its tag.
func (t *Task) FlowRunID() string {
	for _, container := range objects(nested(t.Request, "overrides")["containerOverrides"]) {
		for _, variable := range objects(container["environment"]) {
			if variable["name"] == "PREFECT__FLOW_RUN_ID" {
				return text(variable, "value")
			}
		}
	}
	return t.Tags()["prefect.io/flow-run-id"]
}

// Env is the environment that the request gives to a container; "" is the first
// one that is named.
func (t *Task) Env(container string) map[string]string {
	out := map[string]string{}
	for _, override := range objects(nested(t.Request, "overrides")["containerOverrides"]) {
		if container != "" && override["name"] != container {
			continue
		}
		for _, variable := range objects(override["environment"]) {
			out[text(variable, "name")] = text(variable, "value")
		}
		break
	}
	return out
}

// Tags are the task's tags.
func (t *Task) Tags() map[string]string {
	out := map[string]string{}
	for _, tag := range objects(t.tags) {
		out[text(tag, "key")] = text(tag, "value")
	}
	return out
}

// Status is the task's lastStatus.
func (t *Task) Status() string {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return text(t.detail, "lastStatus")
}

// Detail is the task as DescribeTasks shows it with its tags: lastStatus,
// desiredStatus, stopCode, stoppedReason, containers and so on.
func (t *Task) Detail() map[string]any {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return plain(t.show(true))
}

// Hide has AWS not know the task: as it is for a moment after RunTask, and an
// hour after the end.
func (t *Task) Hide() { t.hide(true) }

// Show ends Hide.
func (t *Task) Show() { t.hide(false) }

func (t *Task) hide(hidden bool) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.hidden = hidden
}

// Set brings the task into a status, and what belongs to it with it: containers,
// times, and of the statuses after RUNNING the stop code, the reason and exit
// code 0, or TaskFailedToStart without exit codes if it never ran. Changes are
// made on top. A script ends with it.
func (t *Task) Set(status string, changes ...Change) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	defer t.s.wake()
	if !slices.Contains(statuses, status) {
		t.s.t.Errorf("fakeaws: there is no status %q", status)
		return
	}
	t.scripted = false
	t.set(status, changes...)
}

func (t *Task) set(status string, changes ...Change) {
	move(t.detail, status, time.Now())
	for _, change := range changes {
		change(t.detail)
	}
	t.version++
	t.detail["version"] = t.version
	t.s.tell(t)
}

// step takes a scripted task on, each time that it is described.
func (t *Task) step() {
	t.described++
	switch {
	case !t.scripted:
	case t.described == 2:
		t.set("RUNNING")
	case t.described == 3 && !t.script.Hold:
		t.set("STOPPED", Exit(t.script.Code))
	}
}

// show is the task as ECS shows it.
func (t *Task) show(tags bool) object {
	out := withTimes(t.detail, seconds)
	out["tags"] = []any{}
	if tags {
		out["tags"] = t.tags
	}
	return out
}
