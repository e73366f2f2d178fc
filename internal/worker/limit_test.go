package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"faber/internal/prefect"
)

func TestALimitThatCountsLaunches(t *testing.T) {
	inWorld(t, func(w *world, o *Options) {
		w.launcher.typ, o.Limit, o.LimitCounts = "ecs", 1, LimitLaunches
	}, func(w *world) {
		for range 3 {
			w.api.schedule("deployment-id")
		}
		w.after(15 * time.Second)
		if n := w.launcher.launched(); n != 3 {
			t.Errorf("%d launched one after the other", n)
		}
		if n := w.worker.slots.inUse(); n != 3 {
			t.Errorf("%d in work: a run that counts no more is still this worker's", n)
		}
		w.after(time.Hour)
		if n := w.launcher.called(); n != 3 {
			t.Errorf("%d launches of three runs", n)
		}
	})
	t.Run("of children counts them until they end", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) {
			w.launcher.typ, o.Limit, o.LimitCounts = "process", 1, LimitLaunches
		}, func(w *world) {
			w.api.schedule("deployment-id")
			w.api.schedule("deployment-id")
			w.after(time.Minute)
			if n := w.launcher.launched(); n != 1 {
				t.Errorf("%d launched", n)
			}
		})
	})
	t.Run("and no other", func(t *testing.T) {
		api := newFakePrefect()
		_, err := New(Options{API: api, Launcher: newFakeLauncher(api), Pool: "p", Name: "n", LimitCounts: "sheep"})
		if err == nil || !strings.Contains(err.Error(), `"sheep"`) {
			t.Errorf("error %v", err)
		}
	})
}

// TestBlockedRunsDoNotStarveTheOthers: the server hands out a full page of runs that
// it will not let begin, because their deployment is at its limit.
func TestBlockedRunsDoNotStarveTheOthers(t *testing.T) {
	for _, limit := range []int{0, 1} {
		t.Run(fmt.Sprintf("limit %d", limit), func(t *testing.T) {
			inWorld(t, func(w *world, o *Options) {
				o.Limit = limit
				w.api.answer = func(id string, s prefect.State) *prefect.OrchestrationResult {
					if s.Name != "Pending" || w.api.runs[id].DeploymentID != "full" {
						return nil
					}
					later := time.Now().Add(30 * time.Second) // what the server's default is
					set := w.api.set(id, prefect.State{Type: prefect.StateScheduled, Name: "AwaitingConcurrencySlot", Details: prefect.StateDetails{ScheduledTime: &later}})
					return &prefect.OrchestrationResult{Status: prefect.StatusReject, State: &set}
				}
			}, func(w *world) {
				for range pageSize + 50 {
					w.api.schedule("full")
				}
				free := w.api.schedule("deployment-id")
				most := 30 * time.Second
				if limit > 0 {
					most = 3 * time.Minute // one at a time, a poll for each
				}
				w.after(most)
				w.wantHistory(free, "Scheduled", "Pending", "Submitting")
			})
		})
	}
}
