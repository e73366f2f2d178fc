//go:build chaos

package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"faber/internal/front/awsfront"
)

// readyPaths are where each worker tells whether it is of use.
var readyPaths = map[underTest]string{faber: "/readyz", python: "/health", stub: "/health"}

// doStartWithHealth starts a worker that serves its health.
func doStartWithHealth(p *play, s step) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.fatal("%v", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	p.health = fmt.Sprintf("http://127.0.0.1:%d%s", port, readyPaths[suite.worker])
	s.Args = append(s.Args, "--with-healthcheck")
	s.Env = map[string]string{"PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1", "PREFECT_WORKER_WEBSERVER_PORT": fmt.Sprint(port)}
	doStart(p, s)
}

// doReady waits until the worker says that it is "ready", or "unready".
func doReady(p *play, s step) {
	limit, said := within(s, 30*time.Second), ""
	client := http.Client{Timeout: 5 * time.Second}
	if !p.until(limit, func() bool {
		response, err := client.Get(p.health)
		if err != nil {
			said = err.Error()
			return false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, 2000))
		said = fmt.Sprint(response.Status, " ", string(body), " ", err)
		return (response.StatusCode == http.StatusOK) == (s.State == "ready")
	}) {
		p.wrong("the worker was not %s within %s: its health is %s", s.State, limit, said)
	}
}

// doCutSockets cuts every open socket to Prefect.
func doCutSockets(p *play, _ step) {
	request, err := http.NewRequestWithContext(p.Context(), http.MethodDelete, p.prefectURL+"/_front/sockets", nil)
	if err != nil {
		p.fatal("%v", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.fatal("%v", err)
	}
	_ = response.Body.Close()
}

// doQuotas holds callers to AWS's quotas: "published", or those of an account that
// is "shared" with others.
func doQuotas(p *play, s step) {
	quotas := awsfront.Published()
	if s.Text == "shared" {
		quotas[awsfront.QuotaRunTask] = awsfront.Quota{Burst: 10, Rate: 2}
	}
	p.aws.SetQuotas(quotas)
}

// doDrained waits until the queue of events is empty.
func doDrained(p *play, s step) {
	limit := within(s, time.Minute)
	if !p.until(limit, func() bool { return p.cloud.Queued(eventQueue) == 0 }) {
		p.wrong("after %s there are %d events in the queue", limit, p.cloud.Queued(eventQueue))
	}
}

// doTell tells once more of the N-th task of runs, as it is now.
func doTell(p *play, s step) {
	for _, r := range p.of(s.Of) {
		if lives := p.engine.livesOf(r.id); len(lives) >= s.N {
			lives[s.N-1].task.Tell(eventQueue)
		}
	}
}

// doResume resumes suspended runs as Prefect's user interface does.
func doResume(p *play, s step) {
	for _, r := range p.of(s.Of) {
		p.ask("POST", "/flow_runs/"+r.id+"/resume", object{}, nil)
	}
}

// checkAbsent: a text is nowhere where it must not be.
func (p *play) checkAbsent(histories map[string][]state) {
	text := p.s.Expect.Absent
	if text == "" {
		return
	}
	for _, call := range p.cloud.Calls() {
		if data, err := json.Marshal(call.Body); err != nil || strings.Contains(string(data), text) {
			p.wrong("SECRET: it is in a call of %s", call.Op)
		}
	}
	for _, r := range p.runs {
		for _, s := range histories[r.id] {
			if strings.Contains(s.Message, text) {
				p.wrong("SECRET: it is in the message of %s", s)
			}
		}
		if strings.Contains(strings.Join(p.logLines(r.id), "\n"), text) {
			p.wrong("SECRET: it is in the log of run %s", r.id)
		}
	}
	for _, w := range p.workers {
		if strings.Contains(w.out.String(), text) {
			p.wrong("SECRET: it is in the log of worker %s: %s", w.name, regexp.MustCompile(`.{0,80}`+regexp.QuoteMeta(text)).FindString(w.out.String()))
		}
	}
}
