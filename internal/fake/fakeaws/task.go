package fakeaws

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Script is how the tasks of a flow run live: they are PROVISIONING when they
// are made, RUNNING when they were described once, and STOPPED with Code when
// they were described again, unless they Hold. A task without a script stays as
// it is until the test sets it.
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

// A Failure is one of the `failures` in RunTask's answer.
type Failure struct {
	ARN    string `json:"arn,omitempty"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Failures has RunTask answer with these and start nothing, until it is called
// without any.
func (s *Server) Failures(failures ...Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = failures
}

// A Task is one that RunTask started.
type Task struct {
	ARN        string
	Cluster    string // ARN
	Definition string // ARN
	Request    map[string]any

	s        *Server
	scripted bool
	script   Script
	seen     int    // descriptions
	state    object // laid over what DescribeTasks answers
}

// token is what a client token was used for.
type token struct {
	parameters string
	task       *Task
}

// Tasks returns all tasks, the oldest first.
func (s *Server) Tasks() []*Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tasks)
}

// FlowRunID is the flow run that the task's overrides name.
func (t *Task) FlowRunID() string {
	for _, container := range objects(nested(t.Request, "overrides")["containerOverrides"]) {
		for _, variable := range objects(container["environment"]) {
			if variable["name"] == "PREFECT__FLOW_RUN_ID" {
				return text(variable, "value")
			}
		}
	}
	return ""
}

func (s *Server) cluster(name string) (string, *Fault) {
	if name == "" {
		name = "default"
	}
	if name = lastPart(name); !s.clusters[name] {
		return "", &Fault{Code: "ClusterNotFoundException", Message: "Cluster not found."}
	}
	return name, nil
}

func (s *Server) runTask(body object) (any, *Fault) {
	cluster, refusal := s.cluster(text(body, "cluster"))
	if refusal != nil {
		return nil, refusal
	}
	key := cluster + " " + text(body, "clientToken")
	encoded, _ := json.Marshal(body) // it was decoded
	if known, ok := s.tokens[key]; ok {
		if known.parameters != string(encoded) {
			return nil, &Fault{Code: "ConflictException", Message: known.task.ARN}
		}
		return object{"tasks": []any{known.task.answer()}, "failures": []any{}}, nil
	}
	d := s.findDefinition(text(body, "taskDefinition"))
	if d == nil {
		return nil, &Fault{Code: "ClientException", Message: "TaskDefinition not found."}
	}
	if d.Status != "ACTIVE" {
		return nil, &Fault{Code: "ClientException", Message: "TaskDefinition is inactive"}
	}
	if len(s.failures) > 0 {
		return object{"tasks": []any{}, "failures": s.failures}, nil
	}
	task := s.start(cluster, d, body)
	s.tokens[key] = token{string(encoded), task}
	return object{"tasks": []any{task.answer()}, "failures": []any{}}, nil
}

func (s *Server) start(cluster string, d *Definition, body object) *Task {
	task := &Task{
		ARN:     arn("ecs", fmt.Sprintf("task/%s/%032x", cluster, len(s.tasks)+1)),
		Cluster: arn("ecs", "cluster/"+cluster), Definition: d.ARN, Request: body, s: s,
	}
	task.script, task.scripted = s.scripts[task.FlowRunID()]
	if !task.scripted {
		task.script, task.scripted = s.scripts[""]
	}
	s.tasks = append(s.tasks, task)
	s.writeLog(d, task)
	return task
}

// answer is the task as DescribeTasks shows it.
func (t *Task) answer() object {
	now := float64(time.Now().Unix())
	out := object{
		"taskArn": t.ARN, "clusterArn": t.Cluster, "taskDefinitionArn": t.Definition, "createdAt": now, "lastStatus": "PROVISIONING", "desiredStatus": "RUNNING",
		"overrides": t.Request["overrides"], "tags": t.Request["tags"], "startedBy": t.Request["startedBy"], "memory": "2048",
		"containers": []any{object{"name": "prefect", "lastStatus": "PENDING"}},
	}
	state := t.state
	switch {
	case state != nil || !t.scripted:
	case t.seen == 1, t.script.Hold && t.seen > 1:
		state = object{"lastStatus": "RUNNING", "startedAt": now}
	case t.seen > 1:
		t.state = stopped("EssentialContainerExited", "Essential container in task exited", t.script.Code)
		state = t.state
	}
	maps.Copy(out, state)
	return out
}

func stopped(code, reason string, exit int) object {
	now := float64(time.Now().Unix())
	return object{
		"lastStatus": "STOPPED", "desiredStatus": "STOPPED", "stopCode": code, "stoppedReason": reason, "startedAt": now, "stoppedAt": now,
		"containers": []any{object{"name": "prefect", "exitCode": exit, "lastStatus": "STOPPED"}},
	}
}

func (s *Server) findTask(name string) *Task {
	for _, task := range s.tasks {
		if task.ARN == name || lastPart(task.ARN) == name {
			return task
		}
	}
	return nil
}

func (s *Server) describeTasks(body object) (any, *Fault) {
	if _, refusal := s.cluster(text(body, "cluster")); refusal != nil {
		return nil, refusal
	}
	asked := texts(body["tasks"])
	if len(asked) > 100 {
		return nil, &Fault{Code: "InvalidParameterException", Message: "Tasks cannot be more than 100."}
	}
	tasks, failures := []any{}, []any{}
	for _, name := range asked {
		if strings.Contains(name, "bad_id") {
			return nil, &Fault{Code: "InvalidParameterException", Message: "taskId length should be one of [32,36]"}
		}
		task := s.findTask(name)
		if task == nil {
			failures = append(failures, object{"arn": name, "reason": "MISSING"})
			continue
		}
		tasks = append(tasks, task.answer())
		task.seen++
	}
	return object{"tasks": tasks, "failures": failures}, nil
}

// listTasks answers two at a time, to make callers page.
func (s *Server) listTasks(body object) (any, *Fault) {
	cluster, refusal := s.cluster(text(body, "cluster"))
	if refusal != nil {
		return nil, refusal
	}
	var arns []string
	for _, task := range s.tasks {
		matches := body["startedBy"] == nil || task.Request["startedBy"] == body["startedBy"]
		if matches && lastPart(task.Cluster) == cluster && task.state["lastStatus"] != "STOPPED" && task.ARN > text(body, "nextToken") {
			arns = append(arns, task.ARN)
		}
	}
	if len(arns) > 2 {
		return object{"taskArns": arns[:2], "nextToken": arns[1]}, nil
	}
	return object{"taskArns": arns}, nil
}

func (s *Server) stopTask(body object) (any, *Fault) {
	task := s.findTask(text(body, "task"))
	if task == nil {
		return nil, &Fault{Code: "InvalidParameterException", Message: "The referenced task was not found."}
	}
	if task.state["lastStatus"] != "STOPPED" {
		task.state = stopped("UserInitiated", text(body, "reason"), 143)
	}
	return object{"task": task.answer()}, nil
}
