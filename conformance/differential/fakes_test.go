//go:build conformance

package differential

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/fakeprefect"
)

// A door is one address behind which each run finds a server of its own. Both
// workers are given the same addresses, because the API's URL is part of what
// they send.
type door struct {
	url    string
	behind atomic.Pointer[http.Handler]
}

func newDoor(t *testing.T) *door {
	t.Helper()
	d := &door{}
	d.open(http.NotFoundHandler())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*d.behind.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	d.url = server.URL
	return d
}

func (d *door) open(h http.Handler) { d.behind.Store(&h) }

// request is one call to AWS, its body as it was on the wire.
type request struct {
	op   string
	body json.RawMessage
}

// recorder passes calls on to a fake AWS and keeps their bodies: the fake itself
// keeps them decoded, where 1 and 1.0 are the same.
type recorder struct {
	fake   *fakeaws.Server
	client *http.Client

	mu   sync.Mutex
	seen []request
}

func newRecorder(aws *fakeaws.Server) *recorder {
	// A kept connection could be one to an earlier case's server, whose port this
	// one has now.
	return &recorder{fake: aws, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the caller has gone
	}
	target := req.Header.Get("X-Amz-Target")
	r.mu.Lock()
	r.seen = append(r.seen, request{target[strings.LastIndex(target, ".")+1:], body})
	r.mu.Unlock()
	if err := r.pass(w, req, body); err != nil {
		panic(http.ErrAbortHandler) // the fake broke the connection on purpose
	}
}

func (r *recorder) pass(w http.ResponseWriter, req *http.Request, body []byte) error {
	out, err := http.NewRequestWithContext(req.Context(), req.Method, r.fake.URL+req.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	out.Host, out.Header = req.Host, req.Header.Clone()
	answer, err := r.client.Do(out)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	maps.Copy(w.Header(), answer.Header)
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(data) // the caller may have gone
	return nil
}

func (r *recorder) bodies(op string) []json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []json.RawMessage
	for _, call := range r.seen {
		if call.op == op {
			out = append(out, call.body)
		}
	}
	return out
}

// ranOnFargate tells that a task was started from a definition for Fargate.
func (r *recorder) ranOnFargate() bool {
	return slices.ContainsFunc(r.fake.Tasks(), func(task *fakeaws.Task) bool {
		kinds, _ := r.fake.DefinitionOf(task)["requiresCompatibilities"].([]any)
		return slices.Contains(kinds, any("FARGATE"))
	})
}

// stage is what one worker finds: a pool with one flow run that is due.
type stage struct {
	prefect *fakeprefect.Server
	aws     *recorder
	run     string
}

// outcome is what a worker did with the flow run.
type outcome struct {
	registered []json.RawMessage
	launched   []json.RawMessage
	pid        string
	state      string // name of the run's last state
	message    string // of that state, when the run was given up
	facts      facts
	log        string
}

func (s *stage) outcome() outcome {
	o := outcome{registered: s.aws.bodies("RegisterTaskDefinition"), launched: s.aws.bodies("RunTask")}
	run, _ := s.prefect.Run(s.run)
	o.state = run.StateName
	o.facts = facts{run: run.ID, pool: run.WorkPoolID, onFargate: s.aws.ranOnFargate()}
	for _, state := range s.prefect.States(s.run) {
		if state.Name == "Pending" {
			o.facts.claim = state.ID
		}
	}
	if run.InfrastructurePID != nil {
		o.pid = *run.InfrastructurePID
	}
	if o.gaveUp() && run.State.Message != nil {
		o.message = *run.State.Message
	}
	return o
}

func (o outcome) gaveUp() bool { return o.state != "Submitting" && o.state != "Pending" }

// settled tells that the worker is through with the run: it has recorded where
// the run's infrastructure is, or has given it up.
func (s *stage) settled() bool {
	run, _ := s.prefect.Run(s.run)
	over := run.StateType != "PENDING" && len(s.prefect.States(s.run)) > 1
	return run.InfrastructurePID != nil || over
}

// set builds the stage of a case.
func (c *testCase) set(t *testing.T) *stage {
	t.Helper()
	aws := fakeaws.New(t)
	if c.aws != nil {
		c.aws(aws)
	}
	p := fakeprefect.New()
	s := &stage{prefect: p, aws: newRecorder(aws)}
	p.AddPool(fakeprefect.Pool{ID: c.id("pool"), Name: c.poolName(), Type: "ecs", BaseJobTemplate: c.baseTemplate()})
	flow := p.AddFlow(fakeprefect.Flow{ID: c.id("flow"), Name: or(c.flow, "my-flow")})
	run := fakeprefect.FlowRun{ID: c.id("run"), Name: or(c.runName, "daft-heron"), FlowID: flow.ID, WorkPoolName: c.poolName(), JobVariables: c.json(c.run)}
	if !c.adhoc {
		deployment := p.AddDeployment(fakeprefect.Deployment{
			ID: c.id("deployment"), Name: or(c.deploymentName, "my-deployment"), FlowID: flow.ID, WorkPoolName: c.poolName(),
			JobVariables: c.json(c.deployment), Updated: fakeprefect.Time{Time: c.updatedAt()},
		})
		run.DeploymentID = &deployment.ID
	}
	for name, data := range c.blocks {
		slug, document, _ := strings.Cut(name, "/")
		p.AddBlock(fakeprefect.Block{ID: blockID(name), TypeSlug: slug, Name: document, Data: json.RawMessage(data)})
	}
	for name, value := range c.variables {
		p.AddVariable(name, json.RawMessage(value))
	}
	s.run = p.AddRun(run).ID
	return s
}
