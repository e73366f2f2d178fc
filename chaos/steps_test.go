//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"faber/internal/fake/fakeaws"
)

// steps are what a scenario can do, by name.
func steps() map[string]func(*play, step) {
	return map[string]func(*play, step){
		"schedule": doSchedule, "start": doStart, "kill": doKill, "term": doTerm, "freeze": doFreeze, "thaw": doThaw,
		"fault": doFault, "heal": doHeal, "held": doHeld, "release": doRelease,
		"await": doAwait, "let": doLet, "cancel": doCancel, "interrupt": doInterrupt,
		"hide": doHide, "unhide": doUnhide, "hush": doHush, "unhush": doUnhush, "forget tokens": doForgetTokens,
		"pause queue": doPauseQueue, "resume queue": doResumeQueue, "delete deployment": doDeleteDeployment, "delete run": doDeleteRun,
		"set state": doSetState, "wipe pid": doWipePID, "remove queue": doRemoveQueue, "add queue": doAddQueue, "send": doSend,
		"foreign task": doForeignTask, "no capacity": doNoCapacity, "capacity": doCapacity, "stop server": doStopServer, "start server": doStartServer,
		"replace": doReplace, "flood": doFlood, "sidecar": doSidecar, "start with health": doStartWithHealth, "ready": doReady, "cut sockets": doCutSockets,
		"quotas": doQuotas, "drained": doDrained, "tell": doTell, "resume": doResume,
	}
}

// n is the step's number for this seed.
func (p *play) n(s step, standard int) int {
	if s.N != 0 {
		standard = s.N
	}
	return bySeed(s.NBySeed, p.seed, standard)
}

func within(s step, standard time.Duration) time.Duration {
	if s.Within > 0 {
		return time.Duration(s.Within)
	}
	return standard
}

// doSchedule makes the runs of deployments, and picks those that are hit.
func doSchedule(p *play, s step) {
	for _, d := range p.deployments {
		if s.Of == "" || s.Of == d.spec.Name {
			p.schedule(d, p.n(s, d.spec.runs(p.seed)))
		}
	}
	p.pick()
}

// doStart starts workers: the Python worker and the stub know the flags of all.
func doStart(p *play, s step) {
	args := slices.Concat(p.s.Worker.Args, s.Args)
	if suite.worker == faber {
		args = append(args, p.s.Worker.Own...)
	}
	for range p.n(s, 1) {
		p.startWorker(args, s.Env)
	}
}

// standing are the workers that were not ended yet.
func (p *play) standing() []*worker {
	return slices.DeleteFunc(slices.Clone(p.workers), func(w *worker) bool { return w.felled })
}

// doKill kills workers at once: the oldest N, or all.
func doKill(p *play, s step) {
	standing := p.standing()
	for _, w := range standing[:min(len(standing), p.n(s, len(standing)))] {
		w.felled = true
		w.end(syscall.SIGKILL)
	}
}

// doTerm asks workers to end; they must, in time.
func doTerm(p *play, s step) {
	standing := p.standing()
	standing = standing[:min(len(standing), p.n(s, len(standing)))]
	for _, w := range standing {
		w.felled = true
		w.end(syscall.SIGTERM)
	}
	limit := within(s, 30*time.Second)
	deadline := time.After(limit)
	for _, w := range standing {
		select {
		case <-w.done:
		case <-deadline:
			p.wrong("the worker did not end within %s of SIGTERM", limit)
			w.end(syscall.SIGKILL)
		}
	}
}

func doFreeze(p *play, _ step) {
	for _, w := range p.standing() {
		_ = syscall.Kill(w.cmd.Process.Pid, syscall.SIGSTOP)
	}
}

func doThaw(p *play, _ step) {
	for _, w := range p.standing() {
		_ = syscall.Kill(w.cmd.Process.Pid, syscall.SIGCONT)
	}
}

// doReplace replaces the worker N times, as a rolling deployment does: the next one
// starts, then the last one is asked to end.
func doReplace(p *play, s step) {
	for range p.n(s, 1) {
		p.pause(within(s, 8*time.Second))
		doStart(p, step{Args: s.Args, Env: s.Env})
		p.pause(3 * time.Second)
		doTerm(p, step{N: 1})
	}
}

// doFault puts a fault or a break-point before one of the servers.
func doFault(p *play, s step) {
	f := *s.Fault
	f.Path, f.Request = p.fill(f.Path), p.fill(f.Request)
	if _, err := p.front(s.Front).Faults().Add(f); err != nil {
		p.fatal("fault %s: %v", f.ID, err)
	}
}

// doHeal takes faults away: one, or all.
func doHeal(p *play, s step) {
	for _, f := range []serving{p.aws, p.prefect} {
		if s.ID == "" {
			f.Faults().Clear()
			f.Holds().ReleaseAll()
		} else {
			f.Faults().Remove(s.ID)
			f.Holds().Release(s.ID)
		}
	}
}

// doHeld waits until so many calls are held. A worker that never makes the call
// cannot be judged by what happens at it.
func doHeld(p *play, s step) {
	want, limit := p.n(s, 1), within(s, 60*time.Second)
	ctx, cancel := context.WithTimeout(p.Context(), limit)
	defer cancel()
	if held, err := p.front(s.Front).Holds().Await(ctx, s.ID, want); err != nil {
		if len(held) == 0 && suite.worker != faber {
			p.mu.Lock()
			p.absent = "never makes that call"
			p.mu.Unlock()
		}
		p.fatal("%d of %d calls came to break-point %s within %s", len(held), want, s.ID, limit)
	}
}

func doRelease(p *play, s step) { p.front(s.Front).Holds().Release(s.ID) }

// doAwait waits until N of the runs (all of them if it does not say) have a task
// ("task"), a task that runs user code ("running"), no live task any more
// ("stopped"), or are in a state.
func doAwait(p *play, s step) {
	runs := p.of(s.Of)
	want, limit := p.n(s, len(runs)), within(s, 60*time.Second)
	var n int
	var reached bool
	if byTask := taskStates[s.State]; byTask != nil {
		reached = p.until(limit, func() bool {
			n = 0
			for _, r := range runs {
				if byTask(p.engine.livesOf(r.id), p.engine.live(r.id)) {
					n++
				}
			}
			return n >= want
		})
	} else {
		n, reached = p.awaitState(runs, s.State, want, limit)
	}
	if !reached {
		p.fatal("%d of %d runs of %q came to %q within %s", n, want, s.Of, s.State, limit)
	}
}

// taskStates tell whether a run is at a place that its tasks alone tell of: all that
// it had, and the live ones.
var taskStates = map[string]func(lives, live []*life) bool{
	"task":        func(lives, _ []*life) bool { return len(lives) > 0 },
	"second task": func(lives, _ []*life) bool { return len(lives) > 1 },
	"stopped":     func(lives, live []*life) bool { return len(lives) > 0 && len(live) == 0 },
	"running": func(lives, _ []*life) bool {
		return slices.ContainsFunc(lives, func(l *life) bool { return l.over().IsZero() && !l.begun().IsZero() })
	},
}

// awaitState waits until so many runs are in a state at once, by its type or name;
// "pid" is one that is known to run somewhere, "final" any last one.
func (p *play) awaitState(runs []*run, what string, want int, limit time.Duration) (n int, reached bool) {
	for deadline := time.Now().Add(limit); ; p.pause(watchInterval / 3) {
		n = 0
		for _, r := range p.readRuns(ids(runs)) {
			if r.StateType == what || r.StateName == what || what == "pid" && r.PID != "" || what == "final" && r.final() {
				n++
			}
		}
		if n >= want || time.Now().After(deadline) {
			return n, n >= want
		}
	}
}

// doLet lets time go by, a fifth more or less by seed.
func doLet(p *play, s step) {
	d := within(s, time.Second)
	p.pause(d + time.Duration((p.random.Float64()-0.5)*0.4*float64(d)))
}

// doCancel asks for the end of runs as Prefect's user interface does. The server makes
// Cancelled of it for runs that have no infrastructure.
func doCancel(p *play, s step) {
	for _, r := range p.of(s.Of) {
		said, err := p.client.propose(p.Context(), r.id, object{"type": "CANCELLING", "name": "Cancelling"})
		if err != nil || said.Status != "ACCEPT" && said.State.Type != "CANCELLED" {
			p.fatal("cancelling %s: %v %v", r.id, said, err)
		}
	}
}

// doInterrupt has AWS end the live tasks of runs, as it does with Spot.
func doInterrupt(p *play, s step) {
	for _, r := range p.of(s.Of) {
		for _, l := range p.engine.live(r.id) {
			code, reason := s.Code, s.Text
			if code == "" {
				code, reason = "SpotInterruption", "Your Spot Task was interrupted."
			}
			l.set("DEACTIVATING", fakeaws.StopCode(code), fakeaws.Reason(reason))
			l.stop()
		}
	}
}

func doHide(p *play, s step) {
	for _, r := range p.of(s.Of) {
		for _, l := range p.engine.livesOf(r.id) {
			l.task.Hide()
		}
	}
}

func doUnhide(p *play, s step) {
	for _, r := range p.of(s.Of) {
		for _, l := range p.engine.livesOf(r.id) {
			l.task.Show()
		}
	}
}

func doHush(p *play, _ step)         { p.engine.hush(true) }
func doUnhush(p *play, _ step)       { p.engine.hush(false) }
func doForgetTokens(p *play, _ step) { p.cloud.ForgetTokens() }

func doPauseQueue(p *play, s step) {
	p.ask("PATCH", "/work_pools/"+p.pool+"/queues/"+s.Of, object{"is_paused": true}, nil)
}

func doResumeQueue(p *play, s step) {
	p.ask("PATCH", "/work_pools/"+p.pool+"/queues/"+s.Of, object{"is_paused": false}, nil)
}

func doDeleteDeployment(p *play, s step) {
	for _, d := range p.deployments {
		if d.spec.Name == s.Of {
			p.ask("DELETE", "/deployments/"+d.id, nil, nil)
			d.limit = 0 // nobody can ask for its slots any more
		}
	}
}

func doDeleteRun(p *play, s step) {
	for _, r := range p.of(s.Of) {
		r.gone = true
		p.ask("DELETE", "/flow_runs/"+r.id, nil, nil)
	}
}

// doSetState has a user set a state, "TYPE" or "TYPE/Name", past all rules.
func doSetState(p *play, s step) {
	typ, name, _ := strings.Cut(s.State, "/")
	if name == "" {
		name = typ[:1] + lower(typ[1:])
	}
	for _, r := range p.of(s.Of) {
		p.ask("POST", "/flow_runs/"+r.id+"/set_state", object{"state": object{"type": typ, "name": name}, "force": true}, nil)
	}
}

func doWipePID(p *play, s step) {
	for _, r := range p.of(s.Of) {
		p.ask("PATCH", "/flow_runs/"+r.id, object{"infrastructure_pid": nil}, nil)
	}
}

func doRemoveQueue(p *play, _ step) {
	p.engine.hush(true)
	p.cloud.RemoveQueue(eventQueue)
}

func doAddQueue(p *play, _ step) {
	p.cloud.AddQueue(eventQueue)
	p.engine.hush(false)
}

// doSend sends N messages with a text to the queue.
func doSend(p *play, s step) {
	for range p.n(s, 1) {
		p.cloud.Send(eventQueue, s.Text)
	}
}

// doFlood sends N events of tasks that are nobody's here.
func doFlood(p *play, s step) {
	for i := range p.n(s, 1) {
		arn := fmt.Sprintf("arn:aws:ecs:%s:%s:task/other/%032x", fakeaws.Region, fakeaws.Account, i)
		event, err := json.Marshal(object{
			"version": "0", "id": fmt.Sprintf("00000000-0000-4000-a000-%012d", i), "detail-type": "ECS Task State Change", "source": "aws.ecs",
			"account": fakeaws.Account, "time": time.Now().UTC().Format(time.RFC3339), "region": fakeaws.Region, "resources": []string{arn},
			"detail": object{"taskArn": arn, "clusterArn": "arn:aws:ecs:" + fakeaws.Region + ":" + fakeaws.Account + ":cluster/other", "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "version": 2},
		})
		if err != nil {
			p.fatal("%v", err)
		}
		p.cloud.Send(eventQueue, string(event))
	}
}

// doForeignTask starts a task in the same cluster that is nobody's here. Text is its
// startedBy.
func doForeignTask(p *play, s step) {
	d := p.cloud.PutDefinition(object{
		"family": "foreign", "requiresCompatibilities": []string{"FARGATE"}, "networkMode": "awsvpc", "cpu": "256", "memory": "512",
		"containerDefinitions": []object{{"name": "prefect", "image": "registry.example/foreign"}},
	})
	body := object{"cluster": "default", "taskDefinition": d.ARN, "launchType": "FARGATE", "networkConfiguration": object{"awsvpcConfiguration": object{"subnets": []string{"subnet-a"}}}}
	if s.Text != "" {
		body["startedBy"] = p.fill(s.Text)
	}
	var started struct {
		Tasks []struct {
			ARN string `json:"taskArn"`
		} `json:"tasks"`
	}
	status, data := callAWS(p.Context(), p.cloud.URL, "ecs", "AmazonEC2ContainerServiceV20141113.RunTask", body)
	if err := json.Unmarshal(data, &started); err != nil || status != http.StatusOK || len(started.Tasks) != 1 {
		p.fatal("foreign task: %d %s %v", status, data, err)
	}
	p.foreign[started.Tasks[0].ARN] = true
}

// doNoCapacity has RunTask find no room until it is taken back.
func doNoCapacity(p *play, s step) { p.cloud.Failures(fakeaws.Failure{Reason: s.Text}) }

func doCapacity(p *play, _ step) { p.cloud.Failures() }

func doStopServer(p *play, _ step) { p.server.stop() }

func doStartServer(p *play, _ step) {
	if err := p.server.start(); err != nil {
		p.fatal("%v", err)
	}
}

// doSidecar gives all definitions a container beside the flow's: it is in the pool's
// template.
func doSidecar(p *play, s step) {
	var pool struct {
		Template object `json:"base_job_template"`
	}
	if !p.until(within(s, 30*time.Second), func() bool {
		p.ask("GET", "/work_pools/"+p.pool, nil, &pool)
		return len(pool.Template) > 0
	}) {
		p.fatal("the pool has no template")
	}
	definition, _ := dig(pool.Template, "job_configuration", "task_definition").(object)
	containers, _ := definition["containerDefinitions"].([]any)
	definition["containerDefinitions"] = append(containers, object{"name": "sidecar", "image": "registry.example/sidecar", "essential": false})
	p.ask("PATCH", "/work_pools/"+p.pool, object{"base_job_template": pool.Template}, nil)
}
