//go:build chaos

package chaos

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"faber/internal/fake/fakeaws"
)

// Names of what the cloud is furnished with.
const (
	eventQueue = "events"
	// stopTimeout is what a deaf task gets between SIGTERM and SIGKILL. AWS gives 30 s
	// where a definition says nothing; nothing here depends on how long it is.
	stopTimeout = 6 * time.Second
	sigterm     = 143
	sigkill     = 137
	// startTime is how long it takes from RunTask to RUNNING, bootTime from there until
	// Python has loaded Prefect: less than anybody has seen, and enough for the order
	// of things to be that of real ones.
	startTime = 3 * time.Second
	bootTime  = 1500 * time.Millisecond
)

// An engine plays the tasks: what Fargate does with them, and what `prefect flow-run
// execute` does inside of them. It asks Prefect past the front, so that what the
// front records is the worker's alone.
type engine struct {
	p      *play
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	lives  []*life
	known  map[string]*life // by ARN
	random *rand.Rand
	silent bool // no events are sent for now
}

// A life is one task's.
type life struct {
	e     *engine
	task  *fakeaws.Task
	run   string
	n     int // 1 is the run's first task
	stint stint
	// stopped is closed when the task is told to end.
	stopped chan struct{}
	once    sync.Once

	mu                    sync.Mutex
	created, ended, began time.Time // ended: nothing of it runs any more; began: user code
	asked                 bool      // somebody asked for its end
	reschedules           bool      // its engine asked for another launch
}

func newEngine(p *play) *engine {
	ctx, cancel := context.WithCancel(context.Background())
	e := &engine{p: p, ctx: ctx, cancel: cancel, known: map[string]*life{}, random: rand.New(rand.NewPCG(p.seed, 7))}
	e.wg.Go(e.watch)
	e.wg.Go(e.watchCancelling)
	p.Cleanup(func() {
		cancel()
		e.wg.Wait()
	})
	return e
}

// watch finds new tasks, and those that StopTask was called for.
func (e *engine) watch() {
	seen := 0
	for {
		changed := e.p.cloud.Changed()
		tasks := e.p.cloud.Tasks()
		for _, task := range tasks[seen:] {
			e.begin(task)
		}
		seen = len(tasks)
		for _, l := range e.all() {
			if l.over().IsZero() && l.task.Detail()["desiredStatus"] == "STOPPED" {
				l.stop()
			}
		}
		select {
		case <-changed:
		case <-e.ctx.Done():
			return
		}
	}
}

func (e *engine) all() []*life {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.lives)
}

// livesOf are the tasks of a run, the oldest first.
func (e *engine) livesOf(run string) []*life {
	return slices.DeleteFunc(e.all(), func(l *life) bool { return l.run != run })
}

// live are the tasks of which something runs.
func (e *engine) live(run string) []*life {
	return slices.DeleteFunc(e.livesOf(run), func(l *life) bool { return !l.over().IsZero() })
}

func (e *engine) begin(task *fakeaws.Task) {
	l := &life{e: e, task: task, run: task.FlowRunID(), stopped: make(chan struct{}), created: createdAt(task)}
	e.mu.Lock()
	l.n = 1
	for _, other := range e.lives {
		if other.run == l.run {
			l.n++
		}
	}
	e.lives = append(e.lives, l)
	e.mu.Unlock()
	l.stint = e.p.stintOf(l.run, l.n)
	e.wg.Go(l.live)
}

// createdAt is when RunTask made the task.
func createdAt(task *fakeaws.Task) time.Time {
	if at, ok := task.Detail()["createdAt"].(float64); ok {
		return time.UnixMicro(int64(at * 1e6))
	}
	return time.Now()
}

// over is when the task ended, zero while it lives.
func (l *life) over() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

func (l *life) begun() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.began
}

// stop is SIGTERM.
func (l *life) stop() {
	l.mu.Lock()
	l.asked = true
	l.mu.Unlock()
	l.once.Do(func() { close(l.stopped) })
}

func (l *life) told() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// set moves the task on and tells of it.
func (l *life) set(status string, changes ...fakeaws.Change) {
	l.task.Set(status, changes...)
	l.e.tell(l.task)
}

// live is the task's life from PROVISIONING to STOPPED.
func (l *life) live() {
	l.e.tell(l.task)
	start := time.Duration(l.stint.Start)
	if start == 0 {
		start = startTime
	}
	l.wait(start / 2)
	if !l.told() {
		l.set("PENDING")
		l.wait(start - start/2)
	}
	switch {
	case l.e.ctx.Err() != nil:
	case l.told():
		l.end()
	case l.stint.Never:
		l.end(l.why(0)...)
	default:
		l.set("RUNNING")
		l.end(l.why(l.execute())...)
	}
}

// why are the words and the code of the task's end.
func (l *life) why(code int) []fakeaws.Change {
	var changes []fakeaws.Change
	if !l.stint.Never {
		changes = append(changes, fakeaws.Exit(code))
	}
	if l.stint.NoExit {
		changes = append(changes, fakeaws.NoExitCode())
	}
	if l.told() {
		return changes
	}
	if l.stint.Code != "" {
		changes = append(changes, fakeaws.StopCode(l.stint.Code))
	}
	if l.stint.Reason != "" {
		changes = append(changes, fakeaws.Reason(l.stint.Reason))
	}
	if l.stint.Because != "" {
		changes = append(changes, fakeaws.ContainerReason("prefect", l.stint.Because))
	}
	if l.stint.Sidecar != 0 {
		changes = append(changes, fakeaws.ExitOf("sidecar", l.stint.Sidecar))
	}
	return changes
}

// end marks the end before anybody can see it.
func (l *life) end(changes ...fakeaws.Change) {
	l.mu.Lock()
	l.ended = time.Now()
	l.mu.Unlock()
	l.set("STOPPED", changes...)
}

// wait waits until the time is over or the task is told to end, and reports whether
// it may go on.
func (l *life) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.stopped:
	case <-l.e.ctx.Done():
	}
	return false
}

// deafWait waits as wait does, but is deaf to SIGTERM until SIGKILL.
func (l *life) deafWait(d time.Duration) (killed bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	var kill <-chan time.Time
	stopped := l.stopped
	for {
		select {
		case <-timer.C:
			return false
		case <-stopped:
			stopped = nil
			kill = time.After(stopTimeout)
		case <-kill:
			return true
		case <-l.e.ctx.Done():
			return true
		}
	}
}

// environment is what the container gets: what the definition says, and what the
// request says over it.
func (l *life) environment() map[string]string {
	env := map[string]string{}
	name := ""
	maps.Copy(env, l.task.Env(""))
	for _, c := range list(dig(l.task.Request, "overrides", "containerOverrides")) {
		if name == "" {
			name, _ = c["name"].(string)
		}
	}
	for _, c := range list(l.e.p.cloud.DefinitionOf(l.task)["containerDefinitions"]) {
		if c["name"] != name && name != "" {
			continue
		}
		for _, v := range list(c["environment"]) {
			key, _ := v["name"].(string)
			if _, set := env[key]; !set {
				env[key], _ = v["value"].(string)
			}
		}
		break
	}
	return env
}

// execute is `prefect flow-run execute`; it returns the exit code.
func (l *life) execute() int {
	if l.e.p.flowOf(l.run) != "" {
		return l.executeForReal()
	}
	work := time.Duration(l.stint.Work)
	if work == 0 {
		work = 2 * time.Second
	}
	if !l.wait(bootTime) {
		return sigterm
	}
	if l.stint.Early {
		return l.stint.Exit
	}
	// What the command looks at before it starts its engine.
	switch run, err := l.read(); {
	case err != nil:
		return 1 // the run is gone
	case run.StateType == "CANCELLING":
		_, _ = l.propose(object{"type": "CANCELLED", "name": "Cancelled", "message": "Flow run was cancelled before execution started."})
		return 0
	case run.StateType == "CANCELLED":
		return 0
	}
	running, code := l.propose(object{"type": "RUNNING", "name": "Running"})
	if running.Status != "ACCEPT" {
		return code
	}
	l.mu.Lock()
	l.began = time.Now()
	l.mu.Unlock()
	done := make(chan struct{})
	defer close(done)
	if id, _ := running.State.Details["deployment_concurrency_lease_id"].(string); id != "" {
		go l.renew(id, done)
	}
	if l.stint.Deaf {
		if l.deafWait(work) {
			return sigkill
		}
	} else if !l.wait(work) {
		return l.terminated()
	}
	if l.stint.Silent {
		return l.stint.Exit
	}
	final := l.stint.Final
	if final == "" {
		final = "COMPLETED"
	}
	_, _ = l.propose(finalState(final))
	return l.stint.Exit
}

// finalState is what the flow ends in. One that suspends itself can be resumed later,
// on other infrastructure.
func finalState(typ string) object {
	if typ == "SUSPENDED" {
		return object{"type": "PAUSED", "name": "Suspended", "state_details": object{
			"pause_timeout": time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano), "pause_reschedule": true, "pause_key": "1",
		}}
	}
	return object{"type": typ, "name": typ[:1] + lower(typ[1:])}
}

// propose proposes a state, with patience, as the engine does: it waits when it is
// told to. The code is what it exits with if it may not go on.
func (l *life) propose(state object) (answer, int) {
	for {
		said, err := l.e.p.client.propose(l.e.ctx, l.run, state)
		if err != nil {
			return answer{}, 1 // the run is gone
		}
		if said.Status != "WAIT" {
			return said, 0
		}
		delay, _ := said.Details["delay_seconds"].(float64)
		if !l.wait(time.Duration(delay * float64(time.Second))) {
			return said, sigterm
		}
	}
}

// terminated is what happens at SIGTERM, as the task's environment says.
func (l *life) terminated() int {
	if l.e.ctx.Err() != nil {
		return sigterm
	}
	if l.stint.Term > 0 {
		time.Sleep(time.Duration(l.stint.Term))
	}
	switch l.environment()["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] {
	case "reschedule":
		run, err := l.read()
		if err == nil && !run.final() {
			_, _ = l.propose(object{"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": object{"scheduled_time": time.Now().UTC().Format(time.RFC3339Nano)}})
			l.mu.Lock()
			l.reschedules = true
			l.mu.Unlock()
		}
		return 0
	case "relinquish":
		return 1
	default:
		return sigterm
	}
}

func (l *life) read() (flowRun, error) {
	var run flowRun
	err := l.e.p.client.call(l.e.ctx, "GET", "/flow_runs/"+l.run, nil, &run)
	return run, err
}

// renew keeps the lease of a deployment's slot while the flow runs.
func (l *life) renew(id string, done <-chan struct{}) {
	tick := time.NewTicker(8 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = l.e.p.client.once(l.e.ctx, http.MethodPost, "/v2/concurrency_limits/leases/"+id+"/renew", object{"lease_duration": 300})
		case <-done:
			return
		case <-l.e.ctx.Done():
			return
		}
	}
}
