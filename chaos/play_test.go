//go:build chaos

package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
	"faber/internal/front"
	"faber/internal/front/awsfront"
	"faber/internal/front/prefectfront"
)

// A play is one scenario with one seed: a work pool of its own, on a Prefect server
// that it may share with others, an AWS of its own, and a front before each.
type play struct {
	*testing.T
	s      *scenario
	seed   uint64
	random *rand.Rand
	dir    string
	began  time.Time

	server     *server
	client     *client
	cloud      *fakeaws.Server
	engine     *engine
	prefect    *prefectfront.Front
	aws        *awsfront.Front
	prefectURL string
	awsURL     string
	pool       string
	health     string // where the worker tells how it is

	deployments []*deployment
	runs        []*run
	workers     []*worker
	started     int
	foreign     map[string]bool // ARNs of tasks that are nobody's here
	// ended is when the last step was over: from then on the worker is on its own.
	ended time.Time

	mu      sync.Mutex
	byID    map[string]*run
	reasons []string
	absent  string // why the scenario says nothing about this worker
}

type deployment struct {
	spec  *deploymentSpec
	id    string
	limit int
}

// A run is a flow run of the scenario.
type run struct {
	id         string
	deployment *deployment
	hit        bool
	scheduled  time.Time
	gone       bool // the scenario deleted it
}

// is tells whether a name means the run.
func (r *run) is(name string) bool {
	switch name {
	case "", "*":
		return true
	case "hit":
		return r.hit
	case "rest":
		return !r.hit
	default:
		return r.deployment.spec.Name == name
	}
}

func (p *play) of(name string) []*run {
	return slices.DeleteFunc(slices.Clone(p.runs), func(r *run) bool { return !r.is(name) })
}

func ids(runs []*run) []string {
	var out []string
	for _, r := range runs {
		out = append(out, r.id)
	}
	return out
}

// perform plays a scenario and judges it.
func perform(t *testing.T, s *scenario, seed uint64) {
	t.Parallel()
	defer joinCrowd(t, s.size(seed))()
	p := &play{
		T: t, s: s, seed: seed, random: rand.New(rand.NewPCG(seed, 1)), dir: tempDir(t), began: time.Now(),
		foreign: map[string]bool{}, byID: map[string]*run{},
	}
	t.Cleanup(p.conclude)
	p.build()
	for i, step := range s.Steps {
		p.Logf("%s step %d: %s %s", time.Now().Format("15:04:05.000"), i+1, step.Do, step.Note)
		steps()[step.Do](p, step)
	}
	p.ended = time.Now()
	p.judge()
}

// fatal ends the scenario with a finding.
func (p *play) fatal(format string, args ...any) {
	p.Helper()
	p.wrong(format, args...)
	p.FailNow()
}

// wrong notes a finding.
func (p *play) wrong(format string, args ...any) {
	p.Helper()
	p.mu.Lock()
	p.reasons = append(p.reasons, fmt.Sprintf(format, args...))
	p.mu.Unlock()
	p.Errorf(format, args...)
}

// conclude notes the verdict.
func (p *play) conclude() {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := verdict{
		Scenario: p.s.Name, What: p.s.What, Pains: p.s.Pains, Seed: p.seed, Passed: !p.Failed(),
		Absent: p.absent, Reasons: p.reasons, Seconds: time.Since(p.began).Seconds(),
	}
	if p.Failed() && len(p.reasons) == 0 {
		v.Reasons = []string{"the test failed without a finding: see its log"}
	}
	verdicts.add(v)
	if dir := os.Getenv("CHAOS_SHOW"); dir != "" {
		if f, err := os.OpenFile(dir+"/progress", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			_, _ = fmt.Fprintf(f, "%s %s seed %d passed %t after %.0f s: %s\n", time.Now().Format("15:04:05"), v.Scenario, v.Seed, v.Passed, v.Seconds, cut(strings.Join(v.Reasons, " | "), 400))
			_ = f.Close()
		}
	}
}

// schedule makes runs of a deployment, due now.
func (p *play) schedule(d *deployment, n int) {
	for range n {
		body := object{"state": object{"type": "SCHEDULED", "message": "by the scenario"}}
		if d.spec.RunName != "" {
			body["name"] = d.spec.RunName
		}
		r := &run{deployment: d, scheduled: time.Now()}
		var made struct {
			ID string `json:"id"`
		}
		p.mu.Lock() // the engine must know the run as soon as anybody does
		p.runs = append(p.runs, r)
		p.mu.Unlock()
		p.ask("POST", "/deployments/"+d.id+"/create_flow_run", body, &made)
		r.id = made.ID
		p.mu.Lock()
		p.byID[r.id] = r
		p.mu.Unlock()
	}
}

// pick has the seed pick the runs that are hit.
func (p *play) pick() {
	n := min(p.s.Hit, len(p.runs))
	for _, i := range p.random.Perm(len(p.runs))[:n] {
		p.runs[i].hit = true
	}
}

func (p *play) runOf(id string) *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id]
}

// stintOf is how the n-th task of a run lives.
func (p *play) stintOf(id string, n int) stint {
	r := p.runOf(id)
	for range 50 { // a worker may be faster than the answer to who made the run
		if r != nil || id == "" {
			break
		}
		p.pause(100 * time.Millisecond)
		r = p.runOf(id)
	}
	if r == nil {
		return stint{Work: duration(time.Hour)} // nobody's here
	}
	stints := r.deployment.spec.Tasks
	if r.hit && len(r.deployment.spec.HitTasks) > 0 {
		stints = r.deployment.spec.HitTasks
	}
	if len(stints) == 0 {
		return stint{}
	}
	return stints[min(n, len(stints))-1]
}

// flowOf is the body of the real flow of a run, "" for those that are played.
func (p *play) flowOf(id string) string {
	if r := p.runOf(id); r != nil {
		return r.deployment.spec.Flow
	}
	return ""
}

// cancels tells whether the scenario cancels anything.
func (p *play) cancels() bool {
	return slices.ContainsFunc(p.s.Steps, func(s step) bool { return s.Do == "cancel" })
}

// fill puts the ids of what the scenario made in the place of their names: $hit,
// $rest, $all, $run:<deployment>, $deployment:<name>.
func (p *play) fill(text string) string {
	anyOf := func(ids []string) string { return "(" + strings.Join(ids, "|") + ")" }
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		switch kind, of, _ := strings.Cut(name[1:], ":"); kind {
		case "hit", "rest":
			return anyOf(ids(p.of(kind)))
		case "all":
			return anyOf(ids(p.runs))
		case "pool":
			return regexp.QuoteMeta(p.pool)
		case "run":
			return anyOf(ids(p.of(of)))
		case "deployment":
			var all []string
			for _, d := range p.deployments {
				if d.spec.Name == of {
					all = append(all, d.id)
				}
			}
			return anyOf(all)
		}
		return name
	})
}

var placeholder = regexp.MustCompile(`\$(hit|rest|all|pool|run:[a-z0-9-]+|deployment:[a-z0-9-]+)`)

// until asks again and again until reached says yes: what is asked lives in another
// process, and gives no other sign.
func (p *play) until(limit time.Duration, reached func() bool) bool {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !reached() {
		select {
		case <-tick.C:
		case <-deadline:
			return reached()
		}
	}
	return true
}

// pause lets time go by.
func (p *play) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.Context().Done():
	}
}

// show shows what was seen, for who looks into a failure.
func (p *play) show() {
	var b strings.Builder
	p.mu.Lock()
	for _, reason := range p.reasons {
		fmt.Fprintf(&b, "FINDING %s\n", reason)
	}
	p.mu.Unlock()
	for _, r := range p.runs {
		if r.id == "" || r.gone {
			continue
		}
		fmt.Fprintf(&b, "\nrun %s of %s (hit: %t):", r.id, r.deployment.spec.Name, r.hit)
		status, data := p.client.once(contextOf(), "GET", "/flow_run_states/?flow_run_id="+r.id, nil)
		for _, s := range decodeStates(status, data) {
			fmt.Fprintf(&b, "\n  %s %s %q", s.Timestamp.Local().Format("15:04:05.000"), s, cut(s.Message, 160))
		}
		for _, l := range p.engine.livesOf(r.id) {
			fmt.Fprintf(&b, "\n  task %d %s, created %s, ended %s, told to end: %t", l.n, l.task.Status(), l.created.Format("15:04:05.000"), clock(l.over()), l.told())
		}
	}
	for _, name := range []string{"prefect", "aws"} {
		calls := p.front(name).Ledger().Calls(front.Query{})
		fmt.Fprintf(&b, "\nthe %d last of %d calls of %s:", min(60, len(calls)), len(calls), name)
		for _, c := range calls[max(0, len(calls)-60):] {
			fmt.Fprintf(&b, "\n  %s %s %s %d %s", c.Time.Local().Format("15:04:05.000"), c.Operation, strings.TrimPrefix(c.Path, "/api"), c.Status, c.Fault)
		}
	}
	if dir := os.Getenv("CHAOS_SHOW"); dir != "" {
		_ = os.WriteFile(fmt.Sprintf("%s/%s-%d-%s.txt", dir, p.s.Name, p.seed, suite.worker), []byte(b.String()), 0o600)
	}
	p.Log(tail(b.String(), 24000))
}

func clock(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.Format("15:04:05.000")
}

// A serving is a front that is served.
type serving interface {
	Handler() http.Handler
	Faults() *front.Faults
	Ledger() *front.Ledger
	Holds() *front.Holds
	Close()
}

func (p *play) front(name string) serving {
	if name == "aws" {
		return p.aws
	}
	return p.prefect
}

// serve serves a front; what draws lots there draws them by the seed.
func (p *play) serve(f serving) string {
	f.Faults().Seed(p.seed)
	s := httptest.NewServer(f.Handler())
	p.Cleanup(func() {
		f.Close()
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}
