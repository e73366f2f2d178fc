package awsfront

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"
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
	start := func() (*answer, error) {
		a, err := x.forward()
		if err == nil && a.ok() {
			f.watch.expect(startedTasks(a.body))
		}
		return a, err
	}
	if in.ClientToken == "" {
		return start()
	}
	key := tokenKey{account: x.scope.accessKey, region: x.scope.region, cluster: clusterName(in.Cluster), token: in.ClientToken}
	return f.tokens.once(key, fingerprint(x.body), start)
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
