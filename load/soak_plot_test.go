//go:build load

package load

import (
	"fmt"
	"strings"
)

// drawSoak is a picture of the resident memory and the heap over the runs.
func drawSoak(samples []sample, warmUp int, caption string) string {
	const width, height, left, bottom, top = 720, 300, 60, 260, 30
	runs, most := 1, 1.0
	for _, s := range samples {
		runs, most = max(runs, s.runs), max(most, mebibytes(s.resident))
	}
	step := 10.0
	for most/step > 8 {
		step *= 2
	}
	high := step * float64(int(most/step)+1)
	x := func(n int) float64 { return left + float64(n)*(width-left-20)/float64(runs) }
	y := func(mib float64) float64 { return bottom - mib*(bottom-top)/high }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	for mib := 0.0; mib <= high; mib += step {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f MiB</text>`+"\n", left, y(mib), width-20, left-6, y(mib)+4, mib)
	}
	for i := range 6 {
		n := runs * i / 5
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x(n), bottom+16, n)
	}
	fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#999" stroke-dasharray="4 3"/><text x="%.1f" y="%d" fill="#666">warm from here</text>`+"\n", x(warmUp), top, bottom, x(warmUp)+4, bottom-6)
	line := func(colour, name string, of func(sample) int64, at int) {
		points := make([]string, len(samples))
		for i, s := range samples {
			points[i] = fmt.Sprintf("%.1f,%.1f", x(s.runs), y(mebibytes(of(s))))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(points, " "), colour)
		fmt.Fprintf(&b, `<text x="%d" y="18" fill="%s">%s</text>`+"\n", at, colour, name)
	}
	line("#0b5cad", "resident memory", func(s sample) int64 { return s.resident }, left)
	line("#c2571a", "heap in use", func(s sample) int64 { return s.heap }, left+120)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">flow runs that are over</text>`+"\n", width-20, bottom+32)
	fmt.Fprintf(&b, `<text x="%d" y="%d" fill="#666">%s</text>`+"\n</svg>\n", left, bottom+32, caption)
	return b.String()
}
