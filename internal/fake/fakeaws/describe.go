package fakeaws

import (
	"slices"
	"strings"
)

// findTask looks up an ARN or an id in a cluster.
func (s *Server) findTask(cluster, name string) (*Task, *Fault) {
	if n := len(lastPart(name)); n != 32 && n != 36 {
		return nil, invalid("taskId length should be one of [32,36]")
	}
	if parts := strings.Split(name, "/"); len(parts) == 3 && parts[1] != cluster {
		return nil, invalid("Invalid identifier: Identifier is for %s. Your cluster is %s", parts[1], cluster)
	}
	for _, task := range s.tasks {
		if lastPart(task.Cluster) == cluster && !task.hidden && (task.ARN == name || task.ID() == name) {
			return task, nil
		}
	}
	return nil, nil
}

func (s *Server) describeTasks(call Call) (any, *Fault) {
	cluster, refusal := s.cluster(text(call.Body, "cluster"))
	if refusal != nil {
		return nil, refusal
	}
	asked := texts(call.Body["tasks"])
	if len(asked) == 0 {
		return nil, invalid("Tasks cannot be empty.")
	}
	if len(asked) > 100 {
		return nil, invalid("Tasks cannot be more than 100.")
	}
	var found []*Task
	failures := []any{}
	for _, name := range asked {
		task, refusal := s.findTask(cluster, name)
		switch {
		case refusal != nil:
			return nil, refusal
		case task == nil:
			failures = append(failures, object{"arn": arnOf(cluster, name), "reason": "MISSING"})
		default:
			found = append(found, task)
		}
	}
	tasks, tags := []any{}, slices.Contains(texts(call.Body["include"]), "TAGS")
	for _, task := range found {
		task.step()
		tasks = append(tasks, task.show(tags))
	}
	return object{"tasks": tasks, "failures": failures}, nil
}

func arnOf(cluster, name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	return arn("ecs", "task/"+cluster+"/"+name)
}

// listTasks lists what is to run, or what is to stop.
func (s *Server) listTasks(call Call) (any, *Fault) {
	cluster, refusal := s.cluster(text(call.Body, "cluster"))
	if refusal != nil {
		return nil, refusal
	}
	startedBy := text(call.Body, "startedBy")
	for _, other := range []string{"family", "serviceName", "containerInstance", "desiredStatus", "launchType"} {
		if startedBy != "" && call.Body[other] != nil {
			return nil, invalid("startedBy cannot be combined with %s.", other)
		}
	}
	status, family := firstText(text(call.Body, "desiredStatus"), "RUNNING"), text(call.Body, "family")
	return page(call.Body, "taskArns", len(s.tasks), func(i int) string {
		task := s.tasks[i]
		inFamily := family == "" || strings.HasPrefix(lastPart(task.Definition), family+":")
		by := startedBy == "" || task.detail["startedBy"] == startedBy
		if lastPart(task.Cluster) == cluster && !task.hidden && task.detail["desiredStatus"] == status && inFamily && by {
			return task.ARN
		}
		return ""
	}), nil
}

func (s *Server) stopTask(call Call) (any, *Fault) {
	cluster, refusal := s.cluster(text(call.Body, "cluster"))
	if refusal != nil {
		return nil, refusal
	}
	task, refusal := s.findTask(cluster, text(call.Body, "task"))
	if refusal != nil {
		return nil, refusal
	}
	if task == nil {
		return nil, invalid("The referenced task was not found.")
	}
	if task.detail["desiredStatus"] != "STOPPED" {
		task.stop(text(call.Body, "reason"))
	}
	return object{"task": task.show(true)}, nil
}

// stop has a task stop for a user's reason.
func (t *Task) stop(reason string) {
	t.scripted = false
	because := func(detail map[string]any) {
		detail["desiredStatus"] = "STOPPED"
		detail["stopCode"], detail["stoppedReason"] = "UserInitiated", firstText(reason, "Task stopped by user")
	}
	if t.s.stopsByHand {
		t.set(text(t.detail, "lastStatus"), because)
		return
	}
	if t.detail["startedAt"] == nil {
		t.set("STOPPED", because)
		return
	}
	t.set("STOPPED", because, Exit(143))
}
