//go:build conformance

package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/relay"
)

func Test104CrashRefused(t *testing.T) {
	e := newObserverBench(t, "104", "the server answers the crash proposal with 500: it is proposed again, until the run is Crashed")
	e.cloud.VisibilityTimeout(3 * time.Second)
	const refusals = 2
	var refused atomic.Int32
	e.relay.Intercept(func(r *http.Request, body []byte) *relay.Answer {
		if !strings.HasSuffix(r.URL.Path, "/set_state") || !strings.Contains(string(body), `"CRASHED"`) || refused.Add(1) > refusals {
			return nil
		}
		return &relay.Answer{Status: http.StatusInternalServerError, Body: `{"detail":"out of order"}`}
	})
	run, task := e.launchWith(nil)
	e.waitPID(run)
	task.Set("RUNNING")
	e.flowSays(run, "RUNNING")
	task.Set("STOPPED", fakeaws.Exit(1))
	event := task.Tell(events)
	crashed := e.waitState(run, "CRASHED", time.Minute)
	if !strings.HasPrefix(crashed.Message, listText) {
		t.Errorf("it crashed with %q", crashed.Message)
	}
	e.waitTaken(event)
	var answers []string
	for _, p := range setStates(e.bench, run, "Crashed") {
		answers = append(answers, fmt.Sprint(p.Status))
	}
	if want := []string{"500", "500", "201"}; !slices.Equal(answers, want) {
		t.Errorf("the proposals were answered %q", answers)
	}
	how := "the worker asked again by itself"
	if n := e.received(event); n > 1 {
		how = fmt.Sprintf("the message was received %d times", n)
	}
	// Python's worker leaves it to the queue; faber to itself, and its sweeps.
	if suite.worker == python && e.received(event) != refusals+1 {
		t.Error(how)
	}
	e.saw("proposals answered %s: %s; %q", strings.Join(answers, ", "), how, cut(crashed.Message, 80))
}

// received is how often the message with an event was received.
func (e *ecsBench) received(event object) int {
	e.Helper()
	return e.cloud.TimesReceived(events, fakeaws.Message(event))
}

// pauses are the gaps of more than a second between the calls of an operation.
func (e *ecsBench) pauses(operation string) []time.Duration {
	var out []time.Duration
	calls := e.cloud.Calls(operation)
	for i := 1; i < len(calls); i++ {
		if gap := calls[i].At.Sub(calls[i-1].At); gap > time.Second {
			out = append(out, gap)
		}
	}
	return out
}

func Test105QueueFails(t *testing.T) {
	e := prepareECSBench(newBench(t, "105", "SQS fails: pauses of 2, 4, 8 s and more, and the worker lives; Python's observer ends when it cannot look for its queue, and begins again after 30 s"))
	e.differs()
	refusal := fakeaws.Fault{Code: "AccessDenied", Message: "Access to the resource is denied.", Times: -1}
	once := refusal
	once.Times = 1
	e.cloud.AddQueue(events)
	e.cloud.Fail("GetQueueUrl", once)
	e.cloud.Fail("ReceiveMessage", refusal)
	e.start(withEnv(queueNameSetting, events))
	again := e.lookedAgain()
	run, task := e.launchWith(nil)
	e.waitPID(run)
	// Two pauses, and all refusals before the third.
	e.cloud.WaitCalls(t, 2*time.Minute, map[underTest]int{python: 9, faber: 3}[suite.worker], "ReceiveMessage")
	e.cloud.Heal("ReceiveMessage") // while it pauses for the third time
	event := e.tell(task, "PENDING")
	e.replica(event)
	pauses := e.pauses("ReceiveMessage")[:3]
	e.checkPauses(pauses)
	if !e.w.alive() {
		t.Error("the worker ended")
	}
	e.saw("GetQueueUrl refused: again %.0f s later; ReceiveMessage refused: pauses of %.1f, %.1f, %.1f s, a run launched meanwhile; healed: event passed on",
		again.Seconds(), pauses[0].Seconds(), pauses[1].Seconds(), pauses[2].Seconds())
}

// lookedAgain is how long after the first, refused look for the queue the second
// one came. Python's observer has ended in between.
func (e *ecsBench) lookedAgain() time.Duration {
	e.Helper()
	calls := e.cloud.WaitCalls(e, time.Minute, 2, "GetQueueUrl")
	gap := calls[1].At.Sub(calls[0].At)
	least := 2 * time.Second
	if suite.worker == python {
		least = 30 * time.Second
		e.w.waitLog(time.Second, `ECS observer will restart in 30 seconds \(attempt 1 of 5\)`)
	}
	if gap < least || gap > least+10*time.Second {
		e.Errorf("the queue was looked for again after %s", gap)
	}
	return gap
}

// checkPauses holds the pauses to doubling. Python's worker pauses after three
// refusals in a row, first for 2 s; faber's pauses go on from the 2 s after it
// could not look for the queue.
func (e *ecsBench) checkPauses(pauses []time.Duration) {
	e.Helper()
	least := 2 * time.Second
	if suite.worker == faber {
		least = 4 * time.Second
	}
	for _, pause := range pauses {
		if pause < least || pause > least+4*time.Second {
			e.Errorf("the pauses are %s", pauses)
		}
		least *= 2
	}
}
