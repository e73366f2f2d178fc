package fakeaws

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// A Failure is one of the `failures` in an answer.
type Failure struct {
	ARN    string `json:"arn,omitempty"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Failures has RunTask answer with these and start nothing, until it is called
// without any. A client token that was answered so is answered so again. For a
// number of calls alone, use a Fault with an Answer.
func (s *Server) Failures(failures ...Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = failures
}

// token is what a client token was used for, and what it was answered.
type token struct {
	parameters string
	tasks      []*Task
	failures   []Failure
}

// ForgetTokens has AWS forget all client tokens, as it does after an hour or a
// day.
func (s *Server) ForgetTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

func (s *Server) cluster(name string) (string, *Fault) {
	if name = lastPart(firstText(name, "default")); !s.clusters[name] {
		return "", &Fault{Code: "ClusterNotFoundException", Message: "Cluster not found."}
	}
	return name, nil
}

func (s *Server) runTask(call Call) (any, *Fault) {
	cluster, refusal := s.cluster(text(call.Body, "cluster"))
	if refusal != nil {
		return nil, refusal
	}
	key := cluster + " " + text(call.Body, "clientToken")
	encoded, err := json.Marshal(call.Body)
	if err != nil {
		return nil, invalid("%v", err)
	}
	used := text(call.Body, "clientToken") != ""
	if known := s.tokens[key]; used && known != nil {
		if known.parameters != string(encoded) {
			return nil, known.conflict()
		}
		return known.answer(), nil
	}
	d := s.findDefinition(text(call.Body, "taskDefinition"))
	if d == nil {
		return nil, client("TaskDefinition not found.")
	}
	if refusal := checkRun(call.Body, d); refusal != nil {
		return nil, refusal
	}
	result := &token{parameters: string(encoded), failures: s.failures}
	if len(s.failures) == 0 {
		for range number(call.Body, "count", 1) {
			result.tasks = append(result.tasks, s.start(cluster, d, call.Body))
		}
	}
	if used {
		s.tokens[key] = result
	}
	return result.answer(), nil
}

func (k *token) answer() object {
	tasks, failures := []any{}, []any{}
	for _, task := range k.tasks {
		tasks = append(tasks, task.show(true))
	}
	for _, failure := range k.failures {
		failures = append(failures, failure)
	}
	return object{"tasks": tasks, "failures": failures}
}

func (k *token) conflict() *Fault {
	ids := []any{}
	for _, task := range k.tasks {
		ids = append(ids, task.ARN)
	}
	return &Fault{
		Code:    "ConflictException",
		Message: "The clientToken was used with other parameters.",
		Fields:  object{"resourceIds": ids},
	}
}

func (s *Server) start(cluster string, d *Definition, request object) *Task {
	s.started++
	id := fmt.Sprintf("%032x", s.started)
	task := &Task{
		ARN:     arn("ecs", "task/"+cluster+"/"+id),
		Cluster: arn("ecs", "cluster/"+cluster), Definition: d.ARN, Request: request, s: s, version: 1,
	}
	task.tags = taskTags(request, d)
	task.detail = newDetail(task, d, s.network.zoneOf(request))
	task.script, task.scripted = s.scripts[task.FlowRunID()]
	if !task.scripted {
		task.script, task.scripted = s.scripts[""]
	}
	s.tasks = append(s.tasks, task)
	s.writeLog(d, task)
	s.tell(task)
	s.begin(task)
	return task
}

// taskTags are the request's, and the definition's if they are to be propagated.
func taskTags(request object, d *Definition) []any {
	tags, _ := request["tags"].([]any)
	tags = append([]any{}, tags...)
	if text(request, "propagateTags") != "TASK_DEFINITION" {
		return tags
	}
	for _, tag := range objects(d.Body["tags"]) {
		if !slices.ContainsFunc(objects(tags), func(own object) bool { return own["key"] == tag["key"] }) {
			tags = append(tags, tag)
		}
	}
	return tags
}

func newDetail(task *Task, d *Definition, zone string) object {
	now := time.Now()
	overrides := plain(nested(task.Request, "overrides"))
	detail := object{
		"taskArn": task.ARN, "clusterArn": task.Cluster, "taskDefinitionArn": task.Definition,
		"attachments": []any{}, "attributes": []any{object{"name": "ecs.cpu-architecture", "value": "x86_64"}},
		"availabilityZone": zone, "createdAt": now, "updatedAt": now, "version": task.version,
		"lastStatus": "PROVISIONING", "desiredStatus": "RUNNING", "enableExecuteCommand": task.Request["enableExecuteCommand"] == true,
		"group":      firstText(text(task.Request, "group"), "family:"+d.Family),
		"cpu":        firstText(text(overrides, "cpu"), text(d.Body, "cpu"), "0"),
		"memory":     firstText(text(overrides, "memory"), text(d.Body, "memory"), "0"),
		"containers": containersOf(task, d, overrides), "overrides": overrides,
	}
	if by := text(task.Request, "startedBy"); by != "" {
		detail["startedBy"] = by
	}
	place(detail, task.Request)
	return detail
}

// place says where a task runs.
func place(detail, request object) {
	detail["launchType"] = firstText(text(request, "launchType"), "EC2")
	if strategy := objects(request["capacityProviderStrategy"]); len(strategy) > 0 {
		detail["capacityProviderName"] = strategy[0]["capacityProvider"]
		detail["launchType"] = "FARGATE"
	}
	if detail["launchType"] == "FARGATE" {
		detail["platformVersion"], detail["platformFamily"] = "1.4.0", "Linux"
	}
}

// containersOf makes a task's containers. AWS names each of them in the
// overrides as well.
func containersOf(task *Task, d *Definition, overrides object) []any {
	containers := []any{}
	list, _ := overrides["containerOverrides"].([]any)
	for _, container := range objects(d.Body["containerDefinitions"]) {
		name := text(container, "name")
		containers = append(containers, object{
			"containerArn": arn("ecs", "container/"+lastPart(task.Cluster)+"/"+task.ID()+"/"+name),
			"taskArn":      task.ARN, "name": name, "image": container["image"], "lastStatus": "PENDING", "networkInterfaces": []any{}, "cpu": "0",
		})
		if !slices.ContainsFunc(objects(list), func(o object) bool { return o["name"] == name }) {
			list = append(list, object{"name": name})
		}
	}
	if list != nil {
		overrides["containerOverrides"] = list
	}
	setDefault(overrides, "inferenceAcceleratorOverrides", []any{})
	return containers
}
