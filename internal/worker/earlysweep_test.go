package worker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"faber/internal/launch"
)

// Several hints for each of many runs cost one description every few seconds, and
// a single one does not wait.
func TestHintsAreLookedAtTogether(t *testing.T) {
	noSweeps := func(_ *world, o *Options) { o.StartingSweep, o.RunningSweep = 24*time.Hour, 24*time.Hour }
	inWorld(t, noSweeps, func(w *world) {
		var pids []string
		for range 30 {
			_, pid := w.running()
			pids = append(pids, pid)
		}
		w.launcher.hint(pids[0])
		w.after(hintGather)
		if got := w.launcher.described(); len(got) != 1 || len(got[0]) != 1 || got[0][0] != pids[0] {
			t.Fatalf("after the first hint was described: %q", got)
		}
		for i := range 4 {
			for _, pid := range pids {
				w.launcher.hints <- launch.Hint{PID: pid, Event: taskEvent(fmt.Sprint(pid, i), "running", time.Now())}
				w.after(20 * time.Millisecond)
			}
		}
		w.after(hintGap)
		got := w.launcher.described()
		if len(got) != 2 {
			t.Errorf("%d descriptions for 121 hints within %s", len(got), 2*hintGap)
		}
		slices.Sort(pids)
		if all := slices.Sorted(slices.Values(got[len(got)-1])); !slices.Equal(all, pids) {
			t.Errorf("hinted at were %q, described were %q", pids, all)
		}
	})
}
