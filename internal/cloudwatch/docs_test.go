package cloudwatch

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocs holds the table of docs/metrics.md to what is published.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| Metric | Unit | Statistics | From | What it is |\n|---|---|---|---|---|\n")
	for _, m := range Metrics() {
		from := "worker"
		if m.Tick {
			from = "worker, tick"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Unit, strings.Join(m.Statistics, ", "), from, m.Meaning)
	}
	table.WriteString("\n") // its end
	if !strings.Contains(string(page), table.String()) {
		t.Errorf("docs/metrics.md has another table than this:\n%s", table.String())
	}
}
