package awsfront

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const ecsTarget = "AmazonEC2ContainerServiceV20141113."

// stoppedEvery is how seldom stopped tasks are listed, in polls. It only serves
// tasks that a service started and lost between two polls: those started
// through the front are known, and so are all that were ever seen.
const stoppedEvery = 4

// watch follows the tasks of ministack's ECS and turns what changes into
// events. All but expect belongs to the goroutine of Run.
type watch struct {
	f       *Front
	deliver *deliveries

	mu       sync.Mutex
	expected map[string]bool // started through the front, not seen yet

	seen  map[string]*taskState
	since time.Time
	polls int
}

// taskState is what was last told of a task.
type taskState struct {
	version int64
	running bool // RUNNING was told
	final   bool // STOPPED was told
}

func newWatch(f *Front) *watch {
	return &watch{f: f, deliver: newDeliveries(f), expected: map[string]bool{}, seen: map[string]*taskState{}}
}

// Run emits the events of ECS tasks until ctx ends, and then returns nil.
func (f *Front) Run(ctx context.Context) error {
	f.watch.run(ctx)
	return nil
}

func (w *watch) run(ctx context.Context) {
	// In whole seconds, as the emulator's times are.
	w.since = time.Now().Truncate(time.Second)
	down := false
	for ctx.Err() == nil {
		start := time.Now()
		err := w.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != down {
			down = err != nil
			if down {
				w.f.log.Warn("watching ECS tasks fails; no events until it works again", "error", err)
			} else {
				w.f.log.Info("watching ECS tasks works again")
			}
		}
		// The emulator inspects a container per task and poll: leave it half the time.
		pause(ctx, max(w.f.o.PollInterval, time.Since(start)))
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// expect makes tasks known that were just started.
func (w *watch) expect(arns []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, arn := range arns {
		w.expected[arn] = true
	}
}

func (w *watch) takeExpected() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	arns := slices.Collect(maps.Keys(w.expected))
	clear(w.expected)
	return arns
}

// poll looks at every task that may have changed, and delivers what did. What
// was seen to change is delivered even when looking on fails.
func (w *watch) poll(ctx context.Context) error {
	expected := w.takeExpected()
	arns, err := w.candidates(ctx, expected)
	var events []event
	if err == nil {
		events, err = w.changes(ctx, arns)
	}
	if err != nil {
		w.expect(expected)
	}
	return errors.Join(err, w.deliver.send(ctx, events))
}

// changes describes tasks and returns the events they cause.
func (w *watch) changes(ctx context.Context, arns map[string]bool) ([]event, error) {
	var events []event
	for cluster, list := range byCluster(arns) {
		for batch := range slices.Chunk(list, 100) {
			found, err := w.describe(ctx, cluster, batch)
			if err != nil {
				return events, err
			}
			events = append(events, found...)
		}
	}
	return events, nil
}

// candidates are the tasks to look at: those just started, those that were not
// over when last seen, those that run, and now and then the stopped ones never
// seen.
func (w *watch) candidates(ctx context.Context, expected []string) (map[string]bool, error) {
	arns := map[string]bool{}
	for _, arn := range expected {
		arns[arn] = true
	}
	for arn, s := range w.seen {
		if !s.final {
			arns[arn] = true
		}
	}
	clusters, err := w.list(ctx, "ListClusters", "clusterArns", map[string]any{})
	if err != nil {
		return nil, err
	}
	withStopped := w.polls%stoppedEvery == 0
	w.polls++
	listed := map[string]bool{}
	for _, cluster := range clusters {
		for _, status := range []string{"RUNNING", "STOPPED"} {
			if status == "STOPPED" && !withStopped {
				continue
			}
			list, err := w.list(ctx, "ListTasks", "taskArns", map[string]any{"cluster": cluster, "desiredStatus": status})
			if err != nil {
				return nil, err
			}
			for _, arn := range list {
				listed[arn] = true
				if s := w.seen[arn]; s == nil || !s.final {
					arns[arn] = true
				}
			}
		}
	}
	if withStopped {
		maps.DeleteFunc(w.seen, func(arn string, s *taskState) bool { return s.final && !listed[arn] })
	}
	return arns, nil
}

// list reads all pages of a list of ARNs.
func (w *watch) list(ctx context.Context, operation, member string, in map[string]any) ([]string, error) {
	var all []string
	for {
		out := map[string]any{}
		if err := w.f.call(ctx, w.f.o.Ministack, "ecs", ecsTarget+operation, in, &out); err != nil {
			return nil, err
		}
		page, _ := out[member].([]any)
		for _, item := range page {
			all = append(all, str(item))
		}
		next := str(out["nextToken"])
		if next == "" {
			return all, nil
		}
		in["nextToken"] = next
	}
}

// describe looks at tasks of one cluster and returns the events they cause.
func (w *watch) describe(ctx context.Context, cluster string, arns []string) ([]event, error) {
	var out struct {
		Tasks    []map[string]any               `json:"tasks"`
		Failures []struct{ Arn, Reason string } `json:"failures"`
	}
	err := w.f.call(ctx, w.f.o.Ministack, "ecs", ecsTarget+"DescribeTasks", map[string]any{"cluster": cluster, "tasks": arns}, &out)
	if err != nil {
		return nil, err
	}
	for _, failure := range out.Failures {
		delete(w.seen, failure.Arn)
	}
	var events []event
	for _, task := range out.Tasks {
		w.f.tasks.see(scope{accessKey: w.f.o.AccountID, region: w.f.o.Region}, str(task["taskArn"]), runOf(task))
		w.f.tasks.tell(task)
		events = append(events, w.observe(task)...)
	}
	return events, nil
}

// observe compares a task with what was last told of it. A version that rose is
// an event. A task that ran and stopped between two polls causes two: on AWS
// nobody sees a task stop that was not seen running.
func (w *watch) observe(task map[string]any) []event {
	arn, status, version := str(task["taskArn"]), str(task["lastStatus"]), integer(task["version"])
	s := w.seen[arn]
	if s == nil {
		s = &taskState{}
		w.seen[arn] = s
	}
	if version <= s.version {
		return nil
	}
	var details []map[string]any
	stopped := status == "STOPPED"
	if stopped && !s.running && s.version+1 < version && task["startedAt"] != nil {
		details = append(details, runningDetail(task, s.version+1))
	}
	details = append(details, taskDetail(task))
	// What stopped before the watch began is history.
	history := stopped && s.version == 0 && w.before(task["stoppedAt"])
	s.version, s.running, s.final = version, s.running || status == "RUNNING", stopped
	if stopped {
		w.f.tokens.stopped(arn)
	}
	if history {
		return nil
	}
	var events []event
	for _, detail := range details {
		events = append(events, newEvent(w.f.o.Region, detail, time.Now()))
	}
	return events
}

func (w *watch) before(stoppedAt any) bool {
	t, ok := instant(stoppedAt)
	return ok && t.Before(w.since)
}

// byCluster sorts task ARNs by the cluster in them: task/<cluster>/<id>.
func byCluster(arns map[string]bool) map[string][]string {
	sorted := map[string][]string{}
	for _, arn := range slices.Sorted(maps.Keys(arns)) {
		if part := strings.Split(arn, "/"); len(part) == 3 {
			sorted[part[1]] = append(sorted[part[1]], arn)
		}
	}
	return sorted
}
