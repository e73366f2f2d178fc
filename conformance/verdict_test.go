//go:build conformance

package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// Verdicts on an item. "differs" is a pass: the worker behaves as was decided
// for it, or as Prefect's does where that is decided otherwise.
const (
	verdictPass    = "pass"
	verdictDiffers = "differs"
	verdictFail    = "FAIL"
)

// A verdict is one line of the table.
type verdict struct {
	Item    string  `json:"item"`
	Title   string  `json:"title"`
	Verdict string  `json:"verdict"`
	Witness string  `json:"witness"`
	Seconds float64 `json:"seconds"`
}

// item is one test of one item of the protocol's checklist.
type item struct {
	*testing.T
	name, title string
	began       time.Time

	mu      sync.Mutex
	seen    []string
	decided bool
}

// newItem begins the test of an item. The name is its number in the checklist,
// or "L" and a number for a scenario of a worker's life.
func newItem(t *testing.T, name, title string) *item {
	t.Helper()
	if !suite.selection.has(name) {
		t.Skipf("item %s is not in this selection", name)
	}
	t.Parallel()
	i := &item{T: t, name: name, title: title, began: time.Now()}
	t.Cleanup(i.conclude)
	return i
}

// saw adds to the witness: what was observed, in a few words.
func (i *item) saw(format string, args ...any) {
	i.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen = append(i.seen, fmt.Sprintf(format, args...))
	i.Logf("saw: "+format, args...)
}

// differs marks the item as one where faber and Prefect's worker are decided to
// differ. The test must then hold each of them to its own behaviour.
func (i *item) differs() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.decided = true
}

func (i *item) conclude() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.Skipped() {
		return
	}
	v := verdict{Item: i.name, Title: i.title, Verdict: verdictPass, Witness: strings.Join(i.seen, "; "), Seconds: time.Since(i.began).Seconds()}
	switch {
	case i.Failed():
		v.Verdict = verdictFail
	case len(i.seen) == 0:
		i.Errorf("item %s passed without a witness", i.name)
		v.Verdict = verdictFail
	case i.decided:
		v.Verdict = verdictDiffers
	}
	verdicts.add(v)
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

// finish writes the table, as text beside the results file or to the standard
// output, and the verdicts as JSON to the results file. Of a selection there is
// the text alone.
func (c *collection) finish(worker, file string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		return nil
	}
	slices.SortFunc(c.all, func(a, b verdict) int { return strings.Compare(order(a.Item), order(b.Item)) })
	if file == "" {
		return c.print(os.Stdout, worker)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := c.print(&text, worker); err != nil {
		return err
	}
	if err := os.WriteFile(strings.TrimSuffix(file, ".json")+".txt", text.Bytes(), 0o644); err != nil {
		return err
	}
	if suite.selection != nil {
		return nil
	}
	data, err := json.MarshalIndent(c.all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

func (c *collection) print(w io.Writer, worker string) error {
	count := map[string]int{}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "ITEM\t%s\tSECONDS\tWHAT\tWITNESS\n", strings.ToUpper(worker))
	for _, v := range c.all {
		count[v.Verdict]++
		fmt.Fprintf(table, "%s\t%s\t%.1f\t%s\t%s\n", v.Item, v.Verdict, v.Seconds, cut(v.Title, 60), cut(v.Witness, 110))
	}
	fmt.Fprintf(table, "\n%s: %d items: %d pass, %d differ as decided, %d fail\n", worker, len(c.all), count[verdictPass], count[verdictDiffers], count[verdictFail])
	return table.Flush()
}

// order sorts 2 before 10, and the scenarios after the items.
func order(item string) string {
	if n, err := strconv.Atoi(item); err == nil {
		return fmt.Sprintf("%05d", n)
	}
	return "z" + item
}

func cut(text string, limit int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}

// selection is a share of the items, chosen by a seed.
type selection struct {
	share uint32 // of 1000
	seed  string
}

// parseSelection reads "share/seed": the share in thousandths.
func parseSelection(text string) (*selection, error) {
	if text == "" {
		return nil, nil
	}
	share, seed, ok := strings.Cut(text, "/")
	n, err := strconv.ParseUint(share, 10, 32)
	if !ok || err != nil || n > 1000 {
		return nil, fmt.Errorf("%s is %q: it must be a share in thousandths and a seed, as in 120/abc", selectEnv, text)
	}
	return &selection{uint32(n), seed}, nil
}

// has is true for every item when there is no selection.
func (s *selection) has(item string) bool {
	if s == nil {
		return true
	}
	sum := fnv.New32a()
	fmt.Fprintf(sum, "%s/%s", s.seed, item)
	// FNV of short texts differs in its low bits; fold the high ones in.
	hash := sum.Sum32()
	hash ^= hash >> 15
	hash *= 0x2c1b3c6d
	hash ^= hash >> 12
	return hash%1000 < s.share
}
