//go:build chaos

package chaos

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"faber/internal/front"
)

// settleTime is what every run has to be in order again at the default intervals: two
// adoption sweeps and 15 s.
const settleTime = 2*20*time.Second + 15*time.Second

// watchInterval is how often the runs of a scenario are read while they are waited for.
const watchInterval = 1500 * time.Millisecond

// judge waits for what must come, and then holds what was seen to what must be: of
// this scenario, and of every one.
func (p *play) judge() {
	e := p.s.Expect
	settled, final := time.Duration(e.Settled), time.Duration(e.Within)
	if settled == 0 {
		settled = settleTime
	}
	if final == 0 {
		final = settled + 60*time.Second
	}
	p.awaitSettled(settled)
	p.awaitFinal(final)
	p.checkWorkers()
	// The tasks first: of a run that goes on, one that comes while its states are read
	// would be held against states that know nothing of it.
	lives := map[string][]*life{}
	for _, r := range p.runs {
		lives[r.id] = p.engine.livesOf(r.id)
	}
	histories := map[string][]state{}
	for _, r := range p.runs {
		if !r.gone {
			histories[r.id] = p.history(r.id)
		}
	}
	for _, r := range p.runs {
		p.checkTasks(r, lives[r.id], histories[r.id])
		p.checkHistory(r, histories[r.id])
		p.checkTimes(r, histories[r.id])
	}
	p.checkLimits(histories)
	p.checkSlots()
	p.checkStops()
	p.checkSayings(histories)
	p.checkLive()
	p.checkCalls()
	p.checkRequests()
	p.checkStray()
	p.checkAbsent(histories)
}

// awaitSettled waits until every run has ended, runs with a live task, or is
// scheduled again: with nobody's help.
func (p *play) awaitSettled(limit time.Duration) {
	open := p.watch(p.ended.Add(limit), p.runs, func(r *run, now flowRun, there bool) string {
		running := now.StateType == "RUNNING" && len(p.engine.live(r.id)) > 0
		if !there || now.final() || running || now.StateType == "SCHEDULED" || now.StateType == "PAUSED" {
			return ""
		}
		return fmt.Sprintf("%s is %s with %d live tasks", r.id, now.StateName, len(p.engine.live(r.id)))
	})
	if len(open) > 0 {
		p.wrong("%s after the fault's end %d runs are stranded: %s", limit, len(open), cut(strings.Join(open, "; "), 400))
	}
}

// awaitFinal waits until every run is in the state that it must end in, and stays
// there for a little: what comes late may undo it.
func (p *play) awaitFinal(limit time.Duration) {
	ends := func(r *run, now flowRun, there bool) string {
		is := now.StateType
		if !there {
			is = "gone"
		}
		want := p.finalOf(r)
		if slices.Contains(strings.Split(want, "|"), is) {
			return ""
		}
		return fmt.Sprintf("%s (%s) is %s, not %s: %q", r.id, r.deployment.spec.Name, now.StateName, want, cut(now.State.Message, 200))
	}
	if open := p.watch(p.ended.Add(limit), p.runs, ends); len(open) > 0 {
		p.wrong("%s after the last step %d of %d runs are not as they must end: %s", limit, len(open), len(p.runs), cut(strings.Join(open, "; "), 900))
		return
	}
	p.pause(3 * time.Second)
	if open := p.watch(time.Now(), p.runs, ends); len(open) > 0 {
		p.wrong("runs left the state that they ended in: %s", cut(strings.Join(open, "; "), 600))
	}
}

// watch reads runs until each was seen once as it should be, for which wrong says
// nothing; it returns what is wrong with the others at the deadline. It reads those
// that are left, and seldom: the server has all scenarios to serve, and the workers
// come first.
func (p *play) watch(deadline time.Time, runs []*run, wrong func(r *run, now flowRun, there bool) string) []string {
	for {
		var left []*run
		var open []string
		asked := time.Now()
		now := p.readRuns(ids(runs))
		for _, r := range runs {
			state, there := now[r.id]
			if what := wrong(r, state, there); what != "" {
				left, open = append(left, r), append(open, what)
			}
		}
		if len(left) == 0 || !asked.Before(deadline) {
			return open
		}
		runs = left
		p.pause(min(watchInterval, max(0, time.Until(deadline))))
	}
}

func (p *play) finalOf(r *run) string {
	want, ok := expected(p.s.Expect.Final, r)
	switch {
	case r.gone:
		return "gone"
	case !ok:
		return "COMPLETED"
	}
	return want
}

// checkWorkers: no answer, no message and no run ends the process.
func (p *play) checkWorkers() {
	for _, w := range p.standing() {
		if !w.alive() {
			p.wrong("worker %s ended by itself with exit code %d", w.name, w.code)
		}
	}
}

// claimsOf are the times at which the run was claimed.
func claimsOf(history []state) []time.Time {
	var at []time.Time
	for _, s := range history {
		if s.Type == "PENDING" && s.Name == "Pending" {
			at = append(at, s.Timestamp)
		}
	}
	return at
}

// checkTasks: one task per claim, never two at once.
func (p *play) checkTasks(r *run, lives []*life, history []state) {
	claims := claimsOf(history)
	perClaim := map[int]int{}
	for i, l := range lives {
		if i > 0 {
			if over := lives[i-1].over(); over.IsZero() || over.After(l.created) {
				p.wrong("DOUBLED: run %s has task %d created at %s while task %d ended at %s", r.id, l.n, clock(l.created), l.n-1, clock(over))
			}
		}
		claim := 0
		for _, at := range claims {
			if !at.After(l.created.Add(2 * time.Millisecond)) {
				claim++
			}
		}
		if perClaim[claim]++; perClaim[claim] > 1 {
			p.wrong("DOUBLED: run %s has %d tasks under claim %d of %d", r.id, perClaim[claim], claim, len(claims))
		}
	}
	if want, ok := expected(p.s.Expect.Tasks, r); ok && !inRange(len(lives), want) {
		p.wrong("run %s had %d tasks, not %s", r.id, len(lives), want)
	}
}

// inRange reads "2", "1-2" and "1-".
func inRange(n int, text string) bool {
	low, high, ranged := strings.Cut(text, "-")
	from, err := strconv.Atoi(low)
	if err != nil || n < from {
		return false
	}
	if !ranged {
		return n == from
	}
	to, err := strconv.Atoi(high)
	return err != nil || n <= to
}

// checkHistory: user code never begins twice unless the run was scheduled again in
// between, and nobody calls a run Crashed whose task lives.
func (p *play) checkHistory(r *run, history []state) {
	running, again := 0, true
	for _, s := range history {
		switch s.Type {
		case "RUNNING":
			if running++; !again {
				p.wrong("DOUBLED: run %s began %d times without being scheduled in between", r.id, running)
			}
			again = false
		case "SCHEDULED", "PAUSED":
			again = true
		case "CRASHED":
			for _, l := range p.engine.livesOf(r.id) {
				if slices.ContainsFunc(p.s.Expect.EndedAlive, r.is) {
					break
				}
				if over := l.over(); l.created.Before(s.Timestamp) && (over.IsZero() || over.After(s.Timestamp)) {
					p.wrong("FALSE CRASH: run %s was called Crashed at %s while its task %d lived until %s: %q", r.id, clock(s.Timestamp.Local()), l.n, clock(over), cut(s.Message, 200))
				}
			}
		}
	}
	if n := p.codeBegan(r.id); r.deployment.spec.Flow != "" && n > running {
		p.wrong("DOUBLED: the code of run %s began %d times, and the run was Running %d times", r.id, n, running)
	}
}

func (p *play) checkTimes(r *run, history []state) {
	lives := p.engine.livesOf(r.id)
	if want, ok := expected(p.s.Expect.Starts, r); ok {
		if len(lives) == 0 {
			p.wrong("run %s never had a task", r.id)
		} else if took := lives[0].created.Sub(r.scheduled); took > time.Duration(want) {
			p.wrong("run %s had its first task %s after it was scheduled, not within %s", r.id, took.Round(100*time.Millisecond), time.Duration(want))
		}
	}
	if want, ok := expected(p.s.Expect.Ends, r); ok && len(lives) > 0 && len(history) > 0 {
		last := history[len(history)-1]
		if took := last.Timestamp.Sub(lives[len(lives)-1].over()); took > time.Duration(want) {
			p.wrong("run %s was %s only %s after its task had ended, not within %s", r.id, last, took.Round(100*time.Millisecond), time.Duration(want))
		}
	}
}

// checkLimits: never more runs of a deployment Running at once than its limit.
func (p *play) checkLimits(histories map[string][]state) {
	for _, d := range p.deployments {
		if d.limit == 0 {
			continue
		}
		type change struct {
			at time.Time
			by int
		}
		var changes []change
		for _, r := range p.runs {
			if r.deployment != d {
				continue
			}
			before := ""
			for _, s := range histories[r.id] {
				is := s.Type == "RUNNING"
				if was := before == "RUNNING"; is != was {
					by := 1
					if was {
						by = -1
					}
					changes = append(changes, change{s.Timestamp, by})
				}
				before = s.Type
			}
		}
		slices.SortFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
		n := 0
		for _, c := range changes {
			if n += c.by; n > d.limit {
				p.wrong("%d runs of a deployment with limit %d were Running at %s", n, d.limit, clock(c.at.Local()))
			}
		}
	}
}

// checkSlots: at the end nobody holds a slot, but runs that go on.
func (p *play) checkSlots() {
	runs := p.readRuns(ids(p.runs))
	for _, d := range p.deployments {
		open := slices.ContainsFunc(p.runs, func(r *run) bool {
			typ := runs[r.id].StateType
			return r.deployment == d && !r.gone && (typ == "RUNNING" || typ == "PENDING" || typ == "CANCELLING")
		})
		if d.limit == 0 || open {
			continue
		}
		var slots float64
		if !p.until(15*time.Second, func() bool {
			var now object
			p.ask("GET", "/deployments/"+d.id, nil, &now)
			slots, _ = dig(now, "global_concurrency_limit", "active_slots").(float64)
			return slots == 0
		}) {
			p.wrong("%v slots of deployment %s are held though all its runs are over", slots, d.spec.Name)
		}
	}
}

// checkStops: only the tasks of runs that say so are stopped.
func (p *play) checkStops() {
	stopped := map[string]bool{}
	for _, c := range p.aws.Ledger().Calls(front.Query{Operation: "StopTask"}) {
		var asked struct {
			Task string `json:"task"`
		}
		if json.Unmarshal(c.Request, &asked) != nil || c.Status == 0 || c.Status >= 400 {
			continue
		}
		for _, l := range p.engine.all() {
			if l.task.ARN != asked.Task && l.task.ID() != asked.Task {
				continue
			}
			r := p.runOf(l.run)
			switch {
			case r == nil:
				p.wrong("STOPPED: a task that is nobody's here, %s", asked.Task)
			case !slices.ContainsFunc(slices.Concat(p.s.Expect.Stops, p.s.Expect.Stopped), r.is):
				p.wrong("STOPPED: task %d of run %s of %s", l.n, r.id, r.deployment.spec.Name)
			default:
				stopped[r.id] = true
			}
		}
	}
	for _, name := range p.s.Expect.Stopped {
		for _, r := range p.of(name) {
			if !stopped[r.id] {
				p.wrong("no task of run %s of %s was stopped", r.id, r.deployment.spec.Name)
			}
		}
	}
}

// checkStray: what is over has no live task.
func (p *play) checkStray() {
	left := p.watch(time.Now().Add(20*time.Second), p.runs, func(r *run, now flowRun, there bool) string {
		if over := !there || now.final(); over && len(p.engine.live(r.id)) > 0 && !slices.ContainsFunc(p.s.Expect.Stray, r.is) {
			return r.id
		}
		return ""
	})
	if len(left) > 0 {
		p.wrong("STRAY: %d runs are over and their tasks live: %s", len(left), strings.Join(left, ", "))
	}
}
