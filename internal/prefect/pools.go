package prefect

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

func poolPath(pool, rest string) string { return "/work_pools/" + url.PathEscape(pool) + rest }

// ReadWorkPool reads a work pool by name; a missing one is an ErrNotFound.
func (c *Client) ReadWorkPool(ctx context.Context, name string) (WorkPool, error) {
	var pool WorkPool
	err := c.get(ctx, poolPath(name, ""), &pool)
	return pool, err
}

// CreateWorkPool creates a work pool. Without a template the server leaves it
// empty. A name that is taken is a *StatusError with code 409.
func (c *Client) CreateWorkPool(ctx context.Context, name, typ string, template json.RawMessage) (WorkPool, error) {
	body := map[string]any{"name": name, "type": typ}
	if template != nil {
		body["base_job_template"] = template
	}
	var pool WorkPool
	err := c.post(ctx, "/work_pools/", body, &pool)
	return pool, err
}

// SetBaseJobTemplate replaces the template of a work pool.
func (c *Client) SetBaseJobTemplate(ctx context.Context, pool string, template json.RawMessage) error {
	return c.patch(ctx, poolPath(pool, ""), map[string]any{"base_job_template": template})
}

// WorkQueues reads the queues of a pool: all of them when no name is given.
func (c *Client) WorkQueues(ctx context.Context, pool string, names []string) ([]WorkQueue, error) {
	body := map[string]any{"work_queues": nil}
	if len(names) > 0 {
		body["work_queues"] = map[string]any{"name": map[string]any{"any_": names}}
	}
	return pages(ctx, c, poolPath(pool, "/queues/filter"), body, func(q WorkQueue) string { return q.ID })
}

// Workers reads the workers of a pool, those offline included.
func (c *Client) Workers(ctx context.Context, pool string) ([]WorkerInfo, error) {
	return pages(ctx, c, poolPath(pool, "/workers/filter"), map[string]any{}, func(w WorkerInfo) string { return w.ID })
}

// pages reads a list to its end. How many items make a page is the server's
// setting, so only a page without news ends it.
func pages[T any](ctx context.Context, c *Client, path string, body map[string]any, id func(T) string) ([]T, error) {
	var all []T
	seen := map[string]bool{}
	for {
		body["limit"], body["offset"] = nil, len(all)
		var page []T
		if err := c.post(ctx, path, body, &page); err != nil {
			return nil, err
		}
		page = slices.DeleteFunc(page, func(item T) bool { return seen[id(item)] })
		if len(page) == 0 {
			return all, nil
		}
		for _, item := range page {
			seen[id(item)] = true
		}
		all = append(all, page...)
	}
}

// Heartbeat tells the server over REST that a worker is alive and will say so
// again after interval. To Cloud it also tells, once, what the worker is made of,
// and asks for the worker's id until there is one.
func (c *Client) Heartbeat(ctx context.Context, pool, worker string, interval time.Duration, integrations []Integration) error {
	body := map[string]any{"name": worker, "heartbeat_interval_seconds": wholeSeconds(interval)}
	path := poolPath(pool, "/workers/heartbeat")
	if !c.IsCloud() {
		return c.post(ctx, path, body, nil)
	}
	metadata := metadataOf(integrations)
	if metadata != nil && !c.metadataSent.Load() {
		body["metadata"] = metadata
	}
	err := c.cloudHeartbeat(ctx, path, body)
	if err == nil && metadata != nil {
		c.metadataSent.Store(true)
	}
	return err
}

func (c *Client) cloudHeartbeat(ctx context.Context, path string, body map[string]any) error {
	if c.WorkerID() != "" {
		return c.post(ctx, path, body, nil)
	}
	body["return_id"] = true
	var id plainText
	err := c.post(ctx, path, body, &id)
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusUnprocessableEntity {
		c.log.Warn("Failed to retrieve worker ID from the Prefect API server.")
		delete(body, "return_id") // this API does not know the field
		return c.post(ctx, path, body, nil)
	}
	if text := strings.Trim(string(id), "\" \n"); isUUID(text) {
		c.setWorkerID(text)
	}
	return err
}

// wholeSeconds is a heartbeat interval as the API takes it: whole, and not zero.
func wholeSeconds(d time.Duration) int {
	return max(1, int(math.Ceil(d.Seconds())))
}

// GetScheduledFlowRuns reads the runs of a pool that are due before a time, in
// the server's order. No queues means all; a limit of 0 leaves it to the
// server. A missing pool or queue is an ErrNotFound.
func (c *Client) GetScheduledFlowRuns(ctx context.Context, pool string, queues []string, before time.Time, limit int) ([]FlowRun, error) {
	body := map[string]any{
		"work_queue_names": append([]string{}, queues...),
		"scheduled_before": before.UTC(),
	}
	if limit > 0 {
		body["limit"] = limit
	}
	var found []struct {
		FlowRun FlowRun `json:"flow_run"`
	}
	if err := c.post(ctx, poolPath(pool, "/get_scheduled_flow_runs"), body, &found); err != nil {
		return nil, err
	}
	runs := make([]FlowRun, len(found))
	for i := range found {
		runs[i] = found[i].FlowRun
	}
	return runs, nil
}
