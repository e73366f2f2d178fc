package fakeprefect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// ask makes one call and decodes its answer.
func ask(t *testing.T, s *Server, method, path, body string, into any) int {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, "/api"+path, strings.NewReader(body)))
	if into != nil {
		if err := json.NewDecoder(bytes.NewReader(w.Body.Bytes())).Decode(into); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return w.Code
}

// withRun is a server with one pool, flow, deployment and scheduled run.
func withRun(t *testing.T) (*Server, FlowRun) {
	t.Helper()
	s := New()
	s.AddPool(Pool{Name: "pool", Type: "ecs"})
	flow := s.AddFlow(Flow{Name: "flow"})
	deployment := s.AddDeployment(Deployment{Name: "deployment", FlowID: flow.ID, WorkPoolName: "pool"})
	return s, s.AddRun(FlowRun{Name: "run", FlowID: flow.ID, DeploymentID: &deployment.ID, WorkPoolName: "pool"})
}

// TestTransitions walks a run through states. What is wanted was recorded from a
// Prefect 3.8.8 server.
func TestTransitions(t *testing.T) {
	t.Parallel()
	s, run := withRun(t)
	for i, step := range []struct{ typ, name, transition, status, reason string }{
		{"PENDING", "Pending", "1", "ACCEPT", ""},
		{"PENDING", "Pending", "1", "REJECT", "This run has already made this state transition."},
		{"PENDING", "Pending", "2", "ABORT", "This run is in a PENDING state and cannot transition to a PENDING state."},
		{"PENDING", "Submitting", "3", "ACCEPT", ""},
		{"PENDING", "Pending", "4", "ABORT", "This run is in a PENDING state and cannot transition to a PENDING state."},
		{"PENDING", "InfrastructurePending", "5", "ACCEPT", ""},
		{"RUNNING", "Running", "6", "ACCEPT", ""},
		{"PENDING", "Submitting", "7", "ABORT", "This run is in a RUNNING state and cannot transition to a PENDING state."},
		{"CRASHED", "Crashed", "8", "ACCEPT", ""},
		{"CRASHED", "Crashed", "9", "ABORT", "Run is already in terminal state CRASHED."},
		{"SCHEDULED", "AwaitingRetry", "10", "ACCEPT", ""},
		{"PENDING", "Pending", "10b", "ACCEPT", ""},
		{"RUNNING", "Running", "10c", "ACCEPT", ""},
		{"CANCELLING", "Cancelling", "11", "ACCEPT", ""},
		{"CRASHED", "Crashed", "12", "REJECT", "Cannot transition flows that are cancelling to a state other than Cancelled."},
		{"PENDING", "Pending", "12b", "REJECT", "Cannot transition flows that are cancelling to a state other than Cancelled."},
		{"CANCELLED", "Cancelled", "13", "ACCEPT", ""},
		{"SCHEDULED", "Scheduled", "13b", "ACCEPT", ""},
		{"CANCELLING", "Cancelling", "13c", "REJECT", "Scheduled flow run has no infrastructure to terminate."},
		{"PENDING", "Pending", "14", "ABORT", "This run is in a CANCELLED state and cannot transition to a PENDING state."},
	} {
		body := fmt.Sprintf(`{"state": {"type": %q, "name": %q, "message": null, "state_details": {"transition_id": %q}}, "force": false}`, step.typ, step.name, step.transition)
		var got answer
		if code := ask(t, s, http.MethodPost, "/flow_runs/"+run.ID+"/set_state", body, &got); code != http.StatusCreated {
			t.Fatalf("step %d: status %d", i, code)
		}
		if got.Status != step.status || got.Details.Reason != step.reason {
			t.Errorf("step %d, to %s: got %s %q, want %s %q", i, step.name, got.Status, got.Details.Reason, step.status, step.reason)
		}
	}
	if now, _ := s.Run(run.ID); now.StateType != "CANCELLED" || len(s.States(run.ID)) != 13 {
		t.Errorf("the run ended as %s after %d states", now.StateType, len(s.States(run.ID)))
	}
}

// TestAdHocRunIsNotRescheduled holds the rule that is for runs without a
// deployment alone.
func TestAdHocRunIsNotRescheduled(t *testing.T) {
	t.Parallel()
	s := New()
	s.AddPool(Pool{Name: "pool", Type: "ecs"})
	run := s.AddRun(FlowRun{Name: "run", FlowID: s.AddFlow(Flow{Name: "flow"}).ID, WorkPoolName: "pool"})
	if err := s.Become(run.ID, "CRASHED", "Crashed"); err != nil {
		t.Fatal(err)
	}
	var got answer
	ask(t, s, http.MethodPost, "/flow_runs/"+run.ID+"/set_state", `{"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}}`, &got)
	if got.Status != "ABORT" || got.Details.Reason != "Cannot reschedule a run without an associated deployment." {
		t.Errorf("got %s %q", got.Status, got.Details.Reason)
	}
}

func TestScheduledRuns(t *testing.T) {
	t.Parallel()
	s, run := withRun(t)
	later := Time{time.Now().Add(time.Hour)}
	s.AddRun(FlowRun{Name: "later", FlowID: run.FlowID, WorkPoolName: "pool", NextScheduledStart: &later})
	poll := func(before time.Time, layout string) (names []string) {
		var due []struct {
			FlowRun struct {
				Name  string `json:"name"`
				State *State `json:"state"`
			} `json:"flow_run"`
		}
		body := fmt.Sprintf(`{"work_queue_names": [], "scheduled_before": %q}`, before.UTC().Format(layout))
		ask(t, s, http.MethodPost, "/work_pools/pool/get_scheduled_flow_runs", body, &due)
		for _, d := range due {
			if d.FlowRun.State != nil {
				t.Error("a polled run has its state")
			}
			names = append(names, d.FlowRun.Name)
		}
		return names
	}
	if got := poll(time.Now().Add(time.Minute), time.RFC3339Nano); strings.Join(got, " ") != "run" {
		t.Errorf("due in a minute: %q", got)
	}
	if got := poll(time.Now().Add(2*time.Hour), "2006-01-02 15:04:05.000000+00:00"); strings.Join(got, " ") != "run later" {
		t.Errorf("due in two hours: %q", got)
	}
	if err := s.Become(run.ID, "PENDING", "Pending"); err != nil {
		t.Fatal(err)
	}
	if got := poll(time.Now().Add(time.Minute), time.RFC3339Nano); len(got) != 0 {
		t.Errorf("a claimed run is still polled: %q", got)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s, _ := withRun(t)
	for _, path := range []string{
		"/work_pools/other", "/flows/x", "/deployments/x", "/flow_runs/x", "/block_documents/x",
		"/block_types/slug/secret/block_documents/name/x", "/variables/name/x", "/work_pools/pool/workers/connect",
	} {
		if code := ask(t, s, http.MethodGet, path, "", nil); code != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, code)
		}
	}
	if code := ask(t, s, http.MethodPost, "/flow_runs/filter", `{"flow_runs": {"name": {"any_": ["x"]}}}`, nil); code != http.StatusUnprocessableEntity {
		t.Errorf("a filter that the fake does not understand: %d", code)
	}
}

// TestCallsAreRecorded also holds that a name is taken out of the path as it was
// meant, and that Until sees the call.
func TestCallsAreRecorded(t *testing.T) {
	t.Parallel()
	s := New()
	s.AddPool(Pool{Name: "my 🦊 pool", Type: "ecs"})
	var pool Pool
	ask(t, s, http.MethodGet, "/work_pools/my%20%F0%9F%A6%8A%20pool", "", &pool)
	if pool.Name != "my 🦊 pool" || pool.Created.IsZero() {
		t.Errorf("read pool %+v", pool)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPatch, "/api/work_pools/my%20%F0%9F%A6%8A%20pool", strings.NewReader(`{"base_job_template": {"variables": {}}}`)))
	if err := s.Until(ctx, func() bool { return len(s.Calls()) == 2 }); err != nil {
		t.Fatal(err)
	}
	call := s.Calls()[1]
	if call.Method != http.MethodPatch || call.Path != "/work_pools/my%20%F0%9F%A6%8A%20pool" || call.Status != http.StatusNoContent {
		t.Errorf("recorded %s %s %d", call.Method, call.Path, call.Status)
	}
	ask(t, s, http.MethodGet, "/work_pools/my%20%F0%9F%A6%8A%20pool", "", &pool)
	if string(pool.BaseJobTemplate) != `{"variables":{}}` {
		t.Errorf("template %s", pool.BaseJobTemplate)
	}
}
