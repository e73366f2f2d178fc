package front

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// maxRuns is how many flow runs a call can be found to concern.
const maxRuns = 200

var runInPath = regexp.MustCompile(`/flow_runs/([0-9A-Fa-f-]{36})(?:/|$)`)

// RunsIn finds the flow runs that a call names: in its path, in fields of its
// body, in an environment or a tag there, or in a filter by id.
func RunsIn(path string, body []byte) []string {
	runs := runSet{}
	if m := runInPath.FindStringSubmatch(path); m != nil {
		runs.add(m[1])
	}
	body = bytes.TrimSpace(body)
	if len(body) > 0 && (body[0] == '{' || body[0] == '[') {
		var v any
		if json.Unmarshal(body, &v) == nil {
			runs.walk(v)
		}
	}
	return runs
}

// runSet lists each run once, in the order in which they were found.
type runSet []string

func (s *runSet) add(v any) {
	id, ok := v.(string)
	if ok && len(id) == 36 && len(*s) < maxRuns && !slices.Contains(*s, strings.ToLower(id)) {
		*s = append(*s, strings.ToLower(id))
	}
}

// names of a flow run's id: a field, a variable, a tag.
func namesRun(name string) bool {
	switch name {
	case "flow_run_id", "flowRunId", "PREFECT__FLOW_RUN_ID", "prefect.io/flow-run-id":
		return true
	default:
		return false
	}
}

func (s *runSet) walk(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			s.walk(item)
		}
	case map[string]any:
		for name, value := range v {
			switch {
			case namesRun(name):
				s.add(value)
				s.filter(value)
			case name == "flow_runs":
				if filter, ok := value.(map[string]any); ok {
					s.filter(filter["id"])
				}
			}
			s.walk(value)
		}
		for _, key := range []string{"name", "key", "Key"} {
			if name, ok := v[key].(string); ok && namesRun(name) {
				s.add(v["value"])
				s.add(v["Value"])
			}
		}
	}
}

// filter takes the ids of a filter: {"any_": [...]}.
func (s *runSet) filter(v any) {
	object, _ := v.(map[string]any)
	list, _ := object["any_"].([]any)
	for _, id := range list {
		s.add(id)
	}
}
