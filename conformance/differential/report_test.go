//go:build conformance

package differential

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// report sums up what was compared.
type report struct {
	mu       sync.Mutex
	launched int // cases that both workers launched
	refused  int // cases that both workers gave up
	alone    int // cases that faber alone launched
	drawn    int // generated cases that both workers launched
	bodies   map[string]int
	fields   int
	rules    []int // how often each was used
	wordings []int
	mends    []int
	kept     []exhibit
}

// exhibit is a pair of equal bodies, kept for the mutation test.
type exhibit struct {
	name          string
	facts         facts
	op            string
	python, faber []byte
}

func newReport() *report {
	return &report{bodies: map[string]int{}, rules: make([]int, len(rules)), wordings: make([]int, len(wordings)), mends: make([]int, len(mends))}
}

func (r *report) compared(op string, j judgement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies[op]++
	r.fields += j.fields
	for _, i := range j.used {
		r.rules[i]++
	}
}

func (r *report) keep(e exhibit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, e)
}

func (r *report) count(counter *int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*counter++
}

// mended counts a case that faber alone launched.
func (r *report) mended(mend int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mends[mend]++
	r.alone++
}

func (r *report) cases() int { return r.launched + r.refused + r.alone }

func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d cases: %d launched by both workers, %d refused by both, %d launched by faber alone; of %d generated ones both launched %d\n", r.cases(), r.launched, r.refused, r.alone, *generated, r.drawn)
	fmt.Fprintf(&b, "%d fields compared in %d RegisterTaskDefinition and %d RunTask bodies\n", r.fields, r.bodies["RegisterTaskDefinition"], r.bodies["RunTask"])
	fmt.Fprintf(&b, "%d allowed differences of bodies:\n", len(rules))
	for i, rule := range rules {
		fmt.Fprintf(&b, "%6d  %s %s\n        %s\n", r.rules[i], rule.body, rule.path, rule.reason)
	}
	fmt.Fprintf(&b, "messages of refusals:\n")
	for i, w := range wordings {
		fmt.Fprintf(&b, "%6d  %s\n", r.wordings[i], strings.TrimSpace(w.name+"\n        "+w.reason))
	}
	fmt.Fprintf(&b, "launched by faber alone:\n")
	for i, m := range mends {
		fmt.Fprintf(&b, "%6d  %s\n        %s\n", r.mends[i], m.name, m.reason)
	}
	return b.String()
}

// check fails what would make the tables lie: an entry that no case needs.
func (r *report) check(t *testing.T) {
	t.Helper()
	for i, rule := range rules {
		if r.rules[i] == 0 {
			t.Errorf("no case uses the rule for %s %s: take it out", rule.body, rule.path)
		}
	}
	for i, w := range wordings {
		if r.wordings[i] == 0 {
			t.Errorf("no case uses the wording %q: take it out", w.name)
		}
	}
	for i, m := range mends {
		if r.mends[i] == 0 {
			t.Errorf("no case uses the mend %q: take it out", m.name)
		}
	}
	if r.drawn < *generated*3/4 {
		t.Errorf("only %d of %d generated cases were launched by both workers: they should mostly be such", r.drawn, *generated)
	}
	if len(rules) >= 12 || len(mends) >= 12 {
		t.Errorf("%d rules and %d mends: fewer than 12 of each are allowed", len(rules), len(mends))
	}
}
