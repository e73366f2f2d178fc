package prefect

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	renewBefore      = 5 * time.Second  // of the end of a lease
	operationTimeout = 30 * time.Second // for the server's answer
	operationPause   = time.Second
	operationTries   = 3
)

// Cleanup is a request of the server to remove what is left of a flow run.
type Cleanup struct {
	MessageID         string
	Kind              string
	FlowRunID         string
	InfrastructurePID string // "" when the server knows none
	DeliveryCount     int
}

// CleanupFunc handles one cleanup. It returns "" when the work is done and need
// not be delivered again, else the reason for giving it back, one of the
// Release constants. Its context ends when the server takes the work away.
type CleanupFunc func(ctx context.Context, message Cleanup) (release string)

// Reasons for giving a cleanup back.
const (
	ReleaseMissingHandle      = "missing_infrastructure_handle"
	ReleaseContextUnavailable = "configuration_context_unavailable"
	ReleaseUnsupportedWorker  = "unsupported_worker_type"
	ReleaseNotAvailable       = "infrastructure_not_available"
	ReleaseHandlerFailed      = "handler_failed"

	releaseUnknownKind = "unsupported_cleanup_kind"
	releaseBusy        = "concurrency_limit_reached"
)

// errLeaseLost ends the work on a cleanup that the server gave to somebody else.
var errLeaseLost = errors.New("the cleanup's lease was lost")

// cleaner works on cleanups. A lease belongs to the worker, not to a
// connection, so the answer may go over the next connection.
type cleaner struct {
	handle CleanupFunc
	kinds  []string
	log    *slog.Logger
	wg     sync.WaitGroup

	mu       sync.Mutex
	link     *socket       // nil while there is no connection
	changed  chan struct{} // closed when link changes
	capacity int
	active   map[string]context.CancelCauseFunc // by reservation token
	waiting  map[string]chan resultPayload      // by id of the frame that asked
}

func newCleaner(handle CleanupFunc, kinds []string, log *slog.Logger) *cleaner {
	return &cleaner{
		handle: handle, kinds: kinds, log: log,
		changed: make(chan struct{}),
		active:  map[string]context.CancelCauseFunc{},
		waiting: map[string]chan resultPayload{},
	}
}

func (c *cleaner) wait() { c.wg.Wait() }

func (c *cleaner) attach(s *socket, capacity int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.capacity = s, capacity
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cleaner) detach(s *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == s {
		c.link = nil
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// abandon ends all work: the server no longer delivers cleanups to this worker.
func (c *cleaner) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.active {
		cancel(errLeaseLost)
	}
}

// deliver starts the work on a message, or gives it back.
func (c *cleaner) deliver(ctx context.Context, m cleanupPayload) {
	work, refusal := c.reserve(ctx, m)
	switch {
	case refusal != "":
		c.wg.Go(func() { c.operate(ctx, frameRelease, m, refusal) })
	case work != nil:
		c.wg.Go(func() { c.clean(work, m) })
	}
}

// reserve takes a place for a message. Both results are empty for one that is
// nothing to this worker: its lease is over, or it is being worked on already.
func (c *cleaner) reserve(ctx context.Context, m cleanupPayload) (work context.Context, refusal string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.kinds, m.Kind) {
		return nil, releaseUnknownKind
	}
	_, doubled := c.active[m.Token]
	if doubled || !time.Now().Before(m.LeaseExpires) {
		return nil, ""
	}
	if len(c.active) >= c.capacity {
		return nil, releaseBusy
	}
	work, c.active[m.Token] = context.WithCancelCause(ctx)
	return work, ""
}

// clean handles a message while its lease is renewed beside, and reports.
func (c *cleaner) clean(ctx context.Context, m cleanupPayload) {
	c.mu.Lock()
	cancel := c.active[m.Token]
	c.mu.Unlock()
	var renewal sync.WaitGroup
	handled := make(chan struct{})
	renewal.Go(func() {
		if !c.keepLease(ctx, m, handled) {
			cancel(errLeaseLost)
		}
	})
	release := c.handle(ctx, Cleanup{m.MessageID, m.Kind, m.Target.FlowRunID, m.Target.InfrastructurePID, m.DeliveryCount})
	if ctx.Err() == nil {
		frame := frameAck
		if release != "" {
			frame = frameRelease
		}
		c.operate(ctx, frame, m, release)
	}
	close(handled)
	cancel(nil)
	renewal.Wait()
	c.mu.Lock()
	delete(c.active, m.Token)
	c.mu.Unlock()
}

// keepLease renews the lease until the work is reported; false when it is lost.
func (c *cleaner) keepLease(ctx context.Context, m cleanupPayload, handled <-chan struct{}) bool {
	expires := m.LeaseExpires
	for {
		timer := time.NewTimer(time.Until(expires) - renewBefore)
		select {
		case <-timer.C:
		case <-handled:
			timer.Stop()
			return true
		case <-ctx.Done():
			timer.Stop()
			return true
		}
		result := c.renew(ctx, m, expires)
		if ctx.Err() != nil {
			return true
		}
		if result.Status != "accepted" {
			c.log.Warn("the lease of a cleanup was lost", "message_id", m.MessageID, "status", result.Status)
			return false
		}
		expires = *result.LeaseExpires
	}
}

// renew asks for more time as long as there is any left of the old.
func (c *cleaner) renew(ctx context.Context, m cleanupPayload, expires time.Time) resultPayload {
	ctx, cancel := context.WithDeadline(ctx, expires)
	defer cancel()
	for {
		result, ok := c.operate(ctx, frameRenew, m, "")
		if ok || ctx.Err() != nil || sleep(ctx, operationPause) != nil {
			return result
		}
	}
}

// operate sends an operation until the server has an answer other than "error".
func (c *cleaner) operate(ctx context.Context, frameType string, m cleanupPayload, reason string) (resultPayload, bool) {
	for try := 1; ; try++ {
		result, err := c.operateOnce(ctx, newFrame(frameType, operationPayload{m.MessageID, m.Token, reason}))
		if err == nil && result.Status != "error" {
			return result, true
		}
		if try == operationTries || ctx.Err() != nil || sleep(ctx, operationPause) != nil {
			c.log.Debug("a cleanup operation got no answer", "operation", frameType, "message_id", m.MessageID, "error", err)
			return result, false
		}
	}
}

func (c *cleaner) operateOnce(ctx context.Context, frame outFrame) (resultPayload, error) {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	answer := make(chan resultPayload, 1)
	c.mu.Lock()
	c.waiting[frame.ID] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, frame.ID)
		c.mu.Unlock()
	}()
	if err := c.write(ctx, frame); err != nil {
		return resultPayload{}, err
	}
	select {
	case result := <-answer:
		return result, nil
	case <-ctx.Done():
		return resultPayload{}, context.Cause(ctx)
	}
}

// write sends over the present connection, or over the next one there is.
func (c *cleaner) write(ctx context.Context, frame outFrame) error {
	for {
		c.mu.Lock()
		link, changed := c.link, c.changed
		c.mu.Unlock()
		if link != nil && link.write(ctx, frame) == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// settle hands the server's answer to the operation that waits for it.
func (c *cleaner) settle(result resultPayload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := c.waiting[result.RequestID]; ok {
		select {
		case answer <- result:
		default: // answered already
		}
	}
}
