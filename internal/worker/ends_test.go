package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// endIsKnownWithin bounds the time from a container's end to the end of its run
// in Prefect, with the default intervals.
const endIsKnownWithin = 15 * time.Second

func TestACrashIsReportedSoon(t *testing.T) {
	hangs := func(ctx context.Context) ([]launch.LogLine, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, tt := range []struct {
		name    string
		prepare func(w *world)
		seen    launch.Phase // what the sweeps saw last
	}{
		{"before it was seen running", nil, launch.PhaseStarting},
		{"after it was seen running", nil, launch.PhaseRunning},
		{"while its log hangs", func(w *world) { w.launcher.tail = hangs }, launch.PhaseRunning},
		{"while its pid is being stored", func(w *world) {
			w.api.before = func(op, _ string) error {
				if op == "SetInfrastructurePID" {
					<-time.After(5 * time.Minute)
				}
				return nil
			}
		}, launch.PhaseRunning},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 20 { // intervals are drawn by lot
				inWorld(t, func(w *world, _ *Options) {
					if tt.prepare != nil {
						tt.prepare(w)
					}
				}, func(w *world) {
					id := w.api.schedule("deployment-id")
					w.after(15 * time.Second)
					w.launcher.phase("pid-1", tt.seen)
					w.after(time.Minute)
					w.launcher.end("pid-1", badExit)
					w.after(endIsKnownWithin)
					if got := w.api.last(id); got.Name != "Crashed" || got.Message != "Exited with code 7." {
						t.Fatalf("last state %s %q", got.Name, got.Message)
					}
					if tt.prepare == nil && !w.log.has("last words of pid-1") {
						t.Error("the last lines were not copied")
					}
				})
			}
		})
	}
}

func TestOneThatCannotBeDescribedHoldsNobodyUp(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		id, pid := w.running()
		w.launcher.mu.Lock()
		w.launcher.describe = fmt.Errorf("access denied to one of them")
		w.launcher.partly = true
		w.launcher.mu.Unlock()
		w.after(10 * time.Minute)
		w.launcher.end(pid, badExit)
		w.after(endIsKnownWithin)
		if got := w.api.last(id).Name; got != "Crashed" {
			t.Errorf("last state %s", got)
		}
	})
}

func TestHintsFindTheirRun(t *testing.T) {
	for _, tt := range []struct {
		name string
		hint func(id string) launch.Hint
		want string
	}{
		{"by the cluster's other name", func(string) launch.Hint { return launch.Hint{PID: "arn:cluster/blue::pid-1"} }, "Crashed"},
		{"by the flow run alone", func(id string) launch.Hint { return launch.Hint{FlowRunID: id} }, "Crashed"},
		{"of another task", func(string) launch.Hint { return launch.Hint{PID: "blue::pid-2"} }, "Running"},
		{"of nothing", func(string) launch.Hint { return launch.Hint{} }, "Running"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world, o *Options) {
				w.launcher.cluster = "blue::"
				o.StartingSweep, o.RunningSweep = time.Hour, time.Hour
			}, func(w *world) {
				id, pid := w.running()
				w.launcher.end(pid, badExit)
				w.launcher.hints <- tt.hint(id)
				w.after(time.Second)
				if got := w.api.last(id).Name; got != tt.want {
					t.Errorf("last state %s, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestWhenARunCountsAsExecuted(t *testing.T) {
	executed := func(w *world) (found []prefect.Event) {
		for _, e := range w.log.all() {
			if e.Event == "prefect.worker.executed-flow-run" {
				found = append(found, e)
			}
		}
		return found
	}
	infrastructure := func(e prefect.Event) string {
		i := slices.IndexFunc(e.Related, func(r prefect.Resource) bool { return r["prefect.resource.role"] == "flow-run" })
		return e.Related[i]["prefect.infrastructure.identifier"] + " " + e.Related[i]["prefect.infrastructure.status-code"]
	}
	for _, tt := range []struct {
		typ           string
		before, after string // of the end
	}{
		{"ecs", "pid-1 0", "pid-1 0"},
		{"process", "", "pid-1 7"},
	} {
		t.Run(tt.typ, func(t *testing.T) {
			inWorld(t, func(w *world, _ *Options) { w.launcher.typ = tt.typ }, func(w *world) {
				id := w.api.schedule("deployment-id")
				w.after(15 * time.Second)
				check := func(want string) {
					t.Helper()
					var got []string
					for _, e := range executed(w) {
						got = append(got, infrastructure(e))
					}
					if strings.Join(got, ", ") != want {
						t.Errorf("executed %q, want %q", got, want)
					}
				}
				check(tt.before)
				w.launcher.phase("pid-1", launch.PhaseRunning)
				w.api.become(id, prefect.StateRunning, "Running")
				w.launcher.end("pid-1", badExit)
				w.after(time.Minute)
				check(tt.after)
			})
		})
	}
	t.Run("not again when it is taken over", func(t *testing.T) {
		inWorld(t, func(w *world, _ *Options) {
			w.launcher.typ = "ecs"
			id := w.claimed("w1", "Submitting")
			h, err := w.launcher.Launch(t.Context(), launch.Job{FlowRunID: id, ClaimID: w.api.state(id, 1).ID, WorkerName: "w1"})
			if err != nil {
				t.Fatal(err)
			}
			w.api.runs[id].InfrastructurePID = h.PID
		}, func(w *world) {
			w.after(time.Minute)
			w.launcher.end("pid-1", badExit)
			w.after(time.Minute)
			if n := len(executed(w)); n != 0 {
				t.Errorf("%d events", n)
			}
		})
	})
}

func TestTheStateNamesThePlace(t *testing.T) {
	inWorld(t, func(w *world, _ *Options) { w.launcher.place = "cluster blue in eu-central-1" }, func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(15 * time.Second)
		if got := w.api.state(id, 2); got.Name != "Submitting" || got.Message != "Submitting to cluster blue in eu-central-1" {
			t.Errorf("state %s %q", got.Name, got.Message)
		}
	})
}

func TestSentences(t *testing.T) {
	for _, tt := range []struct{ cause, hint, want string }{
		{"It broke", "", "It broke"},
		{"", "Mend it.", "Mend it."},
		{"It broke (exit code 1)", "Mend it.", "It broke (exit code 1). Mend it."},
		{"It broke.", "Mend it.", "It broke. Mend it."},
		{"It broke!", "Mend it.", "It broke! Mend it."},
		{" It broke:\n", " Mend it.\n", "It broke. Mend it."},
		{"cpu: must be a number\n\nmemory: must be a number", "Mend both.", "cpu: must be a number; memory: must be a number. Mend both."},
	} {
		if got := sentences(tt.cause, tt.hint); got != tt.want {
			t.Errorf("%q and %q became %q, want %q", tt.cause, tt.hint, got, tt.want)
		}
	}
}

func TestSameInfrastructure(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"4711", "4711", true},
		{"4711", "4712", false},
		{"blue::arn:t", "arn:c/blue::arn:t", true},
		{"blue::arn:t", "blue::arn:u", false},
		{"blue::", "green::", false},
		{"blue::arn:t", "", false},
		{"4711", "blue::4711", false},
	} {
		if got := sameInfrastructure(tt.a, tt.b); got != tt.want || sameInfrastructure(tt.b, tt.a) != tt.want {
			t.Errorf("%q and %q: %t", tt.a, tt.b, got)
		}
	}
}

func TestTheRealPlaceIsSearched(t *testing.T) {
	t.Run("with the defaults of the template", func(t *testing.T) {
		inWorld(t, func(w *world, _ *Options) {
			w.claimed("other")
			w.api.workers = []prefect.WorkerInfo{{Name: "other", Status: "ONLINE"}}
		}, func(w *world) {
			w.after(time.Minute)
			pools := w.launcher.searches()
			if len(pools) == 0 {
				t.Fatal("nothing was searched")
			}
			if got := pools[0]; got.ID != "pool-id" || got.Name != "pool" || fmt.Sprint(got.Configuration["size"]) != "1" || strings.Contains(fmt.Sprint(got.Configuration), "{{") {
				t.Errorf("searched %+v", got)
			}
		})
	})
	t.Run("or none, until it is known", func(t *testing.T) {
		var id string
		inWorld(t, func(w *world, _ *Options) {
			id = w.claimed("w1")
			w.api.pool.BaseJobTemplate = broken()
		}, func(w *world) {
			w.after(5 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending")
			if n := len(w.launcher.searches()); n != 0 {
				t.Errorf("%d searches", n)
			}
			w.api.mu.Lock()
			w.api.pool.BaseJobTemplate = rawJSON(template())
			w.api.mu.Unlock()
			w.after(2 * time.Minute)
			w.wantHistory(id, "Scheduled", "Pending", "Submitting")
		})
	})
	t.Run("and a stored pid keeps its form", func(t *testing.T) {
		inWorld(t, func(w *world, _ *Options) {
			w.launcher.cluster = "arn:cluster/blue::"
			id := w.claimed("w1", "Submitting")
			if _, err := w.launcher.Launch(t.Context(), launch.Job{FlowRunID: id, ClaimID: w.api.state(id, 1).ID, WorkerName: "w1"}); err != nil {
				t.Fatal(err)
			}
			w.api.runs[id].InfrastructurePID = "blue::pid-1"
		}, func(w *world) {
			w.after(time.Minute)
			a := w.worker.attempts.all()
			if len(a) != 1 || a[0].handle.PID != "blue::pid-1" {
				t.Fatalf("tracked %v", a)
			}
		})
	})
}
