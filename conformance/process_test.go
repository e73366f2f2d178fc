//go:build conformance

package conformance

import (
	"testing"
	"time"
)

func Test108FailingFlow(t *testing.T) {
	b := newBench(t, "108", "a flow that fails ends Failed by itself: executed status-code 0, no Crashed")
	w := b.worker("process")
	b.waitPool()
	w.waitStarted()
	run := b.run(b.sourceDeployment(`raise ValueError("boom")`, nil), nil)
	final := b.waitFinal(run, time.Minute)
	if final.Type != "FAILED" {
		t.Fatalf("the run ended %s: %s", final, final.Message)
	}
	executed := b.waitEmitted("prefect.worker.executed-flow-run", 30*time.Second)
	b.saw("%s, %q", final, final.Message)
	b.saw("%v", dig(executed, "related"))
}
