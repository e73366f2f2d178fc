//go:build load

package load

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"faber/internal/ecs"
	"faber/internal/fake/fakeaws"
)

// 500 runs are due at once, in an account with the quotas that AWS publishes, and
// the Prefect server is a real one. How fast it goes is what that server bears; what
// it alone bears is measured before and after.
//
// BURST_RUNS is how many runs instead, FABER the binary. BURST_EVENTS=none has AWS
// send no events: the sweeps alone tell then.
func TestBurstBesideARealServer(t *testing.T) {
	runs, err := strconv.Atoi(cmp.Or(os.Getenv("BURST_RUNS"), "500"))
	if err != nil {
		t.Fatal(err)
	}
	b := newRealBurst(t)
	before := b.ceiling("before")
	ids := b.makeRuns(b.makePool(pool), runs, time.Now())
	began := time.Now()
	worker := startSoaked(t, b.passage.url, b.aws.URL)
	over := b.untilOver(worker, 2*time.Minute+time.Duration(runs)*time.Second)
	took := time.Since(began)
	polls, calls := b.passage.polls.longest(), b.passage.made("worker")
	worker.stop()
	after := b.ceiling("after")
	o := b.outcome(ids)

	whole, steady := pace(b.aws.Calls("RunTask"))
	var figures table
	figures.add("runs", "%d", runs)
	figures.add("completed / crashed on the way / with two tasks / without one", "%d / %d / %d / %d", o.completed, o.crashes, o.doubled, o.without)
	figures.add("most tasks of one claim, most claims of one run", "%d, %d", o.perClaim, o.claims)
	figures.add("all over after", "%.1f s", took.Seconds())
	figures.add("launches a second, in all, in the middle eight tenths", "%.2f, %.2f", whole, steady)
	figures.add("runs a second that the server alone takes, before, after", "%.2f (%d runs), %.2f (%d runs)", before.rate(), before.runs, after.rate(), after.runs)
	figures.add("launches by the mean of these, in all, in the middle", "%.0f %%, %.0f %%", 200*whole/(before.rate()+after.rate()), 200*steady/(before.rate()+after.rate()))
	figures.add("calls to Prefect for a run: worker, its process; the server alone", "%.1f, %.1f; %.1f", float64(calls)/float64(runs),
		float64(b.passage.made("engine"))/float64(runs), float64(b.passage.made("ceiling"))/float64(before.runs+after.runs))
	figures.add("answers 500, other 5xx, slowest answer", "%d, %d, %.1f s", b.passage.broken, b.passage.busy, b.passage.slow.Seconds())
	figures.add("proposals of the runs' processes that were refused", "%d", b.engine.refused.Load())
	figures.add("calls of RunTask, throttled", "%d, %d", len(b.aws.Calls("RunTask")), refused(b.aws.Calls("RunTask")))
	figures.add("longest time between two polls", "%.1f s", polls.Seconds())
	figures.print(t)
	t.Logf("calls to Prefect:\n%s", b.passage.list(runs/10))

	if !over || o.completed != runs || o.crashes != 0 || o.doubled != 0 || o.perClaim > 1 {
		t.Errorf("of %d runs: %+v; the worker: %s", runs, o, worker.tail())
	}
	if polls > 3*query {
		t.Errorf("a poll came %s after the one before", polls)
	}
}

// realBurst is a worker's world with a real Prefect server in it.
type realBurst struct {
	t       *testing.T
	aws     *fakeaws.Server
	passage *passage
	api     *api // of the test itself
	engine  *api // of the runs' processes
	flow    string
}

func newRealBurst(t *testing.T) *realBurst {
	server := startServer(t)
	b := &realBurst{t: t, passage: newPassage(t, server), api: newAPI(t, server, "test", 8)}
	// Each run has a process of its own, and each process connections of its own.
	b.engine = newAPI(t, b.passage.url, "engine", 0)
	b.aws = fakeaws.New(t)
	b.aws.PublishedQuotas()
	b.aws.AddQueue(queue)
	if os.Getenv("BURST_EVENTS") != "none" {
		b.aws.EventsTo(queue)
	}
	b.aws.Play((&engine{aws: b.aws, prefect: b.engine, life: time.Second}).play)
	b.flow = b.make("/flows/", object{"name": "flow"})
	return b
}

// make makes something and returns its id.
func (b *realBurst) make(path string, body object) string {
	b.t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	b.api.must(http.MethodPost, path, body, &made)
	return made.ID
}

// makePool makes a work pool and returns the ids of its deployments.
func (b *realBurst) makePool(name string) (ids []string) {
	b.t.Helper()
	b.make("/work_pools/", object{"name": name, "type": "ecs", "base_job_template": ecs.DefaultBaseJobTemplate()})
	for i := range deployments {
		ids = append(ids, b.make("/deployments/", object{"name": fmt.Sprint(name, "-", i), "flow_id": b.flow, "work_pool_name": name}))
	}
	return ids
}

// makeRuns makes runs of the deployments in turn, all due at one moment.
func (b *realBurst) makeRuns(deployed []string, n int, due time.Time) []string {
	b.t.Helper()
	ids := make([]string, n)
	b.each(n, func(i int) {
		var made struct {
			ID string `json:"id"`
		}
		state := object{"type": "SCHEDULED", "name": "Scheduled", "state_details": object{"scheduled_time": due.UTC().Format(time.RFC3339Nano)}}
		if err := b.api.call(b.t.Context(), http.MethodPost, "/deployments/"+deployed[i%len(deployed)]+"/create_flow_run", object{"state": state}, &made); err != nil {
			b.t.Error(err)
		}
		ids[i] = made.ID
	})
	if b.t.Failed() {
		b.t.FailNow()
	}
	return ids
}

// each does something n times, eight at once.
func (b *realBurst) each(n int, do func(i int)) {
	next := make(chan int)
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	working.Wait()
}

// untilOver waits until no run of the pool is open, and reports whether that came.
func (b *realBurst) untilOver(worker *soaked, within time.Duration) bool {
	b.t.Helper()
	for deadline := time.Now().Add(within); ; {
		var open int
		b.api.must(http.MethodPost, "/flow_runs/count", object{
			"work_pools": object{"name": object{"any_": []string{pool}}},
			"flow_runs":  object{"state": object{"type": object{"any_": []string{"SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"}}}},
		}, &open)
		if open == 0 {
			return true
		}
		if time.Now().After(deadline) || !sleep(b.t.Context(), 2*time.Second) {
			b.t.Errorf("%d runs are not over after %s: %s", open, within, worker.status())
			return false
		}
		select {
		case err := <-worker.ended:
			b.t.Fatalf("the worker ended: %v: %s", err, worker.tail())
		default:
		}
	}
}

// realOutcome is outcome by a real server's states and the tasks of the fake AWS.
type realOutcome struct {
	outcome

	perClaim, claims int // the most tasks of one claim, and claims of one run
}

func (b *realBurst) outcome(ids []string) (o realOutcome) {
	b.t.Helper()
	tasks, perClaim := map[string]int{}, map[string]int{}
	for _, task := range b.aws.Tasks() {
		run := task.FlowRunID()
		tasks[run]++
		claim := run + task.Tags()["faber/claim"]
		perClaim[claim]++
		o.perClaim = max(o.perClaim, perClaim[claim])
	}
	var mu sync.Mutex
	b.each(len(ids), func(i int) {
		states := b.states(ids[i])
		mu.Lock()
		defer mu.Unlock()
		o.add(states, tasks[ids[i]])
	})
	return o
}

func (o *realOutcome) add(states []state, tasks int) {
	claims, last := 0, state{}
	for _, s := range states {
		if s.Name == "Pending" {
			claims++
		}
		if s.Type == "CRASHED" {
			o.crashes++
		}
		if !s.Timestamp.Before(last.Timestamp) {
			last = s
		}
	}
	switch last.Type {
	case "COMPLETED":
		o.completed++
	case "CRASHED":
		o.crashed++
	}
	switch {
	case tasks > 1:
		o.doubled++
	case tasks == 0:
		o.without++
	}
	o.claims = max(o.claims, claims)
}

// state is one of a run, as the server keeps it.
type state struct {
	Type      string    `json:"type"`
	Name      string    `json:"name"`
	Message   string    `json:"message"`
	Timestamp time.Time `json:"timestamp"`
}

// states are all that a run was in. A crash is told at once, with its words.
func (b *realBurst) states(run string) (all []state) {
	if err := b.api.call(b.t.Context(), http.MethodGet, "/flow_run_states/?flow_run_id="+run, nil, &all); err != nil {
		b.t.Error(err)
	}
	for _, s := range all {
		if s.Type == "CRASHED" {
			b.t.Errorf("run %s crashed: %s", run, s.Message)
		}
	}
	return all
}

// pace is how many launches a second there were, in all and among the middle eight
// tenths, where neither the start nor the last stragglers count.
func pace(calls []fakeaws.Call) (whole, middle float64) {
	var at []time.Time
	for _, call := range calls {
		if !call.Refused {
			at = append(at, call.At)
		}
	}
	rate := func(part []time.Time) float64 {
		if len(part) < 2 {
			return 0
		}
		return float64(len(part)-1) / part[len(part)-1].Sub(part[0]).Seconds()
	}
	return rate(at), rate(at[len(at)/10 : len(at)-len(at)/10])
}
