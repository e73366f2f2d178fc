//go:build conformance

package conformance

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/relay"

	"github.com/google/uuid"
)

const stopReason = "Stopped by Prefect worker"

// stops are the bodies of the StopTask calls for a task.
func (e *ecsBench) stops(task string) []object {
	e.Helper()
	var out []object
	for _, body := range e.cloud.Bodies("StopTask") {
		if body["task"] == task {
			out = append(out, body)
		}
	}
	return out
}

// waitStopped waits until StopTask was called for a task, and returns its body.
func (e *ecsBench) waitStopped(task string, limit time.Duration) object {
	e.Helper()
	e.cloud.Wait(e, limit, "task "+task+" is stopped", func() bool { return len(e.stops(task)) > 0 })
	return e.stops(task)[0]
}

// cleanups are what the worker said about a cleanup message, by frame type.
func (e *ecsBench) cleanups(message string) []object {
	e.Helper()
	var out []object
	for _, channel := range e.channels() {
		for _, typ := range []string{"cleanup.ack.v1", "cleanup.release.v1"} {
			for _, frame := range channelFrames(channel, typ) {
				if dig(frame, "payload", "message_id") == message {
					out = append(out, frame)
				}
			}
		}
	}
	return out
}

// waitAck waits until the worker acknowledges a cleanup message. It may give one
// back, to get it again, because it is busy with another.
func (e *ecsBench) waitAck(message string) {
	e.Helper()
	e.until(time.Minute, "the cleanup is acknowledged", func() bool {
		for _, frame := range e.cleanups(message) {
			if frame["type"] == "cleanup.ack.v1" {
				return true
			}
			if reason := dig(frame, "payload", "reason"); reason != "concurrency_limit_reached" {
				e.Fatalf("the cleanup was given back: %v", reason)
			}
		}
		return false
	})
}

// playServer keeps the worker's words about cleanups from the server, which knows
// nothing of those that a test delivers, and accepts them in its stead.
func (e *ecsBench) playServer() {
	e.relay.DropFrames(func(s *relay.Socket, f relay.Frame) bool {
		var said struct {
			Type, ID string
			Payload  struct {
				MessageID string `json:"message_id"`
			}
		}
		if !f.FromClient || json.Unmarshal([]byte(f.Data), &said) != nil || !strings.HasPrefix(said.Type, "cleanup.") {
			return false
		}
		operation := strings.Split(said.Type, ".")[1]
		result := object{"request_frame_id": said.ID, "message_id": said.Payload.MessageID, "operation": operation, "status": "accepted"}
		if operation == "renew" {
			result["lease_expires_at"] = time.Now().Add(30 * time.Second).UTC()
		}
		_ = s.Send(channelFrame("cleanup.operation_result.v1", result)) // the worker may have gone
		return true
	})
}

func channelFrame(typ string, payload object) string {
	frame, err := json.Marshal(object{"type": typ, "id": uuid.Must(uuid.NewV7()), "sent_at": time.Now().UTC(), "payload": payload})
	if err != nil {
		panic(err) // a test's own values
	}
	return string(frame)
}

// deliver sends the worker a cleanup message, and returns its id.
func (e *ecsBench) deliver(channel *relay.Socket, run, pid string, lease time.Duration) string {
	e.Helper()
	id := uuid.NewString()
	target := object{"flow_run_id": run}
	if pid != "" {
		target["infrastructure_pid"] = pid
	}
	err := channel.Send(channelFrame("cleanup.message.v1", object{
		"message_id": id, "reservation_token": uuid.NewString(), "lease_expires_at": time.Now().Add(lease).UTC(), "delivery_count": 1,
		"work_queue_id": nil, "data": object{}, "kind": "cancelling_timeout_teardown.v1", "target": target,
	}))
	if err != nil {
		e.Fatal(err)
	}
	return id
}

func Test090StopTask(t *testing.T) {
	e := newECSBench(t, "90", "StopTask says Stopped by Prefect worker; a task that AWS does not know counts as stopped")
	e.playServer()
	channel := e.waitReady()
	run, task := e.launchWith(object{"cluster": "blue"})
	pid := e.waitPID(run)
	e.waitAck(e.deliver(channel, run, pid, 30*time.Second))
	e.same("the call", e.waitStopped(task.ARN, shortly), object{"cluster": "blue", "task": task.ARN, "reason": stopReason})
	e.w.waitLog(shortly, "Stopped ECS task '"+task.ARN+"' in cluster 'blue'")
	unknown := strings.Replace(task.ARN, task.ID(), strings.Repeat("f", 32), 1)
	e.waitAck(e.deliver(channel, run, "blue::"+unknown, 30*time.Second))
	e.waitStopped(unknown, shortly)
	e.saw("cluster blue, the task's ARN, %q; acknowledged; a task that is not found: StopTask, acknowledged", stopReason)
}

// hastyServer sets cancelled runs to Cancelled after 5 s, not 300.
func hastyServer(t *testing.T) *server {
	return namedServer(t, "hasty", "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS=5",
		"PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS=2")
}

func Test091CancellingTimeout(t *testing.T) {
	e := prepareECSBench(newBenchOn(t, "91", "a pending run that stays Cancelling beyond the server's timeout: cleanup message, StopTask, ack", hastyServer))
	e.start()
	channel := e.waitReady()
	deployment := e.variables(nil)
	own, task := e.launch(deployment)
	e.waitPID(own)
	// Another worker's run: nobody but the server will see to it.
	_, left := e.launch(deployment)
	foreign := e.run(deployment, object{"state": object{"type": "PENDING"}})
	e.call("PATCH", "/flow_runs/"+foreign, object{"infrastructure_pid": left.Cluster + "::" + left.ARN}, nil)
	cancelled := time.Now()
	for _, run := range []string{own, foreign} {
		e.call("POST", "/flow_runs/"+run+"/set_state", object{"state": object{"type": "CANCELLING", "name": "Cancelling"}}, nil)
	}
	for _, task := range []*fakeaws.Task{task, left} {
		body := e.waitStopped(task.ARN, time.Minute)
		e.same("the call", body, object{"cluster": task.Cluster, "task": task.ARN, "reason": stopReason})
	}
	took := time.Since(cancelled)
	message := e.messageFor(channel, foreign)
	e.waitAck(message)
	e.until(shortly, "the server accepts the acknowledgement", func() bool { return e.accepted(channel, message) })
	timeout := e.waitFinal(foreign, shortly)
	if timeout.Type != "CANCELLED" || timeout.Message != "Flow run cancellation timed out; marked this flow run as Cancelled." {
		t.Errorf("the run ended %s: %q", timeout, timeout.Message)
	}
	final := e.waitFinal(own, shortly)
	if final.Type != "CANCELLED" {
		t.Errorf("the worker's own run ended %s: %q", final, final.Message)
	}
	e.saw("both tasks stopped %.0f s after the cancel, %q; message, ack, accepted; %q; own run: %q", took.Seconds(), stopReason, timeout.Message, final.Message)
}

// messageFor is the id of the cleanup message about a run.
func (e *ecsBench) messageFor(channel *relay.Socket, run string) string {
	e.Helper()
	for _, frame := range channelFrames(channel, "cleanup.message.v1") {
		if dig(frame, "payload", "target", "flow_run_id") == run {
			return dig(frame, "payload", "message_id").(string)
		}
	}
	e.Fatalf("no cleanup message about run %s came", run)
	return ""
}

// accepted tells whether the server has accepted that the worker acknowledged a
// message.
func (e *ecsBench) accepted(channel *relay.Socket, message string) bool {
	return slices.ContainsFunc(channelFrames(channel, "cleanup.operation_result.v1"), func(frame object) bool {
		said := frame["payload"].(object)
		return said["message_id"] == message && said["operation"] == "ack" && said["status"] == "accepted"
	})
}

func Test092CleanupOfNothing(t *testing.T) {
	e := newECSBench(t, "92", "a cleanup for a deleted run is acknowledged; one whose lease has expired is left alone")
	e.playServer()
	channel := e.waitReady()
	run, task := e.launchWith(nil)
	pid := e.waitPID(run)
	expired := e.deliver(channel, run, pid, -time.Second)
	deleted := e.run(e.variables(nil), object{"state": object{"type": "PENDING"}})
	e.call("DELETE", "/flow_runs/"+deleted, nil, nil)
	// It is of the second message that the worker speaks: it has left the first alone.
	e.waitAck(e.deliver(channel, deleted, pid, 30*time.Second))
	e.hold(3*time.Second, "an expired cleanup is worked on", func() bool { return len(e.cleanups(expired)) > 0 || len(e.stops(task.ARN)) > 0 })
	e.saw("deleted run: acknowledged, no StopTask; expired lease: not a word for 3 s, no StopTask")
}

func Test093CancelledWhileSubmitted(t *testing.T) {
	e := newECSBench(t, "93", "cancellation enabled: a run cancelled before its pid is stored becomes Cancelled, no infrastructure found",
		withEnv("PREFECT_WORKER_ENABLE_CANCELLATION", "true"), quickRetries)
	// The launch takes long, and comes to nothing.
	refusal := fakeaws.Fault{Code: "AccessDeniedException", Message: "User is not authorized to perform: ecs:RunTask", Times: -1}
	slow := refusal
	slow.Delay, slow.Times = 12*time.Second, 1
	e.cloud.Fail("RunTask", slow, refusal)
	e.until(shortly, "the worker listens to events", func() bool { return len(e.relay.Sockets("/events/out")) > 0 })
	run := e.run(e.variables(nil), nil)
	e.cloud.WaitCalls(t, time.Minute, 1, "RunTask")
	cancelled := time.Now()
	e.call("POST", "/flow_runs/"+run+"/set_state", object{"state": object{"type": "CANCELLING", "name": "Cancelling"}}, nil)
	final := e.waitFinal(run, time.Minute)
	took := time.Since(cancelled)
	if final.Type != "CANCELLED" || final.Message != "Flow run cancelled by worker (no infrastructure found)." {
		t.Errorf("the run ended %s: %q", final, final.Message)
	}
	if n := len(e.cloud.Calls("RunTask")); n != 1 {
		t.Errorf("it was cancelled after the launch had failed (%d calls)", n)
	}
	if pid := e.readRun(run)["infrastructure_pid"]; pid != nil {
		t.Errorf("it has the pid %v", pid)
	}
	e.saw("%s %q %.1f s after the cancel, RunTask still unanswered", final, final.Message, took.Seconds())
}
