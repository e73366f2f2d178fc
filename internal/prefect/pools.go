package prefect

import (
	"context"
	"encoding/json"
	"time"
)

// ReadWorkPool reads a work pool by name; a missing one is an ErrNotFound.
func (c *Client) ReadWorkPool(ctx context.Context, name string) (WorkPool, error) {
	return WorkPool{}, errDraft
}

// CreateWorkPool creates a work pool. Without a template the server leaves it empty.
func (c *Client) CreateWorkPool(ctx context.Context, name, typ string, template json.RawMessage) (WorkPool, error) {
	return WorkPool{}, errDraft
}

// SetBaseJobTemplate replaces the template of a work pool.
func (c *Client) SetBaseJobTemplate(ctx context.Context, pool string, template json.RawMessage) error {
	return errDraft
}

// WorkQueues reads the queues of a pool: all of them when no name is given.
func (c *Client) WorkQueues(ctx context.Context, pool string, names []string) ([]WorkQueue, error) {
	return nil, errDraft
}

// Workers reads the workers of a pool.
func (c *Client) Workers(ctx context.Context, pool string) ([]WorkerInfo, error) {
	return nil, errDraft
}

// Heartbeat tells the server over REST that a worker is alive and will say so
// again after interval.
func (c *Client) Heartbeat(ctx context.Context, pool, worker string, interval time.Duration) error {
	return errDraft
}

// GetScheduledFlowRuns reads the runs of a pool that are due before a time, in
// the server's order. A limit of 0 leaves it to the server.
func (c *Client) GetScheduledFlowRuns(ctx context.Context, pool string, queues []string, before time.Time, limit int) ([]FlowRun, error) {
	return nil, errDraft
}
