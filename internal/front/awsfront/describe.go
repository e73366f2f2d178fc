package awsfront

import (
	"encoding/json"
	"strings"

	"faber/internal/front"
)

// describeTasks leaves out what nobody may see, and tells invented ends.
func (f *Front) describeTasks(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		list, _ := v["tasks"].([]any)
		failures, _ := v["failures"].([]any)
		shown := []any{}
		for _, item := range list {
			task, ok := item.(map[string]any)
			if !ok {
				continue
			}
			arn := str(task["taskArn"])
			f.tasks.see(x.scope, arn, runOf(task))
			if f.tasks.isHidden(arn) {
				failures = append(failures, map[string]any{"arn": arn, "reason": "MISSING"})
				continue
			}
			f.tell(task)
			shown = append(shown, task)
		}
		v["tasks"] = shown
		if failures != nil {
			v["failures"] = failures
		}
	}), nil
}

// tell puts an invented end over a task and takes note of every end.
func (f *Front) tell(task map[string]any) {
	f.tasks.tell(task)
	if task["lastStatus"] == "STOPPED" {
		f.tokens.stopped(str(task["taskArn"]))
	}
}

// runOf is the flow run that a task's overrides or tags name.
func runOf(task map[string]any) string {
	data, err := json.Marshal([]any{task["overrides"], task["tags"]})
	if err != nil {
		return ""
	}
	if runs := front.RunsIn("", data); len(runs) > 0 {
		return runs[0]
	}
	return ""
}

// listTasks holds ListTasks to AWS's rule that startedBy is a filter of its own,
// which ministack does not have, and leaves out what nobody may see.
func (f *Front) listTasks(x *exchange) (*answer, error) {
	in := map[string]any{}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	for _, other := range []string{"containerInstance", "family", "serviceName", "desiredStatus", "launchType"} {
		if in["startedBy"] != nil && in[other] != nil {
			return nil, &refusal{code: "InvalidParameterException", message: "cannot specify startedBy with other arguments"}
		}
	}
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		list, _ := v["taskArns"].([]any)
		shown := []any{}
		for _, arn := range list {
			f.tasks.see(x.scope, str(arn), "")
			if !f.tasks.isHidden(str(arn)) {
				shown = append(shown, arn)
			}
		}
		v["taskArns"] = shown
	}), nil
}

// stopTask does not find what nobody may see, and tells invented ends.
func (f *Front) stopTask(x *exchange) (*answer, error) {
	var in struct {
		Cluster string `json:"cluster"`
		Task    string `json:"task"`
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	f.tasks.mu.Lock()
	k := f.tasks.find(in.Task)
	f.tasks.mu.Unlock()
	if k != nil && f.tasks.isHidden(k.arn) {
		return nil, &refusal{code: "InvalidParameterException", message: "The referenced task was not found."}
	}
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		if task, ok := v["task"].(map[string]any); ok {
			f.tell(task)
		}
	}), nil
}

// runs finds the flow runs of a call: those it names, and those of its tasks.
func (f *Front) runs(path string, body []byte) []string {
	if runs := front.RunsIn(path, body); len(runs) > 0 {
		return runs
	}
	var in struct {
		Task  string   `json:"task"`
		Tasks []string `json:"tasks"`
	}
	if len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &in) != nil {
		return nil
	}
	if in.Task != "" {
		in.Tasks = append(in.Tasks, in.Task)
	}
	return f.tasks.runsOf(in.Tasks)
}

// clusterOf is the cluster in a task's ARN, task/<cluster>/<id>, or "".
func clusterOf(arn string) string {
	if part := strings.Split(arn, "/"); len(part) == 3 {
		return part[1]
	}
	return ""
}
