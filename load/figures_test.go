//go:build load

package load

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

// moments are when something happened.
type moments struct {
	mu  sync.Mutex
	all []time.Time
}

func (m *moments) now() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, time.Now())
}

// longest is the longest time between two moments.
func (m *moments) longest() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	var longest time.Duration
	for i := 1; i < len(m.all); i++ {
		longest = max(longest, m.all[i].Sub(m.all[i-1]))
	}
	return longest
}

// refused counts the calls that AWS refused.
func refused(calls []fakeaws.Call) (n int) {
	for _, call := range calls {
		if call.Refused {
			n++
		}
	}
	return n
}

// outcome is how the flow runs ended.
type outcome struct {
	completed, crashed int // final states
	crashes            int // states of that kind on the way
	doubled            int // runs with more than one task
	without            int // runs with none
}

func (s *stand) over() bool { return s.prefect.Open() == 0 }

func (s *stand) finals() map[string]int {
	out := map[string]int{}
	for _, run := range s.prefect.Runs() {
		out[run.StateName]++
	}
	return out
}

func (s *stand) outcome() (o outcome) {
	tasks := map[string]int{}
	for _, task := range s.aws.Tasks() {
		tasks[task.FlowRunID()]++
	}
	for _, run := range s.prefect.Runs() {
		switch run.StateType {
		case "COMPLETED":
			o.completed++
		case "CRASHED":
			o.crashed++
		}
		for _, state := range s.prefect.States(run.ID) {
			if state.Type == "CRASHED" {
				o.crashes++
			}
		}
		switch n := tasks[run.ID]; {
		case n > 1:
			o.doubled++
		case n == 0:
			o.without++
		}
	}
	return o
}

// table prints figures.
type table struct{ rows [][2]string }

func (f *table) add(what, format string, args ...any) {
	f.rows = append(f.rows, [2]string{what, fmt.Sprintf(format, args...)})
}

func (f *table) print(t *testing.T) {
	width := 0
	for _, row := range f.rows {
		width = max(width, len(row[0]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", t.Name())
	for _, row := range f.rows {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, row[0], row[1])
	}
	fmt.Fprint(t.Output(), b.String())
}

// counted reads a counter of the worker's own, the sum of those with this prefix
// of label values.
func (s *stand) counted(name string, values ...string) (sum float64) {
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var has []string
			for _, label := range metric.GetLabel() {
				has = append(has, label.GetValue())
			}
			if !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(has, v) }) {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}
