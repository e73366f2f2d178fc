//go:build conformance

package differential

import (
	"encoding/json"
	"fmt"
)

// A rule allows one leaf of one body to differ.
type rule struct {
	body   string // the operation
	path   string // the leaf
	when   func(c *testCase, python leaves) bool
	holds  func(c *testCase, python, faber string) bool
	reason string
}

var rules = []rule{}

// judgement is what became of the comparison of one body.
type judgement struct {
	fields      int // leaves of both sides
	unexplained []difference
	used        map[*rule]int
}

// judge compares one body of both workers. A rule whose condition is met must
// hold: what faber adds on purpose may not be missing either.
func judge(c *testCase, op string, python, faber json.RawMessage) (judgement, error) {
	j := judgement{used: map[*rule]int{}}
	p, err := flatten(python)
	if err != nil {
		return j, fmt.Errorf("%s of python: %w", op, err)
	}
	f, err := flatten(faber)
	if err != nil {
		return j, fmt.Errorf("%s of faber: %w", op, err)
	}
	j.fields = len(union(p, f))
	ruled := map[string]bool{}
	for i := range rules {
		r := &rules[i]
		if r.body != op || !r.when(c, p) {
			continue
		}
		ruled[r.path] = true
		j.used[r]++
		if !r.holds(c, p.at(r.path), f.at(r.path)) {
			j.unexplained = append(j.unexplained, difference{r.path, p.at(r.path), f.at(r.path)})
		}
	}
	for _, d := range compare(p, f) {
		if !ruled[d.path] {
			j.unexplained = append(j.unexplained, d)
		}
	}
	return j, nil
}
