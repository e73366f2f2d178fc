package cloudwatch

import (
	"slices"
	"testing"
)

// TestMetricsAreFew: each is on somebody's bill, once for each stack and pool.
func TestMetricsAreFew(t *testing.T) {
	t.Parallel()
	all := Metrics()
	if len(all) > 10 {
		t.Errorf("%d metrics; ten are free", len(all))
	}
	seen := map[string]bool{}
	for _, m := range all {
		if m.Name == "" || m.Meaning == "" || len(m.Statistics) == 0 || seen[m.Name] {
			t.Errorf("metric %+v", m)
		}
		seen[m.Name] = true
		if !slices.Contains([]string{UnitCount, UnitSeconds}, m.Unit) {
			t.Errorf("%s has unit %q", m.Name, m.Unit)
		}
	}
}
