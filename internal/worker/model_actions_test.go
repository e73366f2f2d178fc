package worker

import (
	"encoding/json"
	"fmt"
	"time"

	"faber/internal/prefect"
)

// modelHistory is all that happens in a world besides what follows from it: it can
// be drawn, shrunk, written down and played again.
type modelHistory struct {
	Seed        uint64
	Workers     int
	Limit       int
	SubmitLimit int
	// Alone is a history in which all trouble is that of the first run: the others
	// must not notice.
	Alone bool `json:",omitempty"`
	// Janitor lets workers stop what is left over.
	Janitor bool `json:",omitempty"`
	Actions []modelAction
}

// modelAction is one thing that somebody does, and the time after it.
type modelAction struct {
	Do    string
	I, J  int           `json:",omitempty"`
	D     time.Duration `json:",omitempty"`
	Fault *modelFault   `json:",omitempty"`
	Plans []modelPlan   `json:",omitempty"`
	Then  time.Duration
}

func (a modelAction) String() string {
	text := fmt.Sprintf("%s %d %d %s", a.Do, a.I, a.J, a.D)
	if a.Fault != nil {
		text += " " + a.Fault.String()
	}
	for _, p := range a.Plans {
		text += "; " + p.String()
	}
	return text + fmt.Sprintf(" then %s", a.Then)
}

func (h *modelHistory) String() string {
	data, err := json.Marshal(h)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// confine makes all trouble that of the first run.
func (h *modelHistory) confine() {
	h.Limit, h.SubmitLimit = 0, 64
	for i, a := range h.Actions {
		switch a.Do {
		case "fault":
			f := *a.Fault
			f.Run = 0
			if f.How == modelKilled || f.How == modelDies {
				f.How = modelHangs
			}
			h.Actions[i].Fault = &f
		case "api down", "cloud down", "kill", "stop", "night", "pause", "template":
			h.Actions[i].Do = "wait"
		}
	}
}

// do does one thing of a history.
func (w *modelWorld) do(a modelAction) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("* %s", a)
	switch a.Do {
	case "start", "rename":
		w.restart(a)
	case "night":
		w.night(a)
	case "kill":
		w.slots[a.I%len(w.slots)].now.kill()
	case "stop":
		w.slots[a.I%len(w.slots)].now.sigterm()
	case "run":
		w.schedule(a)
	case "rush":
		for range 3 {
			w.schedule(a)
		}
	case "fault", "api down", "cloud down", "deaf", "junk":
		w.trouble(a)
	default:
		w.user(a)
	}
}

// trouble is nobody's doing. The caller holds mu.
func (w *modelWorld) trouble(a modelAction) {
	until := time.Now().Add(a.D)
	switch a.Do {
	case "fault":
		f := *a.Fault
		w.faults = append(w.faults, &f)
	case "api down":
		w.apiDown = latest(w.apiDown, until)
	case "cloud down":
		w.cloudDown = latest(w.cloudDown, until)
	case "deaf":
		w.deaf = latest(w.deaf, until)
	case "junk":
		w.junk()
	}
}

// restart starts a worker where none lives, under its old name or a new one. The
// caller holds mu.
func (w *modelWorld) restart(a modelAction) {
	s := w.slots[a.I%len(w.slots)]
	if s.now.alive() {
		return
	}
	if a.Do == "rename" {
		s.renamed++
	}
	w.start(s)
}

// night is when no worker lives for longer than ECS remembers anything. The caller
// holds mu.
func (w *modelWorld) night(a modelAction) {
	for _, i := range w.incarnations {
		i.kill()
	}
	w.mu.Unlock()
	w.after(75 * time.Minute)
	w.mu.Lock()
	w.start(w.slots[a.I%len(w.slots)])
}

// junk are hints of nothing, of all tasks, and twice.
func (w *modelWorld) junk() {
	for _, i := range w.incarnations {
		i.hint("blue::task-0")
		for _, t := range w.cloud.tasks {
			i.hint(t.pid)
			i.hint(t.pid)
		}
	}
}

func (w *modelWorld) schedule(a modelAction) {
	var d *modelDeployment
	if a.J >= 0 {
		d = w.server.deployed[a.J]
	}
	if d != nil && d.deleted {
		return
	}
	w.server.schedule(d, time.Now().Add(a.D), a.Plans)
}

// user is what a user does to a run or to its task. The caller holds mu.
func (w *modelWorld) user(a modelAction) {
	s := w.server
	switch a.Do {
	case "undeploy":
		s.deployed[a.I%len(s.deployed)].deleted = a.I != 0 // the one without a limit stays
		return
	case "pause":
		s.pool.IsPaused = a.I%2 == 0
		return
	case "template":
		s.setCluster([]string{"blue", "green"}[a.I%2])
		return
	}
	if len(s.order) == 0 {
		return
	}
	r := s.runs[s.order[a.I%len(s.order)]]
	if r.deleted {
		return
	}
	live := w.cloud.living(r.ID)
	switch a.Do {
	case "cancel":
		if !r.StateType.Final() {
			r.cancelled = true
		}
		s.propose(r, prefect.State{Type: prefect.StateCancelling}, false, "user")
	case "delete":
		w.note("%s: deleted", short(r.ID))
		if holdsSlot(r.StateType) {
			s.release(r, *r.State)
		}
		r.deleted = true
	case "again":
		w.again(r)
	case "hide":
		if live != nil && live.hidden.IsZero() {
			live.hidden = time.Now().Add(a.D)
		}
	case "hand-stop":
		if live != nil && live.by != nil {
			live.ask("by hand")
		}
	case "foreign":
		w.foreign(r)
	}
}

// again is how a user runs a finished run anew, or resumes one that was suspended.
func (w *modelWorld) again(r *modelRun) {
	if r.deployment == nil || r.deployment.deleted || !r.StateType.Final() && r.StateName != "Suspended" {
		return
	}
	for _, t := range w.cloud.tasks {
		t.forked = t.forked || t.run == r.ID
	}
	now, name := time.Now(), "Scheduled"
	if !r.StateType.Final() {
		name = "Resuming"
	} else {
		r.retryType, r.cancelled = "reschedule", false
	}
	w.server.propose(r, prefect.State{Type: prefect.StateScheduled, Name: name, Details: prefect.StateDetails{ScheduledTime: &now}}, false, "user")
}

// foreign is how Prefect's own worker takes a run and starts a task for it.
func (w *modelWorld) foreign(r *modelRun) {
	if r.StateType != prefect.StateScheduled || r.retryType == "in_process" || w.cloud.living(r.ID) != nil {
		return
	}
	answer := w.server.propose(r, prefect.State{Type: prefect.StatePending, Name: "Pending"}, false, "python")
	if answer.Status != prefect.StatusAccept {
		return
	}
	r.foreign = true
	w.server.beat("python", 30*time.Second)
	t := w.cloud.begin(r, "blue", r.plan(0))
	t.worker = "python"
	r.InfrastructurePID = t.pid
}

// heal ends all faults and sees to it that a worker lives.
func (w *modelWorld) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.note("* heal")
	w.server.pool.IsPaused = false
	w.healed, w.apiDown, w.cloudDown, w.deaf = now, now, now, now
	lives := false
	for _, s := range w.slots {
		lives = lives || s.now.alive()
	}
	if !lives {
		w.start(w.slots[0])
	}
}

// play plays a history to its end and gives the rules that it broke.
func (w *modelWorld) play() {
	for _, a := range w.h.Actions {
		w.do(a)
		w.after(a.Then)
		w.mu.Lock()
		if w.h.Alone {
			w.checkOthers()
		}
		broken := len(w.violations) > 0
		w.mu.Unlock()
		if broken {
			return
		}
	}
	w.heal()
	w.settle()
}

// staysQuiet gives workers the time to notice that all has ended.
func (w *modelWorld) staysQuiet() bool {
	w.after(w.longestPatience())
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.quiet()
}

// longestPatience is what the last end of a task may take to be noticed.
func (w *modelWorld) longestPatience() (d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.server.runs {
		d = max(d, w.patience(r))
	}
	return d
}

// settleLimit is far longer than any run of a history takes.
const settleLimit = 3 * time.Hour

// settle lets everything come to its end, and looks whether it does.
func (w *modelWorld) settle() {
	for {
		w.after(5 * time.Second)
		w.mu.Lock()
		w.checkWell()
		quiet, broken, late := w.quiet(), len(w.violations) > 0, time.Since(w.healed) > settleLimit
		if late && !quiet {
			w.violate(ruleUnfinished, "%v", w.describe())
		}
		w.mu.Unlock()
		if broken || late {
			return
		}
		if quiet && w.staysQuiet() {
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.incarnations {
		if i.alive() {
			w.checkSlots(i)
		}
	}
}
