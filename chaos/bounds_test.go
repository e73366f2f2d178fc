//go:build chaos

package chaos

import (
	"encoding/json"
	"regexp"
	"slices"
	"time"

	"faber/internal/front"
)

// checkSayings: what must be said is said, and what must not is not.
func (p *play) checkSayings(histories map[string][]state) {
	for _, say := range p.s.Expect.Says {
		like, err := regexp.Compile(p.fill(say.Like))
		if err != nil {
			p.fatal("%v", err)
		}
		for _, r := range p.of(say.Of) {
			if r.gone {
				continue
			}
			said := func() bool {
				if say.State == "log" {
					return slices.ContainsFunc(p.logLines(r.id), like.MatchString)
				}
				return slices.ContainsFunc(histories[r.id], func(s state) bool {
					return (say.State == "" || say.State == s.Name || say.State == s.Type) && like.MatchString(s.Message)
				})
			}
			limit := time.Second
			if say.State == "log" && !say.Not {
				limit = 15 * time.Second // logs are written by and by
			}
			if p.until(limit, func() bool { return said() != say.Not }) {
				continue
			}
			p.wrong("run %s of %s: %q in state %q: found is %t", r.id, r.deployment.spec.Name, say.Like, say.State, say.Not)
		}
	}
}

// checkLive: never more tasks at once than the limit.
func (p *play) checkLive() {
	if p.s.Expect.Live == 0 {
		return
	}
	type change struct {
		at time.Time
		by int
	}
	var changes []change
	for _, l := range p.engine.all() {
		if p.runOf(l.run) == nil {
			continue
		}
		changes = append(changes, change{l.created, 1})
		if over := l.over(); !over.IsZero() {
			changes = append(changes, change{over, -1})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	n, most := 0, 0
	for _, c := range changes {
		n += c.by
		most = max(most, n)
	}
	if most > p.s.Expect.Live {
		p.wrong("there were %d tasks at once, not at most %d", most, p.s.Expect.Live)
	}
}

func (p *play) checkCalls() {
	if limit := p.s.Expect.Definitions; limit > 0 {
		if n := len(succeeded(p.aws.Ledger().Calls(front.Query{Operation: "RegisterTaskDefinition"}))); n > limit {
			p.wrong("%d task definitions were registered, not at most %d", n, limit)
		}
	}
	for _, bound := range p.s.Expect.Calls {
		like := regexp.MustCompile(p.fill(bound.Request))
		calls := p.front(bound.Front).Ledger().Calls(front.Query{Operation: bound.Operation, Status: bound.Status})
		calls = slices.DeleteFunc(calls, func(c front.Call) bool { return !like.Match(c.Request) })
		if n := len(calls); n < bound.Min || bound.Max != nil && n > *bound.Max {
			p.wrong("there were %d calls of %s %s", n, bound.Operation, bound.Request)
		}
		for i := 1; i < len(calls) && bound.Gap > 0; i++ {
			if gap := calls[i].Time.Sub(calls[i-1].Time); gap > time.Duration(bound.Gap) {
				p.wrong("%s was not called for %s, until %s; at most %s is allowed", bound.Operation, gap.Round(100*time.Millisecond), clock(calls[i].Time.Local()), time.Duration(bound.Gap))
			}
		}
	}
}

// succeeded are the calls that took effect and were answered.
func succeeded(calls []front.Call) []front.Call {
	return slices.DeleteFunc(calls, func(c front.Call) bool { return c.Status != 200 })
}

func (p *play) checkRequests() {
	for _, shape := range p.s.Expect.Requests {
		like := regexp.MustCompile(p.fill(shape.Like))
		for _, r := range p.of(shape.Of) {
			lives := p.engine.livesOf(r.id)
			if len(lives) < shape.Task {
				p.wrong("run %s had %d tasks, and no task %d", r.id, len(lives), shape.Task)
				continue
			}
			data, err := json.Marshal(object{"request": lives[shape.Task-1].task.Request, "definition": p.cloud.DefinitionOf(lives[shape.Task-1].task)})
			if err != nil || !like.Match(data) {
				p.wrong("task %d of run %s does not look like %q: %s", shape.Task, r.id, shape.Like, cut(string(data), 300))
			}
		}
	}
}
