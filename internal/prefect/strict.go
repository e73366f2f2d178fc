package prefect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/google/uuid"
)

// The worker channel is strict on both sides: a frame with a field that the
// receiver does not know, or without one that it needs, is a protocol error. So
// a server that speaks another dialect is found at once, and served over REST,
// rather than half understood.

// checked is a payload that knows its own rules.
type checked interface{ check() error }

// readFrame reads the envelope of a frame.
func readFrame(data []byte) (inFrame, error) {
	var frame inFrame
	if err := strictly(data, &frame); err != nil {
		return frame, fmt.Errorf("malformed frame: %w", err)
	}
	if frame.Type == "" || !isUUID(frame.ID) || frame.SentAt.IsZero() || len(frame.Payload) == 0 {
		return frame, errors.New("malformed frame: type, id, sent_at and payload are needed")
	}
	return frame, nil
}

// readPayload reads a frame's payload and holds it to its rules.
func readPayload(frame inFrame, into checked) error {
	err := strictly(frame.Payload, into)
	if err == nil {
		err = into.check()
	}
	if err != nil {
		return fmt.Errorf("malformed %s: %w", frame.Type, err)
	}
	return nil
}

// strictly decodes one JSON value and nothing else, with no unknown fields.
func strictly(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the JSON value")
	}
	return nil
}

func isUUID(text string) bool { return uuid.Validate(text) == nil }

func (r *readyPayload) check() error {
	cleanup := slices.Contains(r.Accepted, capabilityCleanup)
	switch {
	case !isUUID(r.ConsumerID):
		return fmt.Errorf("consumer_id %q is no UUID", r.ConsumerID)
	case r.Version != channelVersion:
		return fmt.Errorf("the server selected channel version %q", r.Version)
	case r.Interval <= 0:
		return fmt.Errorf("the server set a heartbeat interval of %d seconds", r.Interval)
	case !slices.Contains(r.Accepted, capabilityHeartbeat) || !slices.Contains(r.Accepted, capabilitySnapshot):
		return fmt.Errorf("the server accepted %q, without heartbeats or snapshots", r.Accepted)
	case slices.ContainsFunc(r.Rejected, func(c string) bool { return slices.Contains(r.Accepted, c) }):
		return fmt.Errorf("the server accepted %q and rejected %q", r.Accepted, r.Rejected)
	case cleanup != (r.MaxCleanup > 0):
		return fmt.Errorf("the server accepted %q and set a cleanup concurrency of %d", r.Accepted, r.MaxCleanup)
	case r.Snapshot.Reason != "initial" || r.Snapshot.Sequence != 1:
		return fmt.Errorf("the first snapshot is number %d, %q", r.Snapshot.Sequence, r.Snapshot.Reason)
	}
	for _, queue := range r.Queues {
		if !isUUID(queue.ID) || queue.Name == "" {
			return fmt.Errorf("work queue %q has id %q", queue.Name, queue.ID)
		}
	}
	return r.Snapshot.check()
}

// answers holds a ready frame to what was asked for in the hello.
func (r *readyPayload) answers(h helloPayload) error {
	if r.ConsumerID != h.ConsumerID {
		return fmt.Errorf("the ready frame is for consumer %s, this is %s", r.ConsumerID, h.ConsumerID)
	}
	if slices.Contains(r.Accepted, capabilityCleanup) && !slices.Contains(h.Capabilities, capabilityCleanup) {
		return fmt.Errorf("the server accepted %s, which was not asked for", capabilityCleanup)
	}
	return nil
}

func (s *snapshotPayload) check() error {
	if s.Sequence < 1 || s.Reason == "" || s.WorkPool.ID == "" || s.WorkPool.Name == "" {
		return fmt.Errorf("snapshot %d, %q, of work pool %q", s.Sequence, s.Reason, s.WorkPool.Name)
	}
	return nil
}

func (m *cleanupPayload) check() error {
	switch {
	case m.Kind != kindCancellingTeardown && m.Kind != kindPendingTeardown:
		return fmt.Errorf("unknown kind %q", m.Kind)
	case !isUUID(m.MessageID) || m.Token == "" || m.LeaseExpires.IsZero() || m.DeliveryCount < 1:
		return fmt.Errorf("message %q, delivery %d, is not reserved", m.MessageID, m.DeliveryCount)
	case !isUUID(m.Target.FlowRunID) || m.Kind == kindPendingTeardown && !isUUID(m.Target.ClaimID):
		return fmt.Errorf("the target of message %s is not named", m.MessageID)
	default:
		return nil
	}
}

func (r *resultPayload) check() error {
	accepted, renew := r.Status == "accepted", r.Operation == "renew"
	switch {
	case !isUUID(r.RequestID) || !isUUID(r.MessageID):
		return errors.New("it answers no request")
	case !slices.Contains([]string{"ack", "release", "renew"}, r.Operation):
		return fmt.Errorf("unknown operation %q", r.Operation)
	case !accepted && !isRefusal(r.Status):
		return fmt.Errorf("unknown status %q", r.Status)
	case !accepted && r.Reason == "":
		return fmt.Errorf("no reason for status %q", r.Status)
	case (r.LeaseExpires != nil) != (accepted && renew):
		return fmt.Errorf("the lease does not go with operation %q and status %q", r.Operation, r.Status)
	default:
		return nil
	}
}

// isRefusal knows the answers to a cleanup operation other than accepted.
func isRefusal(status string) bool {
	switch status {
	case "not_current", "not_found", "expired", "invalid_token", "unauthorized", "dead_lettered", "error":
		return true
	default:
		return false
	}
}
