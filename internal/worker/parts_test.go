package worker

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/jobtemplate"
	"faber/internal/launch"
	"faber/internal/prefect"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

func TestSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 4).Draw(t, "limit")
		s := newSlots(limit)
		told := 0
		s.freed = func() { told++ }
		held := map[string]*lease{}
		var old []*lease
		missed := false
		runID := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(rapid.IntRange(0, 8).Draw(t, "id")) })
		t.Repeat(map[string]func(*rapid.T){
			"acquire": func(t *rapid.T) {
				id := runID.Draw(t, "run")
				free := limit == 0 || len(held) < limit
				l, full := s.acquire(id)
				switch {
				case held[id] != nil:
					if l != nil || full {
						t.Fatalf("a second lease on %s", id)
					}
				case free:
					if l == nil || full {
						t.Fatalf("no lease although a slot is free")
					}
					held[id] = l
				default:
					if l != nil || !full {
						t.Fatalf("a lease beyond the limit")
					}
					missed = true
				}
			},
			"adopt": func(t *rapid.T) {
				id := runID.Draw(t, "run")
				l := s.adopt(id)
				if (l == nil) != (held[id] != nil) {
					t.Fatalf("adopt gave %v for a run that is held: %t", l, held[id] != nil)
				}
				if l != nil {
					held[id] = l
				}
			},
			"release": func(t *rapid.T) {
				id := runID.Draw(t, "run")
				l := held[id]
				if l == nil {
					return
				}
				before := told
				l.release()
				if (told > before) != missed {
					t.Fatalf("told of a free slot: %t, work was left: %t", told > before, missed)
				}
				missed = false
				delete(held, id)
				old = append(old, l)
			},
			"release again": func(t *rapid.T) {
				for _, l := range old {
					l.release()
				}
			},
			"": func(t *rapid.T) {
				if s.inUse() != len(held) {
					t.Fatalf("%d in use, %d held", s.inUse(), len(held))
				}
				want := math.MaxInt
				if limit > 0 {
					want = max(0, limit-len(held))
				}
				if s.free() != want {
					t.Fatalf("free %d, want %d", s.free(), want)
				}
			},
		})
	})
}

func TestClampedExponential(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mean := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Hour)).Draw(t, "mean"))
		u := rapid.Float64Range(0, 0.999999).Draw(t, "u")
		d := float64(clampedExponential(mean, 0.3, u)) / float64(mean)
		if d < 0.751 || d > 1.3001 {
			t.Fatalf("%f of the mean", d)
		}
	})
}

func TestBackoffStaysInBounds(t *testing.T) {
	for failures := range 100 {
		if d := backoff(failures, time.Second, time.Minute); d < 750*time.Millisecond || d > 78*time.Second {
			t.Errorf("backoff(%d) = %s", failures, d)
		}
	}
}

func TestSlug(t *testing.T) {
	for name, want := range map[string]string{
		"w1": "w1", "My Worker_2": "my-worker-2", "Café  Zürich!": "cafe-zurich", "--x--": "x", "日本": "",
		"Straße": "strasse", "ŁÓDŹ": "lodz", "œuvre": "oeuvre", "it's": "it-s", "a'b''c": "a-b-c", "don’t": "dont", "“x”": "x",
		"1,000,5": "10005", "a,b": "a-b", "a&amp;b": "a-b", "&#65;b": "ab", "50€": "50eur", "²": "2", "™": "tm", "½": "1-2", "a—b": "a-b",
	} {
		if got := slug(name); got != want {
			t.Errorf("slug(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{"w": true, "w 1": true, "": false, "a/b": false, "50%": false} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
}

func TestEnvironmentOfARun(t *testing.T) {
	w := &Worker{name: "w1", opts: Options{
		WorkerID: func() string { return "" },
		Settings: func() []launch.EnvVar {
			return []launch.EnvVar{{Name: "PREFECT_API_URL", Value: "u"}, {Name: "PREFECT_API_KEY", Value: "k"}, {Name: "PREFECT_HOME", Value: "h"}}
		},
	}}
	s := &submission{
		run:  prefect.FlowRun{ID: "r", FlowID: "f", JobVariables: prefect.Document(`{"env": {"MINE": 1, "GONE": null}, "cpu": 512}`)},
		flow: prefect.Flow{Name: "flow"}, deployment: &prefect.Deployment{ID: "d", Name: "dep"},
	}
	got := w.environment(s, &jobtemplate.Resolved{
		Env:   []jobtemplate.EnvVar{{Name: "MINE", Value: "1"}, {Name: "PREFECT_API_URL", Value: "other"}},
		Unset: []string{"PREFECT_API_KEY", "PREFECT__DEPLOYMENT_NAME"},
	})
	want := []launch.EnvVar{
		{Name: "PREFECT_API_URL", Value: "other"},
		{Name: "PREFECT_HOME", Value: "h"},
		{Name: "PREFECT__FLOW_RUN_ID", Value: "r"},
		{Name: "PREFECT__WORKER_NAME", Value: "w1"},
		{Name: "PREFECT__FLOW_ID", Value: "f"},
		{Name: "PREFECT__FLOW_NAME", Value: "flow"},
		{Name: "PREFECT__DEPLOYMENT_ID", Value: "d"},
		{Name: "MINE", Value: "1", OfRun: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHistoryForgetsWhatWasBeforeTheEnd(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	scheduled := func(message string) prefect.State {
		return prefect.State{Type: prefect.StateScheduled, Message: message}
	}
	launched := scheduled("x. This was launch 1 of 3; the next one follows in 10s.")
	again := scheduled("x. This was launch 2 of 3; the next one follows in 20s.")
	waited := scheduled("waiting for capacity: x (since 2026-01-02T03:00:00Z; the next launch follows in 10s)")
	grown := scheduled("x. It ran out of memory 1 times; the next launch gets 4096 MiB.")
	for _, tt := range []struct {
		name   string
		states []prefect.State
		want   past
	}{
		{"nothing", nil, past{waitsSince: now}},
		{"two launches", []prefect.State{launched, again}, past{launches: 2, waitsSince: now}},
		{"run again by hand", []prefect.State{launched, again, {Type: prefect.StateCrashed}, launched}, past{launches: 1, waitsSince: now}},
		{"interrupted, which the flow called a crash", []prefect.State{launched, {Type: prefect.StateCrashed}, again}, past{launches: 2, waitsSince: now}},
		{"waiting", []prefect.State{waited, waited}, past{waits: 2, waitsSince: now.Add(-4*time.Minute - 5*time.Second)}},
		{"waited and ran", []prefect.State{waited, {Type: prefect.StateRunning}}, past{waitsSince: now}},
		{"out of memory", []prefect.State{grown, launched}, past{launches: 1, outOfMemory: 1, waitsSince: now}},
	} {
		got := pastOf(tt.states, now)
		if !got.waitsSince.Equal(tt.want.waitsSince) {
			t.Errorf("%s: waits since %s", tt.name, got.waitsSince)
		}
		if got.waitsSince = tt.want.waitsSince; got != tt.want {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

func TestTheStateThatWasStoredLastCounts(t *testing.T) {
	scheduled := prefect.State{ID: "s", Type: prefect.StateScheduled, Name: "Scheduled"}
	claim := prefect.State{ID: "c", Type: prefect.StatePending, Name: "Pending"}
	late := prefect.State{ID: "l", Type: prefect.StateScheduled, Name: "Late"}
	retry := prefect.State{ID: "r", Type: prefect.StateScheduled, Name: "AwaitingRetry"}
	for _, tt := range []struct {
		name   string
		in     *prefect.State
		states []prefect.State
		want   string // the order of the ids, empty when there is nothing to put right
	}{
		{"nothing known of the run", nil, []prefect.State{scheduled, claim, late}, ""},
		{"claimed", &claim, []prefect.State{scheduled, claim}, ""},
		{"claimed, and Late by its time", &claim, []prefect.State{scheduled, claim, late}, "slc"},
		{"Late indeed", &late, []prefect.State{scheduled, claim, late}, ""},
		{"back in the pool since", &claim, []prefect.State{scheduled, claim, retry}, ""},
		{"back in the pool, and late there", &claim, []prefect.State{scheduled, claim, retry, late}, ""},
		{"a state that the history has not", &claim, []prefect.State{scheduled, late}, ""},
	} {
		before := slices.Clone(tt.states)
		var got strings.Builder
		for _, s := range asStored(prefect.FlowRun{State: tt.in}, tt.states) {
			got.WriteString(s.ID)
		}
		if got.String() != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got.String(), tt.want)
		}
		if diff := cmp.Diff(before, tt.states); diff != "" {
			t.Errorf("%s: the history itself was changed:\n%s", tt.name, diff)
		}
	}
}

// countingAPI is an API that counts for itself.
type countingAPI struct{ *fakePrefect }

func (countingAPI) Collectors() []prometheus.Collector {
	return []prometheus.Collector{prometheus.NewCounter(prometheus.CounterOpts{Name: "prefect_events_emitted_total", Help: "Events."})}
}

func TestTheMetricsOfTheClientAreBesideTheWorkers(t *testing.T) {
	registry := prometheus.NewRegistry()
	newMetrics(registry, countingAPI{})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, family := range families {
		names = append(names, family.GetName())
	}
	for _, want := range []string{"prefect_events_emitted_total", "faber_flow_runs_in_work"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in %q", want, names)
		}
	}
}
