package awsfront

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"faber/internal/front"
)

// Limits of RunTask that ministack does not hold anybody to.
const (
	maxOverrides   = 8192
	maxStartedBy   = 128
	maxClientToken = 64
)

var startedByForm = regexp.MustCompile(`^[A-Za-z0-9/_-]*$`)

// runTask holds RunTask to AWS's limits and makes clientToken mean what it
// means on AWS: ministack ignores it and starts the task again. The tasks
// started are made known to the watch, so that none ends unseen.
func (f *Front) runTask(x *exchange) (*answer, error) {
	var in struct {
		Cluster     string          `json:"cluster"`
		ClientToken string          `json:"clientToken"`
		StartedBy   string          `json:"startedBy"`
		Overrides   json.RawMessage `json:"overrides"`
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	if err := checkRunTask(in.StartedBy, in.ClientToken, in.Overrides); err != nil {
		return nil, err
	}
	start := func() (*answer, error) { return f.startTasks(x, launchesOf(x.body)) }
	if in.ClientToken == "" {
		return start()
	}
	key := tokenKey{account: x.scope.accessKey, region: x.scope.region, cluster: clusterName(in.Cluster), token: in.ClientToken}
	return f.tokens.once(key, fingerprint(x.body), start, func(first *answer, arns []string) *answer {
		x.entry.SetEffect(front.EffectNo)
		return f.replay(x, first, arns)
	})
}

// startTasks makes the call, unless a fault has it fail or a quota is used up.
func (f *Front) startTasks(x *exchange, l launches) (*answer, error) {
	if failures := x.entry.Fault().Failures; len(failures) > 0 {
		x.entry.SetEffect(front.EffectNo)
		return answerJSON(map[string]any{"tasks": []any{}, "failures": failures})
	}
	if refused := f.quotas.launch(l); refused != "" {
		x.entry.SetRefusedBy(refused)
		return nil, &refusal{code: "ThrottlingException", message: "Rate exceeded"}
	}
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	arns := startedTasks(a.body)
	x.entry.SetTasks(arns)
	if len(arns) == 0 {
		x.entry.SetEffect(front.EffectNo)
	}
	f.watch.expect(arns)
	f.tasks.start(x, arns)
	return a, nil
}

// replay is the first answer as AWS gives it again: of a task that has stopped
// since, the ARN and the status alone.
func (f *Front) replay(x *exchange, first *answer, arns []string) *answer {
	if len(arns) == 0 {
		return first
	}
	var out struct {
		Tasks []map[string]any `json:"tasks"`
	}
	in := map[string]any{"cluster": clusterOf(arns[0]), "tasks": arns}
	ctx, cancel := context.WithTimeout(f.life, 30*time.Second)
	defer cancel()
	if err := f.callAs(ctx, x.scope, f.o.Ministack, "ecs", ecsTarget+"DescribeTasks", in, &out); err != nil {
		f.log.Warn("a repeated RunTask is answered as the first time: the emulator does not describe its tasks", "error", err)
		return first
	}
	alive := map[string]bool{}
	for _, task := range out.Tasks {
		f.tell(task)
		alive[str(task["taskArn"])] = task["lastStatus"] != "STOPPED"
	}
	return first.edit(func(v map[string]any) {
		list, _ := v["tasks"].([]any)
		for i, item := range list {
			task, _ := item.(map[string]any)
			if arn := str(task["taskArn"]); !alive[arn] {
				list[i] = map[string]any{"taskArn": arn, "lastStatus": "STOPPED"}
			}
		}
	})
}

func checkRunTask(startedBy, token string, overrides json.RawMessage) error {
	invalid := func(format string, args ...any) error {
		return &refusal{code: "InvalidParameterException", message: fmt.Sprintf(format, args...)}
	}
	// Counted as sent: compact, with the JSON's own characters. SDKs send it so.
	if n := utf8.RuneCount(overrides); n > maxOverrides {
		return invalid("Container Overrides length must be at most %d", maxOverrides)
	}
	if len(startedBy) > maxStartedBy {
		return invalid("startedBy longer than %d.", maxStartedBy)
	}
	if !startedByForm.MatchString(startedBy) {
		return invalid("startedBy contains invalid characters.")
	}
	if len(token) > maxClientToken {
		return invalid("clientToken longer than %d.", maxClientToken)
	}
	if strings.IndexFunc(token, func(r rune) bool { return r < '!' || r > '~' }) >= 0 {
		return invalid("clientToken contains invalid characters.")
	}
	return nil
}

// clusterName is the short name of a cluster given by name, ARN or not at all.
func clusterName(ref string) string {
	if ref == "" {
		return "default"
	}
	return ref[strings.LastIndexByte(ref, '/')+1:]
}

// fingerprint tells requests apart by their parameters, the token aside. Two
// encodings of the same parameters have the same one.
func fingerprint(body []byte) string {
	var v map[string]any
	if json.Unmarshal(body, &v) != nil {
		return string(body)
	}
	delete(v, "clientToken")
	data, err := json.Marshal(v) // Keys come out sorted.
	if err != nil {
		return string(body)
	}
	return string(data)
}

// startedTasks lists the task ARNs in an answer of RunTask.
func startedTasks(body []byte) []string {
	var out struct {
		Tasks []struct {
			TaskArn string `json:"taskArn"`
		} `json:"tasks"`
	}
	if json.Unmarshal(body, &out) != nil {
		return nil
	}
	arns := []string{}
	for _, t := range out.Tasks {
		arns = append(arns, t.TaskArn)
	}
	return arns
}

// replay is a copy of an answer under a request id of its own.
func (a *answer) replay() *answer {
	header := http.Header{}
	for name, values := range a.header {
		header[name] = append([]string(nil), values...)
	}
	return &answer{status: a.status, header: header, body: a.body}
}
