package cloudwatch

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

// Datum is what one metric is at one moment: one value, or many.
type Datum struct {
	Name   string
	Values []float64
}

// Point is what is published at once.
type Point struct {
	At   time.Time
	Data []Datum
}

// unitOf is the unit that a metric is published in.
func unitOf(name string) string {
	all := Metrics()
	i := slices.IndexFunc(all, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		panic("cloudwatch: " + name + " is no metric of ours") // by this package alone
	}
	return all[i].Unit
}

// dimensionValue is a name as CloudWatch takes it for a dimension's value: ASCII
// without control characters, at most 1024 of them, and no colon at its head
// (API reference, type Dimension).
func dimensionValue(name string) string {
	value := strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || unicode.IsControl(r) {
			return '_'
		}
		return r
	}, name)
	if strings.HasPrefix(value, ":") {
		value = "_" + value[1:]
	}
	return value[:min(len(value), 1024)]
}

// condense says the same with fewer values: at most so many, each with its count. The
// smallest and the largest stay, the sum does too, and so, nearly, do all percentiles.
// Values that are alike are one with a count in any case.
func condense(values []float64, most int) (few, counts []float64) {
	sorted := slices.Sorted(slices.Values(values))
	for _, v := range sorted {
		if n := len(few); n > 0 && few[n-1] == v {
			counts[n-1]++
			continue
		}
		few, counts = append(few, v), append(counts, 1)
	}
	if len(few) <= most {
		return few, counts
	}
	// The extremes, and between them groups of one size, each by its mean.
	inner, groups := sorted[1:len(sorted)-1], most-2
	few, counts = []float64{sorted[0]}, []float64{1}
	for g := range groups {
		from, to := g*len(inner)/groups, (g+1)*len(inner)/groups
		sum := 0.0
		for _, v := range inner[from:to] {
			sum += v
		}
		few, counts = append(few, sum/float64(to-from)), append(counts, float64(to-from))
	}
	return append(few, sorted[len(sorted)-1]), append(counts, 1)
}

// thin takes so many of more values, evenly by their rank.
func thin(values []float64, keep int) []float64 {
	sorted := slices.Sorted(slices.Values(values))
	few := make([]float64, keep)
	for i := range few {
		few[i] = sorted[i*(len(sorted)-1)/(keep-1)]
	}
	return few
}
