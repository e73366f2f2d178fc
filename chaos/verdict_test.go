//go:build chaos

package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// A verdict is on one scenario with one seed.
type verdict struct {
	Scenario string   `json:"scenario"`
	What     string   `json:"what"`
	Pains    []int    `json:"pains"`
	Seed     uint64   `json:"seed"`
	Passed   bool     `json:"passed"`
	Absent   string   `json:"absent,omitempty"` // why it says nothing of this worker
	Reasons  []string `json:"reasons,omitempty"`
	Seconds  float64  `json:"seconds"`
}

// verdicts are collected over the whole run.
var verdicts collection

type collection struct {
	mu  sync.Mutex
	all []verdict
}

func (c *collection) add(v verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, v)
}

// line is a scenario over all its seeds.
type line struct {
	name, what     string
	pains          []int
	passed, played int
	seconds        float64
	absent, reason string
}

func linesOf(all []verdict) []line {
	slices.SortFunc(all, func(a, b verdict) int {
		if by := strings.Compare(a.Scenario, b.Scenario); by != 0 {
			return by
		}
		return int(a.Seed) - int(b.Seed)
	})
	var lines []line
	for _, v := range all {
		if len(lines) == 0 || lines[len(lines)-1].name != v.Scenario {
			lines = append(lines, line{name: v.Scenario, what: v.What, pains: v.Pains})
		}
		l := &lines[len(lines)-1]
		l.played++
		l.seconds = max(l.seconds, v.Seconds)
		if v.Passed {
			l.passed++
		} else if l.reason == "" {
			l.reason, l.absent = strings.Join(v.Reasons, " | "), v.Absent
		}
	}
	return lines
}

func (l line) verdict() string {
	switch {
	case l.played == 0:
		return "–"
	case l.absent != "":
		return "n/a"
	case l.passed == l.played:
		return fmt.Sprintf("%d/%d", l.passed, l.played)
	default:
		return fmt.Sprintf("FAIL %d/%d", l.passed, l.played)
	}
}

// finish writes the verdicts, as JSON to the results file and as text beside it, or
// as text to the standard output.
func (c *collection) finish(worker, file string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		return nil
	}
	if file == "" {
		return printLines(os.Stdout, worker, linesOf(c.all))
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := printLines(&text, worker, linesOf(c.all)); err != nil {
		return err
	}
	if err := os.WriteFile(strings.TrimSuffix(file, ".json")+".txt", text.Bytes(), 0o644); err != nil {
		return err
	}
	data, err := json.MarshalIndent(c.all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

func printLines(w io.Writer, worker string, lines []line) error {
	passed := 0
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "SCENARIO\tPAINS\t%s\tSECONDS\tWHAT\tFINDING\n", strings.ToUpper(worker))
	for _, l := range lines {
		if l.passed == l.played {
			passed++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.0f\t%s\t%s\n", l.name, rows(l.pains), l.verdict(), l.seconds, cut(l.what, 70), cut(l.reason, 200))
	}
	fmt.Fprintf(table, "\n%s: %d scenarios, %d pass with every seed\n", worker, len(lines), passed)
	return table.Flush()
}

func rows(pains []int) string {
	var out []string
	for _, n := range pains {
		out = append(out, fmt.Sprint(n))
	}
	return strings.Join(out, ", ")
}

// writeTable writes the table of all workers from the results in a directory.
func writeTable(file, dir string) error {
	by := map[underTest]map[string]line{}
	var names []string
	for _, w := range []underTest{faber, python, stub} {
		by[w] = map[string]line{}
		data, err := os.ReadFile(filepath.Join(dir, string(w)+".json"))
		if err != nil {
			return fmt.Errorf("the table needs the results of every worker; `make chaos` and `make compare` make them: %w", err)
		}
		var all []verdict
		if err := json.Unmarshal(data, &all); err != nil {
			return err
		}
		for _, l := range linesOf(all) {
			by[w][l.name] = l
			if !slices.Contains(names, l.name) {
				names = append(names, l.name)
			}
		}
	}
	slices.Sort(names)
	var out bytes.Buffer
	fmt.Fprintf(&out, tableHead, time.Now().UTC().Format(time.DateOnly))
	fmt.Fprintf(&out, "| Scenario | Pain | What | faber | s | Python | Stub |\n|---|---|---|---|---|---|---|\n")
	for _, name := range names {
		f, py, st := by[faber][name], by[python][name], by[stub][name]
		what, pains := f.what, f.pains
		if what == "" {
			what, pains = py.what, py.pains
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %.0f | %s | %s |\n", name, rows(pains), what, f.verdict(), f.seconds, py.verdict(), st.verdict())
	}
	fmt.Fprint(&out, "\n## What went wrong\n\nThe first finding of each scenario that did not pass, as the oracle worded it, cut.\n\n| Scenario | Worker | Finding |\n|---|---|---|\n")
	for _, name := range names {
		for _, w := range []underTest{faber, python, stub} {
			if l := by[w][name]; l.reason != "" {
				fmt.Fprintf(&out, "| `%s` | %s | %s |\n", name, w, strings.ReplaceAll(cut(anonymous(l.reason), 230), "|", "/"))
			}
		}
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}
