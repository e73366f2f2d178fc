package prefect

import (
	"context"
	"log/slog"
	"time"
)

// FlowRunLogger collects log lines of flow runs and sends them in batches. A
// line that cannot be sent is lost, with one warning: logs never hold up a run.
type FlowRunLogger struct {
	// MinLevel drops what is below it.
	MinLevel slog.Level
	// Disabled drops everything.
	Disabled bool
}

// NewFlowRunLogger returns a logger that sends every interval (2 s when zero)
// while Run runs. Its fields may be set before the first use.
func NewFlowRunLogger(c *Client, interval time.Duration) *FlowRunLogger { return &FlowRunLogger{} }

// Log queues a line for the log of a flow run, under a logger name such as
// "prefect.flow_runs.worker". It never blocks.
func (l *FlowRunLogger) Log(name string, level slog.Level, flowRunID, message string) {}

// Flush sends what is queued.
func (l *FlowRunLogger) Flush(ctx context.Context) error { return errDraft }

// Run sends batches until ctx ends; it does not flush at the end, because the
// caller knows how long that may take.
func (l *FlowRunLogger) Run(ctx context.Context) error { return errDraft }
