package prefect

import (
	"context"
)

// FilterFlowRuns sends a flow run filter as it is.
func (c *Client) FilterFlowRuns(ctx context.Context, filter map[string]any) ([]FlowRun, error) {
	return nil, errDraft
}

// ReadFlowRun reads a flow run.
func (c *Client) ReadFlowRun(ctx context.Context, id string) (FlowRun, error) {
	return FlowRun{}, errDraft
}

// ReadFlow reads a flow.
func (c *Client) ReadFlow(ctx context.Context, id string) (Flow, error) { return Flow{}, errDraft }

// ReadDeployment reads a deployment.
func (c *Client) ReadDeployment(ctx context.Context, id string) (Deployment, error) {
	return Deployment{}, errDraft
}

// FlowRunStates reads the states a run went through, oldest first.
func (c *Client) FlowRunStates(ctx context.Context, id string) ([]State, error) { return nil, errDraft }

// SetFlowRunState proposes a state. A missing transition id is made up once per
// call, so that HTTP retries of the call are the same proposal to the server.
// It does not wait on WAIT.
func (c *Client) SetFlowRunState(ctx context.Context, id string, s State, force bool) (OrchestrationResult, error) {
	return OrchestrationResult{}, errDraft
}

// SetInfrastructurePID stores where a run's infrastructure is; nil clears it.
func (c *Client) SetInfrastructurePID(ctx context.Context, id string, pid *string) error {
	return errDraft
}

// SetLabels adds labels to a flow run.
func (c *Client) SetLabels(ctx context.Context, id string, labels map[string]string) error {
	return errDraft
}

// BlockDocument reads a block's data, secrets included.
func (c *Client) BlockDocument(ctx context.Context, id string) (map[string]any, error) {
	return nil, errDraft
}

// BlockDocumentByName reads a block's data by type slug and name, secrets included.
func (c *Client) BlockDocumentByName(ctx context.Context, typeSlug, name string) (map[string]any, error) {
	return nil, errDraft
}

// Variable reads the value of a variable: any JSON value.
func (c *Client) Variable(ctx context.Context, name string) (any, error) { return nil, errDraft }

// SendLogs sends log lines.
func (c *Client) SendLogs(ctx context.Context, logs []Log) error { return errDraft }

// Version reads the server's version.
func (c *Client) Version(ctx context.Context) (string, error) { return "", errDraft }

// CheckVersion compares the server's version with the client's: another major
// version is an ErrIncompatible, an older server is logged. Cloud is not asked.
func (c *Client) CheckVersion(ctx context.Context) error { return errDraft }

// CheckAccess tries once, within five seconds, whether the API lets this client
// in. A refusal is an *AccessError; no answer at all is an ErrUnreachable.
func (c *Client) CheckAccess(ctx context.Context) error { return errDraft }
