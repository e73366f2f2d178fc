package cloudwatch

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"faber/internal/prefect"

	"github.com/prometheus/client_golang/prometheus"
)

// Publisher is a transport.
type Publisher interface {
	Publish(ctx context.Context, p Point) error
	String() string
}

// Options configure a Reporter. All but Every is needed.
type Options struct {
	Publisher Publisher
	Pool      string // name of the work pool
	API       API
	// Polled is when the worker's latest poll that went well was over. Without one since
	// the last report it says nothing about the pool: that it is silent is how one
	// sees that nobody polls.
	Polled func() time.Time
	// Metrics are the worker's own, which hold what is counted; they are given the
	// reporter's, too.
	Metrics *prometheus.Registry
	Every   time.Duration // a minute when zero
	Logger  *slog.Logger
}

const (
	// readPatience and publishPatience bound one report, well within its minute.
	readPatience    = 25 * time.Second
	publishPatience = 10 * time.Second
	// mostLaunches bounds what is remembered of launches: five minutes' worth at the
	// rate at which Fargate launches at the very most (20 a second).
	mostLaunches = 6000
	// startPatience is for how long a launched flow run is waited for.
	startPatience = time.Hour
	// startPage is how many flow runs are looked at for their start in a report: a page
	// of the server's. At more starts a minute it is a sample.
	startPage = 200
)

// Reporter publishes what a worker does, once a minute. Nothing that goes wrong here
// reaches the worker: it is counted, and told once.
type Reporter struct {
	o       Options
	started time.Time
	results *prometheus.CounterVec

	mu      sync.Mutex
	delays  []float64            // from due to created, since the last report
	created map[string]time.Time // launched flow runs that were not seen Running

	// Of whoever holds turn.
	turn    chan struct{}
	counted map[string]float64 // what the counters showed at the last report that got through
	starts  []float64          // from created to Running
	looked  time.Time          // when starts were last looked for
	read    time.Time          // when the last report was made
	failing bool               // the warning was given
}

// NewReporter returns a reporter that works while Run runs.
func NewReporter(o Options) *Reporter {
	if o.Every <= 0 {
		o.Every = time.Minute
	}
	r := &Reporter{
		o: o, started: time.Now(), turn: make(chan struct{}, 1),
		created: map[string]time.Time{}, counted: map[string]float64{},
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "faber", Name: "cloudwatch_reports_total", Help: "Reports of metrics to CloudWatch.",
		}, []string{"result"}),
	}
	for _, result := range []string{"ok", "failed"} {
		r.results.WithLabelValues(result)
	}
	o.Metrics.MustRegister(r.results)
	r.read, r.looked = r.started, r.started
	return r
}

// Launched takes note of one launch: when its flow run was due, if that is known, and
// when its infrastructure was created.
func (r *Reporter) Launched(flowRunID string, due *time.Time, created time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if due != nil && len(r.delays) < mostLaunches {
		r.delays = append(r.delays, max(0, created.Sub(*due).Seconds()))
	}
	if len(r.created) < mostLaunches {
		r.created[flowRunID] = created
	}
}

// Run reports until ctx ends.
func (r *Reporter) Run(ctx context.Context) {
	ticker := time.NewTicker(r.o.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.report(ctx, true)
		case <-ctx.Done():
			return
		}
	}
}

// Flush publishes, without asking anybody anything, what was counted since the last
// report, and returns when that is done or ctx ends.
func (r *Reporter) Flush(ctx context.Context) {
	done := make(chan struct{})
	go func() { // a pipe that nobody reads knows no context
		defer close(done)
		r.report(ctx, false)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (r *Reporter) report(ctx context.Context, ask bool) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return
	}
	now := time.Now()
	var data []Datum
	var problem error
	if ask {
		reading, cancel := context.WithTimeout(ctx, readPatience)
		data, problem = r.ask(reading, now)
		cancel()
	}
	counters, shown, err := r.counters()
	if problem == nil {
		problem = err
	}
	delays := r.takeDelays()
	data = append(data, counters...)
	data = append(data, Datum{LaunchSeconds, delays}, Datum{StartSeconds, r.starts})
	publishing, cancel := context.WithTimeout(ctx, publishPatience)
	defer cancel()
	err = r.o.Publisher.Publish(publishing, Point{At: now, Data: data})
	if err == nil {
		r.counted, r.starts = shown, nil
	} else {
		problem = err
		r.putBack(delays)
		r.starts = r.starts[:min(len(r.starts), mostLaunches)]
	}
	r.tell(ctx, problem)
}

// ask reads what Prefect knows: of the pool, if the worker has polled it since the
// last time, and of the flow runs that began meanwhile.
func (r *Reporter) ask(ctx context.Context, now time.Time) ([]Datum, error) {
	before := r.read
	r.read = now
	if err := r.findStarts(ctx, now); err != nil {
		return nil, err
	}
	if !r.o.Polled().After(before) {
		return nil, nil
	}
	pool, err := ReadPool(ctx, r.o.API, r.o.Pool, now)
	if err != nil {
		return nil, err
	}
	workers, err := r.o.API.Workers(ctx, r.o.Pool)
	if err != nil {
		return nil, fmt.Errorf("read the workers of the pool: %w", err)
	}
	online := 0
	for _, w := range workers {
		if w.Status == "ONLINE" {
			online++
		}
	}
	perWorker := float64(pool.Backlog) / float64(max(1, online)) // this one is there, whatever the server says
	return append(pool.Data(), Datum{BacklogPerWorker, []float64{perWorker}}), nil
}

// findStarts looks which of the launched flow runs began to run: the latest ones,
// in one call.
func (r *Reporter) findStarts(ctx context.Context, now time.Time) error {
	since := r.looked.Add(-10 * time.Second) // the server's clock is another one
	r.forget(now)
	if !r.awaits() {
		r.looked = now
		return nil
	}
	filter := inPool(r.o.Pool, map[string]any{"start_time": map[string]any{"after_": since.UTC()}})
	filter["sort"], filter["limit"] = "START_TIME_DESC", startPage
	runs, err := r.o.API.FilterFlowRuns(ctx, filter)
	if err != nil {
		return fmt.Errorf("read the flow runs that began: %w", err)
	}
	r.looked = now
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range runs {
		created, ours := r.created[run.ID]
		if !ours || run.StartTime == nil || run.StartTime.Before(created.Add(-time.Minute)) {
			continue // of an earlier launch
		}
		delete(r.created, run.ID)
		r.starts = append(r.starts, max(0, run.StartTime.Sub(created).Seconds()))
	}
	return nil
}

func (r *Reporter) awaits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.created) > 0
}

func (r *Reporter) forget(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, created := range r.created {
		if now.Sub(created) > startPatience {
			delete(r.created, id)
		}
	}
}

func (r *Reporter) takeDelays() []float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	delays := r.delays
	r.delays = nil
	return delays
}

func (r *Reporter) putBack(delays []float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delays = append(delays, r.delays...)
	r.delays = r.delays[:min(len(r.delays), mostLaunches)]
}

// counters are how much each counter has gone up since the last report that got
// through, and what they all show now.
func (r *Reporter) counters() (data []Datum, shown map[string]float64, err error) {
	families, err := r.o.Metrics.Gather()
	if len(families) == 0 && err != nil {
		return nil, r.counted, fmt.Errorf("gather metrics: %w", err)
	}
	shown = map[string]float64{}
	for _, family := range families {
		for _, source := range counterSources() {
			if family.GetName() != source.family {
				continue
			}
			for _, m := range family.GetMetric() {
				matches := source.label == ""
				for _, label := range m.GetLabel() {
					matches = matches || label.GetName() == source.label && label.GetValue() == source.value
				}
				if matches {
					shown[source.metric] += m.GetCounter().GetValue()
				}
			}
		}
	}
	for _, source := range counterSources() {
		data = append(data, Datum{source.metric, []float64{shown[source.metric] - r.counted[source.metric]}})
	}
	return data, shown, nil
}

// counterSource says out of which of the worker's counters a metric is made.
type counterSource struct{ metric, family, label, value string }

func counterSources() []counterSource {
	return []counterSource{
		{LaunchFailures, "faber_launch_failures_total", "", ""},
		{Throttles, "faber_aws_calls_total", "result", "throttled"},
		{SpotInterruptions, "faber_spot_interruptions_total", "", ""},
	}
}

// tell counts a report, and says when reports begin to fail and when they get through
// again.
func (r *Reporter) tell(ctx context.Context, err error) {
	switch {
	case err == nil && r.failing:
		r.o.Logger.Info("Metrics are published to CloudWatch again.")
	case err != nil && ctx.Err() == nil && !r.failing:
		r.o.Logger.Warn("Metrics are not published to CloudWatch, or not all of them. Flow runs are not affected; it is tried again each time, and told when it works.",
			"transport", r.o.Publisher.String(), "error", err, "hint", hintOf(err))
	}
	r.failing = err != nil
	if err == nil {
		r.results.WithLabelValues("ok").Inc()
	} else {
		r.results.WithLabelValues("failed").Inc()
	}
}

func hintOf(err error) string {
	if prefect.IsTransient(err) {
		return "the Prefect API cannot tell of the pool just now"
	}
	return "put_metric_data needs cloudwatch:PutMetricData for its namespace and a way to CloudWatch's API; emf needs neither"
}
