package prefect

import (
	"context"
	"time"
)

// Events sends events over one WebSocket, opened by the first event and kept.
// Sending never blocks and never fails its caller: what cannot be delivered is
// dropped with a warning.
type Events struct{}

// NewEvents returns a sender that delivers once Run is called.
func NewEvents(c *Client) *Events { return &Events{} }

// Emit queues an event. Empty ID, Occurred and slices are filled in, and the
// completed event is returned, so that a later one can name it as followed.
func (e *Events) Emit(event Event) Event { return event }

// Run delivers until ctx ends or Close is called.
func (e *Events) Run(ctx context.Context) error { return errDraft }

// Close delivers what is queued, for at most two seconds, and ends Run.
func (e *Events) Close() {}

// EventFilter selects events of a subscription. All parts that are set must match.
type EventFilter struct {
	Names       []string // exact event names
	Prefixes    []string // beginnings of event names
	ResourceIDs []string // ids of any resource of the event, "prefect.work-pool.<id>"
	// Since is how far back to look on every connect, so that nothing is lost
	// between two connections; one minute when zero.
	Since time.Duration
}

// Subscribe calls fn, from one goroutine, once for each matching event until
// ctx ends, which is no error. Lost connections are taken up again with
// back-off. It gives up, with an error, only where the server refuses for good.
func (c *Client) Subscribe(ctx context.Context, filter EventFilter, fn func(Event)) error {
	return errDraft
}
