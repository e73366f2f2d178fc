package worker

import (
	"testing"
	"time"
)

// A child that ends well before its run does is told of at once, and once: the
// run's own report may take its time.
func TestAChildIsExecutedWhenItEnds(t *testing.T) {
	inWorld(t, func(w *world, _ *Options) { w.launcher.typ = "process" }, func(w *world) {
		_, pid := w.running()
		w.launcher.end(pid, cleanExit)
		w.launcher.hint(pid)
		w.after(time.Second)
		if n := len(w.log.named("prefect.worker.executed-flow-run")); n != 1 {
			t.Errorf("%d executed events a second after the end", n)
		}
		w.after(time.Minute)
		if n := len(w.log.named("prefect.worker.executed-flow-run")); n != 1 {
			t.Errorf("%d executed events in the end", n)
		}
	})
}
