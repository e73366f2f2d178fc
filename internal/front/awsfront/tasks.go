package awsfront

import (
	"maps"
	"strings"
	"sync"
	"time"

	"faber/internal/front"
)

// tasks is what the front knows of tasks beside what the emulator tells: whose
// flow run each is, until when nobody may see it, and what end was invented for
// it. It knows those that were started through it, and those it has seen.
type tasks struct {
	f *Front

	mu         sync.Mutex
	known      map[string]*knownTask // by ARN
	missingFor time.Duration
}

type knownTask struct {
	arn     string
	scope   scope
	run     string
	started time.Time
	// launched says that the front saw the RunTask, and not only the task.
	launched bool
	asked    map[int]bool // rules that were decided on
	hidden   []spell
	end      *ending
}

// spell is a time in which a task is hidden by a rule.
type spell struct {
	rule  int       // 0: by the delay of every new task
	until time.Time // zero: without end
}

func newTasks(f *Front, missingFor time.Duration) *tasks {
	return &tasks{f: f, known: map[string]*knownTask{}, missingFor: missingFor}
}

// SetMissingFor has every task that is started from now on be unknown to ECS for
// so long, as may happen on AWS, whose answers agree only in the end.
func (f *Front) SetMissingFor(d time.Duration) {
	f.tasks.mu.Lock()
	defer f.tasks.mu.Unlock()
	f.tasks.missingFor = d
}

// MissingFor is how long new tasks are unknown to ECS.
func (f *Front) MissingFor() time.Duration {
	f.tasks.mu.Lock()
	defer f.tasks.mu.Unlock()
	return f.tasks.missingFor
}

// start takes note of the tasks that a call of RunTask started, and lets the
// rules for tasks strike them.
func (t *tasks) start(x *exchange, arns []string) {
	runs := front.RunsIn("", x.body)
	for _, arn := range arns {
		t.mu.Lock()
		k := t.launch(x.scope, arn, runs)
		var due *ending
		if k != nil {
			due = t.strike(k, x.body)
		}
		t.mu.Unlock()
		t.schedule(k, due)
	}
}

// launch makes a task one whose RunTask was seen; t.mu is held. It returns nil
// for one that is that already: an emulator may remember a client token for
// longer than the front does.
func (t *tasks) launch(s scope, arn string, runs []string) *knownTask {
	k := t.known[arn] // by its first event, which may be faster than the answer
	if k == nil {
		k = &knownTask{arn: arn, asked: map[int]bool{}}
		t.known[arn] = k
	}
	if k.launched {
		return nil
	}
	k.launched, k.scope, k.started = true, s, time.Now()
	if len(runs) > 0 {
		k.run = runs[0]
	}
	if t.missingFor > 0 {
		k.hidden = append(k.hidden, spell{until: k.started.Add(t.missingFor)})
	}
	return k
}

// see takes note of a task that an answer tells of. Rules that were made since
// it was last seen may strike it.
func (t *tasks) see(s scope, arn, run string) {
	t.mu.Lock()
	k := t.known[arn]
	if k == nil {
		k = &knownTask{arn: arn, scope: s, run: run, started: time.Now(), asked: map[int]bool{}}
		t.known[arn] = k
	}
	if k.run == "" {
		k.run = run
	}
	due := t.strike(k, nil)
	t.mu.Unlock()
	t.schedule(k, due)
}

// reconsider lets new rules strike the tasks that are known.
func (t *tasks) reconsider() {
	t.mu.Lock()
	dues := map[*knownTask]*ending{}
	for _, k := range t.known {
		if due := t.strike(k, nil); due != nil {
			dues[k] = due
		}
	}
	t.mu.Unlock()
	for k, due := range dues {
		t.schedule(k, due)
	}
}

// strike asks the rules about a task and returns the end that one of them
// invented; t.mu is held. Rules that look into the request are decided at the
// start alone: it is not kept.
func (t *tasks) strike(k *knownTask, request []byte) *ending {
	subject := front.Subject{Op: front.Op{Service: "ecs", Operation: "RunTask"}, Method: "POST", Path: "/", Body: request, Task: k.arn}
	if k.run != "" {
		subject.Runs = []string{k.run}
	}
	var due *ending
	for _, fault := range t.f.gate.Faults().TakeTask(subject, k.asked) {
		since := k.started
		if fault.Added.After(since) {
			since = fault.Added
		}
		if fault.Hide != 0 {
			k.hidden = append(k.hidden, spell{rule: fault.Rule, until: fault.Hide.After(since)})
		}
		if fault.Stop != nil && k.end == nil {
			due = &ending{Stop: *fault.Stop, fault: fault.ID, rule: fault.Rule, due: fault.Stop.After.After(since)}
			k.end = due
		}
		t.f.log.Info("injecting a fault", "front", "aws", "fault", fault.ID, "task", k.arn, "run", k.run)
	}
	return due
}

// isHidden reports whether nobody may see a task now. A rule that was removed
// hides nothing any more.
func (t *tasks) isHidden(arn string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.known[arn]
	if k == nil {
		return false
	}
	now := time.Now()
	for _, h := range k.hidden {
		running := h.until.IsZero() || now.Before(h.until)
		if running && (h.rule == 0 || t.f.gate.Faults().Has(h.rule)) {
			return true
		}
	}
	return false
}

// runsOf finds the flow runs of the tasks that a call names.
func (t *tasks) runsOf(refs []string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var runs []string
	for _, ref := range refs {
		if k := t.find(ref); k != nil && k.run != "" {
			runs = append(runs, k.run)
		}
	}
	return runs
}

// find looks a task up by ARN, or by the id at its end; t.mu is held.
func (t *tasks) find(ref string) *knownTask {
	if k := t.known[ref]; k != nil || strings.HasPrefix(ref, "arn:") {
		return k
	}
	for arn := range maps.Keys(t.known) {
		if strings.HasSuffix(arn, "/"+ref) {
			return t.known[arn]
		}
	}
	return nil
}
