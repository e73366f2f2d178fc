//go:build conformance

package conformance

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// engineTime is how long a flow run may take to start Prefect's engine and end,
// on a machine with more to do.
const engineTime = 2 * time.Minute

// processBench begins a test with a running process worker on a pool of its own.
func processBench(t *testing.T, name, title string, change ...func(*workerOptions)) (*bench, *worker) {
	t.Helper()
	b := newBench(t, name, title)
	b.createPool("process", nil)
	w := b.worker("process", change...)
	w.waitStarted()
	return b, w
}

func Test106WorkingDirectory(t *testing.T) {
	b, w := processBench(t, "106", "a child runs in a temporary directory that is removed afterwards; working_dir is honoured")
	printed := func(variables object) string {
		variables["command"] = `sh -c "echo cwd-of-$PREFECT__FLOW_RUN_ID=$PWD"`
		run := b.run(b.deployment(object{"job_variables": variables}), nil)
		line := w.waitLog(30*time.Second, "cwd-of-"+run+"=.*")
		_, dir, _ := strings.Cut(line, "=")
		return strings.TrimSpace(dir)
	}
	temporary := printed(object{})
	if temporary == w.dir || !filepath.IsAbs(temporary) {
		t.Errorf("the child ran in %q", temporary)
	}
	b.until(20*time.Second, temporary+" is removed", func() bool {
		_, err := os.Stat(temporary)
		return os.IsNotExist(err)
	})
	wanted := t.TempDir()
	if got := printed(object{"working_dir": wanted}); got != wanted {
		t.Errorf("with working_dir %q the child ran in %q", wanted, got)
	}
	if _, err := os.Stat(wanted); err != nil {
		t.Errorf("the working_dir is gone: %v", err)
	}
	b.saw("a directory below %s, removed after the run; then working_dir, kept", filepath.Dir(temporary))
}

func Test107StreamOutput(t *testing.T) {
	b, w := processBench(t, "107", "the flow's output is shown with stream_output, and not without")
	quiet := b.run(b.sourceDeployment(`print("quiet-" + "output", flush=True)`, object{"job_variables": object{"stream_output": false}}), nil)
	loud := b.run(b.sourceDeployment(`print("loud-" + "output", flush=True)`, nil), nil)
	w.waitLog(engineTime, "loud-output")
	for _, run := range []string{quiet, loud} {
		if final := b.waitFinal(run, engineTime); final.Type != "COMPLETED" {
			t.Errorf("run %s ended %s: %s", run, final, final.Message)
		}
	}
	if strings.Contains(w.log(), "quiet-output") {
		t.Error("the output was shown although stream_output is false")
	}
	b.saw("both Completed; the worker's output has the one's text and not the other's")
}

func Test108FailingFlow(t *testing.T) {
	b, _ := processBench(t, "108", "a flow that fails ends Failed by itself: executed status-code 0, no Crashed")
	run := b.run(b.sourceDeployment(`raise ValueError("boom")`, nil), nil)
	final := b.waitFinal(run, engineTime)
	if final.Type != "FAILED" {
		t.Fatalf("the run ended %s: %s", final, final.Message)
	}
	code := statusCode(b.waitEmitted("prefect.worker.executed-flow-run", 30*time.Second))
	if code != "0" {
		t.Errorf("executed with status code %q", code)
	}
	// Whatever the worker has to say about the end, it says within a sweep.
	b.hold(3*time.Second, "a Crashed follows", func() bool { return b.hasState(run, "CRASHED") })
	b.saw("%s, %q; executed with status-code %q", final, final.Message, code)
}

// statusCode reads the exit status out of an executed event.
func statusCode(event object) string {
	related, _ := event["related"].([]any)
	for _, resource := range related {
		if code, ok := dig(resource, "prefect.infrastructure.status-code").(string); ok {
			return code
		}
	}
	return ""
}

func (b *bench) hasState(run, typ string) bool {
	b.Helper()
	return slices.ContainsFunc(b.states(run), func(s state) bool { return s.Type == typ })
}

func Test109ExitCodes(t *testing.T) {
	b, _ := processBench(t, "109", "os._exit(7) crashes the run with the text of code 7, SIGKILL with that of -9")
	for _, end := range []struct{ source, code, text string }{
		{`os._exit(7)`, "7", "Process exited with an unexpected status code."},
		{`os.kill(os.getpid(), signal.SIGKILL)`, "-9", "Process exited due to a SIGKILL signal. Typically caused by the operating system terminating the process for exceeding memory limits, or by manual cancellation."},
	} {
		run := b.run(b.sourceDeployment(end.source, nil), nil)
		final := b.waitFinal(run, engineTime)
		if final.Type != "CRASHED" || !regexp.MustCompile(`status code:? `+end.code+`\b`).MatchString(final.Message) || !strings.Contains(final.Message, end.text) {
			t.Errorf("after %s the run is %s: %q", end.source, final, final.Message)
		}
		b.until(30*time.Second, "the executed event is there", func() bool { return b.executions(run) == 1 })
		b.saw("%s: %q", end.code, cut(final.Message, 70))
	}
}

func Test110Cancel(t *testing.T) {
	b, w := processBench(t, "110", "a running flow that is cancelled ends Cancelled within ~10 s; one deaf to SIGTERM is killed after 30 s")
	polite := b.run(b.sourceDeployment("print('at' + ' work', flush=True)\ntime.sleep(120)", nil), nil)
	deaf := b.run(b.sourceDeployment("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf' + ' now', flush=True)\nwhile True: time.sleep(1)", nil), nil)
	for _, run := range []string{polite, deaf} {
		b.waitState(run, "RUNNING", engineTime)
	}
	w.waitLog(engineTime, "at work")
	w.waitLog(engineTime, "deaf now")
	asked := map[string]time.Time{}
	for _, run := range []string{polite, deaf} {
		asked[run] = time.Now()
		b.call("POST", "/flow_runs/"+run+"/set_state", object{"state": object{"type": "CANCELLING"}}, nil)
	}
	took := func(run string) float64 {
		final := b.waitFinal(run, engineTime)
		if final.Type != "CANCELLED" {
			t.Errorf("the run ended %s: %s", final, final.Message)
		}
		return final.Timestamp.Sub(asked[run]).Seconds()
	}
	first, second := took(polite), took(deaf)
	if first > 25 {
		t.Errorf("the polite run took %.1f s", first)
	}
	if second < 25 {
		t.Errorf("the deaf run was ended after %.1f s, it had 30", second)
	}
	b.saw("polite: Cancelled after %.1f s; deaf: after %.1f s", first, second)
}

func Test111MissingExecutable(t *testing.T) {
	b, w := processBench(t, "111", "a command whose executable is missing: the run is Crashed, the worker lives on")
	run := b.run(b.deployment(object{"job_variables": object{"command": "no-such-program --at-all"}}), nil)
	final := b.waitFinal(run, engineTime)
	// Python's worker tells of "unhandled errors in a TaskGroup (1 sub-exception)".
	if final.Type != "CRASHED" || suite.worker == faber && !strings.Contains(final.Message, "no-such-program") {
		t.Errorf("the run is %s: %q", final, final.Message)
	}
	if !w.alive() {
		t.Error("the worker ended")
	}
	b.saw("%s: %q", final, cut(final.Message, 100))
}
