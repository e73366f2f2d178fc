package cloudwatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"faber/internal/prefect"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAPI is a pool as a test has it.
type fakeAPI struct {
	mu      sync.Mutex
	pool    prefect.WorkPool
	queues  []prefect.WorkQueue
	workers []prefect.WorkerInfo
	runs    []prefect.FlowRun
	err     error
	asked   []string // filters, as JSON
}

func (f *fakeAPI) ReadWorkPool(context.Context, string) (prefect.WorkPool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pool, f.err
}

func (f *fakeAPI) WorkQueues(context.Context, string, []string) ([]prefect.WorkQueue, error) {
	return f.queues, f.err
}

func (f *fakeAPI) Workers(context.Context, string) ([]prefect.WorkerInfo, error) {
	return f.workers, f.err
}

// matching are the runs that a filter means: by state, by when they are due, by when
// they began.
func (f *fakeAPI) matching(filter map[string]any) ([]prefect.FlowRun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := json.Marshal(filter)
	if err != nil {
		return nil, err
	}
	f.asked = append(f.asked, string(data))
	var q struct {
		Runs struct {
			State struct {
				Type struct {
					Any []prefect.StateType `json:"any_"`
				} `json:"type"`
			} `json:"state"`
			Due struct {
				Before *time.Time `json:"before_"`
			} `json:"next_scheduled_start_time"`
			Began struct {
				After *time.Time `json:"after_"`
			} `json:"start_time"`
		} `json:"flow_runs"`
		Pools struct {
			Name struct {
				Any []string `json:"any_"`
			} `json:"name"`
		} `json:"work_pools"`
		Queues *struct {
			ID struct {
				Any []string `json:"any_"`
			} `json:"id"`
		} `json:"work_pool_queues"`
		Limit int `json:"limit"`
	}
	if err := json.Unmarshal(data, &q); err != nil {
		return nil, err
	}
	if !slices.Equal(q.Pools.Name.Any, []string{"p"}) {
		return nil, fmt.Errorf("the pool is not named: %s", data)
	}
	var found []prefect.FlowRun
	for _, run := range f.runs {
		states, due, began := q.Runs.State.Type.Any, q.Runs.Due.Before, q.Runs.Began.After
		switch {
		case states != nil && !slices.Contains(states, run.StateType):
		case due != nil && (run.NextScheduledStart == nil || run.NextScheduledStart.After(*due)):
		case began != nil && (run.StartTime == nil || run.StartTime.Before(*began)):
		case q.Queues != nil && !slices.Contains(q.Queues.ID.Any, run.WorkQueueID):
		default:
			found = append(found, run)
		}
	}
	slices.SortFunc(found, func(a, b prefect.FlowRun) int {
		if a.NextScheduledStart == nil || b.NextScheduledStart == nil {
			return 0
		}
		return a.NextScheduledStart.Compare(*b.NextScheduledStart)
	})
	if q.Limit > 0 {
		found = found[:min(len(found), q.Limit)]
	}
	return found, f.err
}

func (f *fakeAPI) CountFlowRuns(_ context.Context, filter map[string]any) (int, error) {
	runs, err := f.matching(filter)
	return len(runs), err
}

func (f *fakeAPI) FilterFlowRuns(_ context.Context, filter map[string]any) ([]prefect.FlowRun, error) {
	return f.matching(filter)
}

func due(d time.Duration, queue string) prefect.FlowRun {
	at := time.Now().Add(-d)
	return prefect.FlowRun{ID: fmt.Sprintf("due-%s-%s", d, queue), StateType: prefect.StateScheduled, NextScheduledStart: &at, WorkQueueID: queue}
}

func TestReadPool(t *testing.T) {
	t.Parallel()
	pending, running, cancelling := prefect.FlowRun{StateType: prefect.StatePending}, prefect.FlowRun{StateType: prefect.StateRunning}, prefect.FlowRun{StateType: prefect.StateCancelling}
	for name, c := range map[string]struct {
		pool   prefect.WorkPool
		queues []prefect.WorkQueue
		runs   []prefect.FlowRun
		want   Pool
	}{
		"empty": {},
		"some of each": {
			runs: []prefect.FlowRun{due(40*time.Second, "a"), due(90*time.Second, "b"), due(-time.Hour, "a"), pending, running, running, cancelling, {StateType: prefect.StateCompleted}},
			want: Pool{Backlog: 2, OldestDue: 90 * time.Second, Starting: 1, Running: 3},
		},
		"a paused queue": {
			queues: []prefect.WorkQueue{{ID: "a"}, {ID: "b", IsPaused: true}},
			runs:   []prefect.FlowRun{due(40*time.Second, "a"), due(90*time.Second, "b"), pending},
			want:   Pool{Backlog: 1, OldestDue: 40 * time.Second, Starting: 1},
		},
		"all queues are paused": {
			queues: []prefect.WorkQueue{{ID: "b", IsPaused: true}},
			runs:   []prefect.FlowRun{due(90*time.Second, "b"), running},
			want:   Pool{Running: 1},
		},
		"a paused pool": {
			pool: prefect.WorkPool{IsPaused: true},
			runs: []prefect.FlowRun{due(90*time.Second, "b"), running},
			want: Pool{Running: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := &fakeAPI{pool: c.pool, queues: c.queues, runs: c.runs}
			got, err := ReadPool(t.Context(), api, "p", time.Now())
			if err != nil || got.OldestDue.Round(time.Second) != c.want.OldestDue {
				t.Errorf("%v, oldest %s", err, got.OldestDue)
			}
			got.OldestDue = c.want.OldestDue
			if got != c.want {
				t.Errorf("%+v, not %+v", got, c.want)
			}
			if len(api.asked) > 4 {
				t.Errorf("%d filters", len(api.asked))
			}
		})
	}
}

// paper keeps what is published.
type paper struct {
	mu     sync.Mutex
	points []Point
	err    error
	stuck  chan struct{}
}

func (*paper) String() string { return "paper" }

func (p *paper) Publish(_ context.Context, point Point) error {
	if p.stuck != nil {
		<-p.stuck
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	point.Data = slices.Clone(point.Data)
	p.points = append(p.points, point)
	return nil
}

func (p *paper) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// last are the values of the latest report, by metric.
func (p *paper) last(t *testing.T) map[string][]float64 {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.points) == 0 {
		t.Fatal("nothing was published")
	}
	values := map[string][]float64{}
	for _, d := range p.points[len(p.points)-1].Data {
		values[d.Name] = d.Values
	}
	return values
}

// bench is a reporter in a bubble.
type bench struct {
	*Reporter
	api      *fakeAPI
	paper    *paper
	failures prometheus.Counter
	calls    *prometheus.CounterVec
	log      *strings.Builder
	silent   bool // the worker does not poll
	stop     func()
}

// newBench starts a reporter, once set has said what it will find: from then on it
// reads what it finds at any time.
func newBench(t *testing.T, set ...func(b *bench)) *bench {
	t.Helper()
	registry := prometheus.NewRegistry()
	b := &bench{api: &fakeAPI{}, paper: &paper{}, log: &strings.Builder{}}
	b.failures = prometheus.NewCounter(prometheus.CounterOpts{Name: "faber_launch_failures_total", Help: "As the worker counts."})
	b.calls = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "faber_aws_calls_total", Help: "As the governor counts."}, []string{"api", "result"})
	spot := prometheus.NewCounter(prometheus.CounterOpts{Name: "faber_spot_interruptions_total", Help: "As the worker counts."})
	registry.MustRegister(b.failures, b.calls, spot)
	b.Reporter = NewReporter(Options{
		Publisher: b.paper, Pool: "p", API: b.api, Metrics: registry, Logger: slog.New(slog.NewTextHandler(b.log, nil)),
		Polled: func() time.Time {
			if b.silent {
				return time.Time{}
			}
			return time.Now().Add(-5 * time.Second)
		},
	})
	for _, s := range set {
		s(b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	b.stop = func() { cancel(); <-done }
	return b
}

// remembered is how much the reporter keeps of launches.
func (b *bench) remembered() (created, delays int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.created), len(b.delays)
}

func (b *bench) minute() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

func TestReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now().Add(12 * time.Second)
		b := newBench(t, func(b *bench) {
			b.api.workers = []prefect.WorkerInfo{{Status: "ONLINE"}, {Status: "ONLINE"}, {Status: "OFFLINE"}}
			b.api.runs = []prefect.FlowRun{
				due(10*time.Second, "a"), due(20*time.Second, "a"), due(30*time.Second, "a"),
				{StateType: prefect.StatePending},
				{ID: "r1", StateType: prefect.StateCompleted, StartTime: &began},
				{ID: "foreign", StateType: prefect.StateRunning, StartTime: &began},
			}
		})
		defer b.stop()
		b.failures.Add(2)
		b.calls.WithLabelValues("RunTask", "throttled").Add(3)
		b.calls.WithLabelValues("DescribeTasks", "throttled").Add(1)
		b.calls.WithLabelValues("RunTask", "ok").Add(50)
		was := time.Now().Add(-3 * time.Second)
		b.Launched("r1", &was, time.Now())
		b.Launched("r2", nil, time.Now())
		early := time.Now().Add(5 * time.Second)
		b.Launched("r3", &early, time.Now())
		b.minute()
		got := b.paper.last(t)
		for name, want := range map[string]string{
			Backlog: "[3]", OldestDueAge: "[90]", BacklogPerWorker: "[1.5]", StartingRuns: "[1]", RunningRuns: "[1]",
			LaunchFailures: "[2]", Throttles: "[4]", SpotInterruptions: "[0]", LaunchSeconds: "[3 0]", StartSeconds: "[12]",
		} {
			if fmt.Sprint(got[name]) != want {
				t.Errorf("%s is %v, want %s", name, got[name], want)
			}
		}
		if len(got) != len(Metrics()) {
			t.Errorf("%d metrics are published, %d are listed", len(got), len(Metrics()))
		}
		b.failures.Add(1)
		b.minute()
		got = b.paper.last(t)
		if fmt.Sprint(got[LaunchFailures], got[Throttles], len(got[LaunchSeconds]), len(got[StartSeconds])) != "[1] [0] 0 0" {
			t.Errorf("the next minute: %v", got)
		}
	})
}

// TestASilentWorkerSaysNothingOfThePool: that these metrics are missing is the alarm.
func TestASilentWorkerSaysNothingOfThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench) { b.silent = true })
		defer b.stop()
		b.minute()
		got := b.paper.last(t)
		for _, name := range []string{Backlog, OldestDueAge, BacklogPerWorker, StartingRuns, RunningRuns} {
			if got[name] != nil {
				t.Errorf("%s is %v", name, got[name])
			}
		}
		if got[LaunchFailures] == nil {
			t.Error("what is counted is missing, too")
		}
	})
}

// TestNothingCountedIsLost: what could not be published goes with the next report, is
// told once, and so is that it works again.
func TestNothingCountedIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.stop()
		b.paper.fail(errors.New("no route to host"))
		was := time.Now().Add(-3 * time.Second)
		for range 5 {
			b.failures.Add(1)
			b.Launched("r", &was, time.Now())
			b.minute()
		}
		b.paper.fail(nil)
		b.minute()
		got := b.paper.last(t)
		if fmt.Sprint(got[LaunchFailures]) != "[5]" || len(got[LaunchSeconds]) != 5 {
			t.Errorf("%v", got)
		}
		b.minute()
		if warned, well := strings.Count(b.log.String(), "level=WARN"), strings.Count(b.log.String(), "again."); warned != 1 || well != 1 {
			t.Errorf("warned %d times, all well %d times:\n%s", warned, well, b.log)
		}
	})
}

// TestAPrefectThatIsDown: the worker's own counts are published all the same.
func TestAPrefectThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench) { b.api.err = errors.New("connection refused") })
		defer b.stop()
		b.failures.Add(1)
		b.minute()
		got := b.paper.last(t)
		if got[Backlog] != nil || fmt.Sprint(got[LaunchFailures]) != "[1]" || !strings.Contains(b.log.String(), "connection refused") {
			t.Errorf("%v\n%s", got, b.log)
		}
	})
}

func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		time.Sleep(10 * time.Second)
		b.failures.Add(1)
		asked := len(b.api.asked)
		b.Flush(t.Context())
		if fmt.Sprint(b.paper.last(t)[LaunchFailures]) != "[1]" || len(b.api.asked) != asked {
			t.Errorf("%v, asked %v", b.paper.last(t), b.api.asked)
		}
		// A reader that is stuck holds nobody longer than he has time.
		b.paper.stuck = make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		b.Flush(ctx)
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("it took %s", d)
		}
		close(b.paper.stuck)
		synctest.Wait()
		b.stop()
	})
}

// TestMemoryIsBounded: a worker whose runs never begin, or whose CloudWatch never
// answers, remembers no more than some.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.stop()
		b.paper.fail(errors.New("no"))
		was := time.Now()
		for i := range 3 * mostLaunches {
			b.Launched(fmt.Sprint(i), &was, time.Now())
		}
		b.minute()
		if created, delays := b.remembered(); created != mostLaunches || delays != mostLaunches {
			t.Errorf("%d launches, %d delays", created, delays)
		}
		time.Sleep(2 * startPatience)
		synctest.Wait()
		if created, _ := b.remembered(); created != 0 {
			t.Errorf("%d are still waited for", created)
		}
	})
}
