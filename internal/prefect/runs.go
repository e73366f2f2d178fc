package prefect

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"
)

// FilterFlowRuns sends a flow run filter as it is. The server's page size
// applies; "limit" and "offset" in the filter ask for more.
func (c *Client) FilterFlowRuns(ctx context.Context, filter map[string]any) ([]FlowRun, error) {
	if filter == nil {
		filter = map[string]any{}
	}
	var runs []FlowRun
	err := c.post(ctx, "/flow_runs/filter", filter, &runs)
	return runs, err
}

// CountFlowRuns counts the flow runs that a filter matches, which has the form of
// FilterFlowRuns's. What orders and limits a list there does not count here.
func (c *Client) CountFlowRuns(ctx context.Context, filter map[string]any) (int, error) {
	counted := maps.Clone(filter)
	maps.DeleteFunc(counted, func(name string, _ any) bool { return name == "sort" || name == "limit" || name == "offset" })
	var n int
	err := c.post(ctx, "/flow_runs/count", counted, &n)
	return n, err
}

// ReadFlowRun reads a flow run.
func (c *Client) ReadFlowRun(ctx context.Context, id string) (FlowRun, error) {
	var run FlowRun
	err := c.get(ctx, "/flow_runs/"+url.PathEscape(id), &run)
	return run, err
}

// ReadFlow reads a flow.
func (c *Client) ReadFlow(ctx context.Context, id string) (Flow, error) {
	var flow Flow
	err := c.get(ctx, "/flows/"+url.PathEscape(id), &flow)
	return flow, err
}

// ReadDeployment reads a deployment.
func (c *Client) ReadDeployment(ctx context.Context, id string) (Deployment, error) {
	var deployment Deployment
	err := c.get(ctx, "/deployments/"+url.PathEscape(id), &deployment)
	return deployment, err
}

// FlowRunStates reads the states a run went through, oldest first.
func (c *Client) FlowRunStates(ctx context.Context, id string) ([]State, error) {
	var states []State
	if err := c.get(ctx, "/flow_run_states/?flow_run_id="+url.QueryEscape(id), &states); err != nil {
		return nil, err
	}
	slices.SortStableFunc(states, func(a, b State) int { return moment(a).Compare(moment(b)) })
	return states, nil
}

func moment(s State) time.Time {
	if s.Timestamp == nil {
		return time.Time{}
	}
	return *s.Timestamp
}

// SetFlowRunState proposes a state. A missing transition id is made up once per
// call, so that HTTP retries of the call are the same proposal to the server.
// The server rejects a proposal that it has already taken, and answers with the
// state it made of it: to the caller, whose first answer was lost, that is an
// acceptance. It does not wait on WAIT.
func (c *Client) SetFlowRunState(ctx context.Context, id string, s State, force bool) (OrchestrationResult, error) {
	if s.Details.FlowRunID == "" {
		s.Details.FlowRunID = id
	}
	if s.Details.TransitionID == "" {
		s.Details.TransitionID = uuid.NewString()
	}
	s.ID, s.Timestamp = "", nil // the server's to give
	var result OrchestrationResult
	body := map[string]any{"state": s, "force": force}
	err := c.post(ctx, "/flow_runs/"+url.PathEscape(id)+"/set_state", body, &result)
	ours := result.State != nil && result.State.Type == s.Type && result.State.Details.TransitionID == s.Details.TransitionID
	if result.Status == StatusReject && ours {
		result.Status = StatusAccept
	}
	return result, err
}

// SetInfrastructurePID stores where a run's infrastructure is; nil clears it.
func (c *Client) SetInfrastructurePID(ctx context.Context, id string, pid *string) error {
	return c.patch(ctx, "/flow_runs/"+url.PathEscape(id), map[string]any{"infrastructure_pid": pid})
}

// AllowReschedule takes a run from the process that kept it for its own retries,
// so that workers get it again. The run must have been read, policy included: the
// server takes the policy as a whole.
func (c *Client) AllowReschedule(ctx context.Context, run FlowRun) error {
	policy, _ := run.Raw["empirical_policy"].(map[string]any)
	policy = maps.Clone(policy)
	if policy == nil {
		policy = map[string]any{}
	}
	policy["retry_type"] = "reschedule"
	return c.patch(ctx, "/flow_runs/"+url.PathEscape(run.ID), map[string]any{"empirical_policy": policy})
}

// SetLabels adds labels to a flow run.
func (c *Client) SetLabels(ctx context.Context, id string, labels map[string]string) error {
	return c.patch(ctx, "/flow_runs/"+url.PathEscape(id)+"/labels", labels)
}

// RenewConcurrencyLease makes a lease on concurrency slots end that long from
// now, which the server wants to be a minute to a day. A lease that has ended or
// was given back is a StatusError with code 410.
func (c *Client) RenewConcurrencyLease(ctx context.Context, leaseID string, duration time.Duration) error {
	body := map[string]any{"lease_duration": duration.Seconds()}
	return c.post(ctx, "/v2/concurrency_limits/leases/"+url.PathEscape(leaseID)+"/renew", body, nil)
}

// BlockDocument reads a block's data, secrets included. The values are json.RawMessage.
func (c *Client) BlockDocument(ctx context.Context, id string) (map[string]any, error) {
	return c.blockData(ctx, "/block_documents/"+url.PathEscape(id))
}

// BlockDocumentByName reads a block's data by type slug and name, as BlockDocument does.
func (c *Client) BlockDocumentByName(ctx context.Context, typeSlug, name string) (map[string]any, error) {
	return c.blockData(ctx, "/block_types/slug/"+url.PathEscape(typeSlug)+"/block_documents/name/"+url.PathEscape(name))
}

func (c *Client) blockData(ctx context.Context, path string) (map[string]any, error) {
	var document struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if err := c.get(ctx, path+"?include_secrets=true", &document); err != nil {
		return nil, err
	}
	data := make(map[string]any, len(document.Data))
	for name, value := range document.Data {
		data[name] = value
	}
	return data, nil
}

// Variable reads the value of a variable: any JSON value, as json.RawMessage.
func (c *Client) Variable(ctx context.Context, name string) (any, error) {
	var variable struct {
		Value json.RawMessage `json:"value"`
	}
	err := c.get(ctx, "/variables/name/"+url.PathEscape(name), &variable)
	return variable.Value, err
}

// SendLogs sends log lines.
func (c *Client) SendLogs(ctx context.Context, logs []Log) error {
	return c.post(ctx, "/logs/", c.wireLogs(logs), nil)
}

// wireLog is a log line with the id that Cloud gave the worker.
type wireLog struct {
	Log
	WorkerID string `json:"worker_id,omitempty"`
}

func (c *Client) wireLogs(logs []Log) []wireLog {
	wire := make([]wireLog, len(logs))
	for i, line := range logs {
		line.Timestamp = line.Timestamp.UTC()
		wire[i] = wireLog{line, c.WorkerID()}
	}
	return wire
}

// UnmarshalJSON reads a flow run and keeps the whole object in Raw.
func (r *FlowRun) UnmarshalJSON(data []byte) error {
	type plain FlowRun
	if err := decode(data, (*plain)(r)); err != nil {
		return err
	}
	r.Raw = nil
	return decode(data, &r.Raw)
}

// UnmarshalJSON reads a flow and keeps the whole object in Raw.
func (f *Flow) UnmarshalJSON(data []byte) error {
	type plain Flow
	if err := decode(data, (*plain)(f)); err != nil {
		return err
	}
	f.Raw = nil
	return decode(data, &f.Raw)
}

var _ json.Unmarshaler = (*FlowRun)(nil)
