package prefect

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

const teardown = "cancelling_timeout_teardown.v1"

func cleanupHello() Hello {
	h := testHello()
	h.HandledCleanup, h.MaxCleanup = []string{teardown}, 1
	return h
}

// messageID is the id of the message that has this token.
func messageID(token string) string { return uuid.NewSHA1(uuid.Nil, []byte(token)).String() }

const cleanedRun = "01936f00-0000-7000-8000-0000000000aa"

func cleanupFrame(token, kind string, lease time.Duration) map[string]any {
	return serverFrame(frameCleanup, map[string]any{
		"message_id": messageID(token), "reservation_token": token, "lease_expires_at": time.Now().Add(lease), "delivery_count": 2,
		"work_queue_id": nil, "data": map[string]any{}, "kind": kind,
		"target": map[string]any{"flow_run_id": cleanedRun, "infrastructure_pid": "c::t", "claim_id": cleanedRun, "more": 1},
	})
}

// operation reads the next frame that is no heartbeat.
func (p *peer) operation() map[string]any {
	p.t.Helper()
	for {
		if frame := p.read(); frame == nil || frame["type"] != frameHeartbeat {
			return frame
		}
	}
}

// settle answers an operation.
func (p *peer) settle(frame map[string]any, status string, lease time.Duration) {
	p.t.Helper()
	operation, _, _ := strings.Cut(strings.TrimPrefix(frame["type"].(string), "cleanup."), ".")
	payload := map[string]any{
		"request_frame_id": frame["id"], "message_id": frame["payload"].(map[string]any)["message_id"],
		"operation": operation, "status": status, "reason": "r", "detail": nil,
	}
	if lease > 0 {
		payload["lease_expires_at"] = time.Now().Add(lease)
	}
	p.write(serverFrame(frameResult, payload))
}

func expect(t *testing.T, frame map[string]any, typ, token, reason string) {
	t.Helper()
	want := map[string]any{"message_id": messageID(token), "reservation_token": token}
	if reason != "" {
		want["reason"] = reason
	}
	if diff := cmp.Diff(want, frame["payload"]); diff != "" || frame["type"] != typ {
		t.Errorf("got %v, want %s %s", frame, typ, diff)
	}
}

func TestCleanupIsAcknowledgedOrReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := []string{"", ReleaseHandlerFailed}
		handled := make(chan Cleanup, 2)
		r := runChannel(t, Options{}, cleanupHello(), func(_ context.Context, m Cleanup) string {
			handled <- m
			result := results[0]
			results = results[1:]
			return result
		})
		p := <-r.accepted
		hello := p.welcome(ready(30, capabilityCleanup))
		if hello["max_cleanup_concurrency"] != 1.0 || !cmp.Equal(hello["handled_cleanup_kinds"], []any{teardown}) || len(hello["requested_capabilities"].([]any)) != 3 {
			t.Errorf("hello %v", hello)
		}
		p.write(cleanupFrame("one", teardown, 30*time.Second))
		frame := p.operation()
		expect(t, frame, frameAck, "one", "")
		p.settle(frame, "accepted", 0)
		want := Cleanup{MessageID: messageID("one"), Kind: teardown, FlowRunID: cleanedRun, InfrastructurePID: "c::t", DeliveryCount: 2}
		if diff := cmp.Diff(want, <-handled); diff != "" {
			t.Error(diff)
		}
		synctest.Wait()
		p.write(cleanupFrame("two", teardown, 30*time.Second))
		frame = p.operation()
		expect(t, frame, frameRelease, "two", ReleaseHandlerFailed)
		p.settle(frame, "accepted", 0)
		p.write(cleanupFrame("late", teardown, -time.Second)) // ignored
		p.write(cleanupFrame("odd", "pending_claim_teardown.v1", 30*time.Second))
		frame = p.operation()
		expect(t, frame, frameRelease, "odd", releaseUnknownKind)
		p.settle(frame, "not_found", 0)
		r.finish(t, p)
		if len(handled) != 1 {
			t.Errorf("%d more were handled", len(handled))
		}
	})
}

func TestCleanupLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		r := runChannel(t, Options{}, cleanupHello(), func(ctx context.Context, _ Cleanup) string {
			select {
			case <-done:
			case <-ctx.Done():
				t.Error("the work was taken away")
			}
			return ""
		})
		p := <-r.accepted
		p.welcome(ready(3600, capabilityCleanup))
		began := time.Now()
		p.write(cleanupFrame("one", teardown, 30*time.Second))
		p.write(cleanupFrame("one", teardown, 30*time.Second)) // ignored: it is being worked on
		p.write(cleanupFrame("two", teardown, 30*time.Second))
		frame := p.operation()
		expect(t, frame, frameRelease, "two", releaseBusy)
		p.settle(frame, "accepted", 0)
		for renewal := 1; renewal <= 3; renewal++ {
			frame = p.operation()
			expect(t, frame, frameRenew, "one", "")
			if got := time.Since(began); got != time.Duration(renewal)*25*time.Second {
				t.Errorf("renewal %d after %v", renewal, got)
			}
			if renewal == 2 { // errors are no answer while there is time
				for range 4 {
					p.settle(frame, "error", 0)
					frame = p.operation()
					began = began.Add(time.Second)
				}
			}
			p.settle(frame, "accepted", 30*time.Second)
		}
		close(done)
		frame = p.operation()
		expect(t, frame, frameAck, "one", "")
		p.settle(frame, "accepted", 0)
		r.finish(t, p)
	})
}

func TestCleanupLeaseIsLost(t *testing.T) {
	for name, serve := range map[string]func(*peer){
		"not current": func(p *peer) { p.settle(p.operation(), "not_current", 0) },
		"not found":   func(p *peer) { p.settle(p.operation(), "not_found", 0) },
		"expired":     func(p *peer) { p.settle(p.operation(), "expired", 0) },
		"invalid":     func(p *peer) { p.settle(p.operation(), "invalid_token", 0) },
		"forbidden":   func(p *peer) { p.settle(p.operation(), "unauthorized", 0) },
		"dead":        func(p *peer) { p.settle(p.operation(), "dead_lettered", 0) },
		"no answer":   func(p *peer) { p.operation() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lost := make(chan error, 1)
				r := runChannel(t, Options{}, cleanupHello(), func(ctx context.Context, _ Cleanup) string {
					<-ctx.Done()
					lost <- context.Cause(ctx)
					return ReleaseHandlerFailed
				})
				p := <-r.accepted
				p.welcome(ready(3600, capabilityCleanup))
				p.write(cleanupFrame("one", teardown, 30*time.Second))
				serve(p)
				if err := <-lost; !errors.Is(err, errLeaseLost) {
					t.Errorf("ended by %v", err)
				}
				synctest.Wait() // nothing is reported: the lease is another's
				if name == "no answer" {
					// The pending write was cut off with its connection, or went out: either
					// way the channel lives on.
					r.stop()
					p.hear()
					if err := <-r.ended; err != nil {
						t.Error(err)
					}
					return
				}
				r.finish(t, p)
			})
		})
	}
}

// TestCleanupOutlivesAConnection: the answer goes over the next one.
func TestCleanupOutlivesAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		r := runChannel(t, Options{}, cleanupHello(), func(context.Context, Cleanup) string {
			<-done
			return ""
		})
		p := <-r.accepted
		p.welcome(ready(30, capabilityCleanup))
		p.write(cleanupFrame("one", teardown, 30*time.Second))
		synctest.Wait()
		_ = p.conn.Close(websocket.StatusInternalError, "")
		close(done)
		p = <-r.accepted
		p.welcome(ready(30, capabilityCleanup))
		frame := p.operation()
		expect(t, frame, frameAck, "one", "")
		p.settle(frame, "accepted", 0)
		r.finish(t, p)
	})
}

// TestCleanupIsAbandoned: the next connection does not have the capability.
func TestCleanupIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		r := runChannel(t, Options{}, cleanupHello(), func(ctx context.Context, _ Cleanup) string {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return ""
		})
		p := <-r.accepted
		p.welcome(ready(30, capabilityCleanup))
		p.write(cleanupFrame("one", teardown, time.Hour))
		synctest.Wait()
		_ = p.conn.Close(websocket.StatusInternalError, "")
		p = <-r.accepted
		p.welcome(ready(30))
		if err := <-ended; !errors.Is(err, errLeaseLost) {
			t.Errorf("ended by %v", err)
		}
		r.finish(t, p)
	})
}
