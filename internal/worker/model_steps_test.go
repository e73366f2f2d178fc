package worker

import (
	"os"
	"strings"
	"testing"
	"time"
)

// lastStep is beyond the last call of a worker that a run of the histories below
// takes from its poll to its end.
const lastStep = 70

// TestModelKilledAtEveryStep kills a worker before and after each of its calls, with
// successors of several kinds, and does without the answer of each call.
func TestModelKilledAtEveryStep(t *testing.T) {
	stride := 3 // which is coprime to what repeats; with a number of histories set, all
	if os.Getenv(historiesEnv) != "" {
		stride = 1
	}
	kinds := []modelKind{modelCompletes, modelCrashes, modelSpot, modelUnstartable, modelNoRoom, modelRetryDies, modelDozes}
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			for _, how := range []modelHow{modelKilled, modelDies, modelLost, modelFails} {
				for _, after := range []string{"same", "other", "two"} {
					if after != "same" && (how == modelLost || how == modelFails) {
						continue // nobody succeeds a worker that lives
					}
					for skip := 0; skip < lastStep; skip += stride {
						h := stepHistory(kind, how, after, skip)
						if w := playHistory(t, h); len(w.violations) > 0 {
							t.Fatalf("%s: %s, successor %s, call %d\nhistory: %s\n%s", w.violations[0], how, after, skip, &h, strings.Join(w.trace, "\n"))
						}
					}
				}
			}
		})
	}
}

// stepHistory spoils one call of the worker that serves one run, which is cancelled
// if it takes its time.
func stepHistory(kind modelKind, how modelHow, after string, skip int) modelHistory {
	plan := modelPlan{Kind: kind, Provision: 3 * time.Second, Run: 4 * time.Second, Unseen: 2 * time.Second, Deaf: true}
	h := modelHistory{Seed: uint64(skip) + 1, Workers: 1, SubmitLimit: 64, Actions: []modelAction{
		{Do: "fault", Fault: &modelFault{Run: -1, Slot: 0, Skip: skip, Count: 1, How: how}},
		{Do: "run", Plans: []modelPlan{plan}, Then: 20 * time.Second},
	}}
	if after == "two" {
		h.Workers = 3
		quiet := []modelAction{{Do: "kill", I: 1}, {Do: "kill", I: 2}}
		h.Actions = append(quiet, h.Actions...)
	}
	if kind == modelDozes {
		h.Actions = append(h.Actions, modelAction{Do: "cancel", Then: 20 * time.Second})
	}
	switch after {
	case "same":
		h.Actions = append(h.Actions, modelAction{Do: "start"})
	case "other":
		h.Actions = append(h.Actions, modelAction{Do: "rename"})
	case "two":
		h.Actions = append(h.Actions, modelAction{Do: "start", I: 1}, modelAction{Do: "start", I: 2})
	}
	return h
}
