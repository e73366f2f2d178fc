//go:build chaos

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

type object = map[string]any

// A client asks a Prefect server as Prefect's own client does, past the front. The
// server takes the release out of the user agent: it treats old clients otherwise.
type client struct {
	url  string // with /api
	http *http.Client
}

func newClient(server string) *client {
	return &client{server + "/api", &http.Client{Timeout: 90 * time.Second}}
}

// once asks once; status 0 is no answer.
func (c *client) once(ctx context.Context, method, path string, body any) (int, []byte) {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, []byte(err.Error())
		}
		reader = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, reader)
	if err != nil {
		return 0, []byte(err.Error())
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "prefect/3.8.8 (API 0.8.4)")
	response, err := c.http.Do(request)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return response.StatusCode, answer
}

// errStatus is an answer that is no success.
type errStatus struct {
	status int
	text   string
}

func (e errStatus) Error() string { return fmt.Sprintf("%d %s", e.status, e.text) }

// call asks until there is an answer: the server answers 503 while its SQLite file
// is busy, and nothing while it is down.
func (c *client) call(ctx context.Context, method, path string, body, into any) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		status, answer := c.once(ctx, method, path, body)
		switch {
		case status == 0, status == http.StatusServiceUnavailable:
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
				return fmt.Errorf("%s %s: %s", method, path, answer)
			}
		case status >= http.StatusBadRequest:
			return fmt.Errorf("%s %s: %w", method, path, errStatus{status, string(answer)})
		case into == nil:
			return nil
		default:
			return json.Unmarshal(answer, into)
		}
	}
}

// flowRun is a run as far as the suite looks at it.
type flowRun struct {
	ID           string `json:"id"`
	DeploymentID string `json:"deployment_id"`
	PID          string `json:"infrastructure_pid"`
	StateType    string `json:"state_type"`
	StateName    string `json:"state_name"`
	State        state  `json:"state"`
}

func (r flowRun) final() bool { return isFinal(r.StateType) }

func isFinal(typ string) bool {
	return slices.Contains([]string{"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}, typ)
}

// state is a state of a run as the server keeps it.
type state struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Name      string    `json:"name"`
	Message   string    `json:"message"`
	Timestamp time.Time `json:"timestamp"`
	Details   object    `json:"state_details"`
}

func (s state) String() string {
	if s.Type == strings.ToUpper(s.Name) {
		return s.Name
	}
	return s.Name + " (" + s.Type + ")"
}

// answer is what set_state says.
type answer struct {
	Status  string `json:"status"`
	State   state  `json:"state"`
	Details object `json:"details"`
}

// propose proposes a state of a run.
func (c *client) propose(ctx context.Context, run string, state object) (answer, error) {
	var said answer
	err := c.call(ctx, "POST", "/flow_runs/"+run+"/set_state", object{"state": state}, &said)
	return said, err
}

// ask is call for the scenario itself, which cannot go on without.
func (p *play) ask(method, path string, body, into any) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 2*time.Minute)
	defer cancel()
	if err := p.client.call(ctx, method, path, body, into); err != nil {
		p.fatal("%v", err)
	}
}

// readRuns are runs as they are, by id; those that are deleted are missing.
func (p *play) readRuns(ids []string) map[string]flowRun {
	p.Helper()
	out := map[string]flowRun{}
	for page := range slices.Chunk(ids, 200) {
		var list []flowRun
		p.ask("POST", "/flow_runs/filter", object{"flow_runs": object{"id": object{"any_": page}}, "limit": 200}, &list)
		for _, run := range list {
			out[run.ID] = run
		}
	}
	return out
}

// history is the run's states, oldest first.
func (p *play) history(run string) []state {
	p.Helper()
	var list []state
	p.ask("GET", "/flow_run_states/?flow_run_id="+run, nil, &list)
	slices.SortStableFunc(list, func(x, y state) int { return x.Timestamp.Compare(y.Timestamp) })
	return list
}

// logLines is what the run's log says.
func (p *play) logLines(run string) []string {
	p.Helper()
	var list []struct {
		Message string `json:"message"`
	}
	p.ask("POST", "/logs/filter", object{"logs": object{"flow_run_id": object{"any_": []string{run}}}, "sort": "TIMESTAMP_ASC", "limit": 200}, &list)
	var out []string
	for _, line := range list {
		out = append(out, line.Message)
	}
	return out
}
