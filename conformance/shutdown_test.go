//go:build conformance

package conformance

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/relay"
)

func Test112Signals(t *testing.T) {
	b := newBench(t, "112", "SIGTERM or SIGINT to an idle worker: stopped event, `stopped!` line, exit 0 at once")
	b.createPool("process", nil)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		w := b.worker("process")
		w.waitStarted()
		started := b.waitEmitted("prefect.worker.started", 20*time.Second)
		before := len(b.emitted("prefect.worker.stopped"))
		asked := time.Now()
		w.signal(sig)
		code := w.waitExit(20 * time.Second)
		took := time.Since(asked)
		w.waitLog(time.Second, `Worker '.*' stopped!`)
		b.until(5*time.Second, "the stopped event was sent", func() bool { return len(b.emitted("prefect.worker.stopped")) == before+1 })
		stopped := b.emitted("prefect.worker.stopped")[before]
		if code != 0 {
			t.Errorf("%s: exit code %d", sig, code)
		}
		if before == 0 && stopped["follows"] != started["id"] {
			t.Errorf("the stopped event follows %v, the started one is %v", stopped["follows"], started["id"])
		}
		if took > 5*time.Second {
			t.Errorf("%s: the worker took %s", sig, took)
		}
		b.saw("%s: exit %d after %.1f s, stopped event follows started", sig, code, took.Seconds())
	}
}

func Test113SignalWhileRunning(t *testing.T) {
	b, w := processBench(t, "113", "SIGTERM with a running process run")
	b.differs()
	run := b.run(b.sourceDeployment("open(os.environ['PIDFILE'], 'w').write(str(os.getpid()))\ntime.sleep(300)", object{
		"job_variables": object{"env": object{"PIDFILE": w.dir + "/pid"}},
	}), nil)
	b.waitState(run, "RUNNING", engineTime)
	b.until(20*time.Second, "the flow is at work", func() bool {
		_, err := os.Stat(w.dir + "/pid")
		return err == nil
	})
	pid, err := os.ReadFile(w.dir + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	w.signal(syscall.SIGTERM)
	code := w.waitExit(40 * time.Second)
	took := time.Since(asked)
	b.until(10*time.Second, "the child is gone", func() bool {
		_, err := os.Stat("/proc/" + string(pid))
		return os.IsNotExist(err)
	})
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	if suite.worker == python {
		if final := b.states(run); final[len(final)-1].Type != "RUNNING" {
			t.Errorf("the run is %s", final[len(final)-1])
		}
		b.saw("exit %d after %.1f s, child gone, the run stays Running", code, took.Seconds())
		return
	}
	final := b.waitFinal(run, 5*time.Second)
	if final.Type != "CRASHED" {
		t.Errorf("the run ended %s: %s", final, final.Message)
	}
	b.saw("exit %d after %.1f s, child gone, run %s: %q", code, took.Seconds(), final, cut(final.Message, 90))
}

func Test114SignalWhileSubmitting(t *testing.T) {
	b := newBench(t, "114", "SIGTERM while an ECS run is being submitted; running tasks are untouched")
	b.differs()
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	w := b.ecsWorker(cloud)
	w.waitStarted()
	deployment := b.deployment(nil)
	first := b.run(deployment, nil)
	b.until(time.Minute, "the first task is there", func() bool { return len(cloud.Calls("RunTask")) == 1 })
	b.until(10*time.Second, "its pid is stored", func() bool { return b.readRun(first)["infrastructure_pid"] != nil })
	cloud.Fail("RunTask", fakeaws.Fault{Delay: 3 * time.Second, Times: 1})
	second := b.run(deployment, nil)
	b.until(time.Minute, "the second launch is under way", func() bool { return len(cloud.Calls("RunTask")) == 2 })
	w.signal(syscall.SIGTERM)
	code := w.waitExit(40 * time.Second)
	if n := len(cloud.Calls("StopTask")); n != 0 || code != 0 {
		t.Errorf("%d StopTask, exit %d", n, code)
	}
	run := b.readRun(second)
	if suite.worker == python {
		if run["state_type"] != "PENDING" || run["infrastructure_pid"] != nil {
			t.Errorf("the run is %v with pid %v", run["state_name"], run["infrastructure_pid"])
		}
		b.saw("exit %d, no StopTask; the run is left %v without a pid", code, run["state_name"])
		return
	}
	pid, _ := run["infrastructure_pid"].(string)
	if !strings.Contains(pid, "::arn:aws:ecs:") || len(cloud.Calls("RunTask")) != 2 {
		t.Errorf("the pid is %q after %d RunTask", pid, len(cloud.Calls("RunTask")))
	}
	b.saw("exit %d, no StopTask; the launch was finished and its pid stored", code)
}

func Test115RunOnce(t *testing.T) {
	b := newBench(t, "115", "--run-once handles one batch, waits for it, and exits 0")
	b.createPool("process", nil)
	run := b.run(b.sourceDeployment("time.sleep(2)", nil), nil)
	w := b.worker("process", withArgs("--run-once"))
	code := w.waitExit(engineTime)
	final := b.waitFinal(run, time.Second)
	polls := len(b.relay.Exchanges(relay.Calls("POST", "/get_scheduled_flow_runs")))
	if code != 0 || final.Type != "COMPLETED" || polls != 1 {
		t.Errorf("exit %d, run %s, %d polls", code, final, polls)
	}
	none := b.worker("process", withArgs("--run-once", "--no-create-pool-if-not-found"), func(o *workerOptions) { o.Pool += "-missing" })
	if again := none.waitExit(engineTime); again != 0 {
		t.Errorf("without a pool: exit %d", again)
	}
	b.saw("1 poll, run %s at exit, code %d; without a pool code 0", final, code)
}

// freePort is a port on loopback that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// get asks once; status 0 is no answer.
func get(url string) (status int, body string) {
	response, err := http.Get(url)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(text)
}

func Test116Health(t *testing.T) {
	b := newBench(t, "116", "/health answers 200 from the first second, and 503 after 30 x query seconds without a poll")
	b.createPool("process", nil)
	url := fmt.Sprintf("http://127.0.0.1:%d/health", freePort(t))
	host, port, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/health"), ":")
	// Polls hang: a worker that does not get through a poll is not well.
	w := b.worker("process", withArgs("--with-healthcheck"), withEnv("PREFECT_WORKER_WEBSERVER_HOST", host), withEnv("PREFECT_WORKER_WEBSERVER_PORT", port), withEnv("PREFECT_WORKER_QUERY_SECONDS", "0.2"))
	var body string
	b.until(time.Minute, "/health answers", func() bool {
		status, text := get(url)
		body = text
		return status == http.StatusOK
	})
	w.waitStarted()
	heal := b.relay.InterceptWorker("POST", "/get_scheduled_flow_runs", -1, relay.Answer{Delay: time.Hour, DropRequest: true})
	hung := time.Now()
	var ill string
	b.until(time.Minute, "/health says 503", func() bool {
		status, text := get(url)
		ill = text
		return status == http.StatusServiceUnavailable
	})
	after := time.Since(hung)
	if after < 4*time.Second {
		t.Errorf("503 came after %s, before 30 x 0.2 s", after)
	}
	heal()
	w.waitLog(10*time.Second, `has not polled in the last .* seconds and should be restarted`)
	if !strings.Contains(body, `"OK"`) || !strings.Contains(ill, "Worker may be unresponsive at this time") {
		t.Errorf("bodies %q and %q", body, ill)
	}
	b.saw("200 %s; 503 %s %.1f s after polls began to hang", strings.TrimSpace(body), strings.TrimSpace(ill), after.Seconds())
}

func Test117Metrics(t *testing.T) {
	b := newBench(t, "117", "the metrics port serves text, and only when enabled")
	b.createPool("process", nil)
	on, off := freePort(t), freePort(t)
	w := b.worker("process", withEnv("PREFECT_CLIENT_METRICS_ENABLED", "true"), withEnv("PREFECT_CLIENT_METRICS_PORT", fmt.Sprint(on)))
	quiet := b.worker("process", withEnv("PREFECT_CLIENT_METRICS_PORT", fmt.Sprint(off)))
	w.waitStarted()
	quiet.waitStarted()
	var text string
	b.until(20*time.Second, "metrics are served", func() bool {
		status, body := get(fmt.Sprintf("http://127.0.0.1:%d/metrics", on))
		text = body
		return status == http.StatusOK
	})
	for _, name := range []string{"prefect_events_emitted_total", "prefect_event_websocket_connections_total"} {
		if !strings.Contains(text, name) {
			t.Errorf("no metric %s", name)
		}
	}
	if status, _ := get(fmt.Sprintf("http://127.0.0.1:%d/metrics", off)); status != 0 {
		t.Errorf("metrics are served although nobody asked: %d", status)
	}
	b.saw("%d lines with prefect_events_emitted_total; nothing on the port of a worker without the setting", strings.Count(text, "\n"))
}
