package front

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRunsIn(t *testing.T) {
	a, b := runA, runB
	for _, tt := range []struct {
		path, body string
		want       []string
	}{
		{"/flow_runs/" + a, "", []string{a}},
		{"/api/flow_runs/" + strings.ToUpper(a) + "/set_state", "", []string{a}},
		{"/flow_runs/filter", `{"flow_runs":{"id":{"any_":["` + a + `","` + b + `"]}}}`, []string{a, b}},
		{"/logs/filter", `{"logs":{"flow_run_id":{"any_":["` + a + `"]}}}`, []string{a}},
		{"/logs/", `[{"flow_run_id":"` + a + `"},{"flow_run_id":"` + a + `"},{"flow_run_id":null}]`, []string{a}},
		{"/", `{"overrides":{"containerOverrides":[{"environment":[{"name":"X","value":"` + b + `"},{"name":"PREFECT__FLOW_RUN_ID","value":"` + a + `"}]}]}}`, []string{a}},
		{"/", `{"tags":[{"key":"prefect.io/flow-run-id","value":"` + a + `"}]}`, []string{a}},
		{"/", `{"environment":{"PREFECT__FLOW_RUN_ID":"` + a + `"}}`, []string{a}},
		{"/deployments/" + a + "/create_flow_run", `{"id":"` + b + `"}`, nil},
		{"/", `{"flow_run_id":"short"}`, nil},
		{"/", `{"flow_runs":["x"],"flow_run_id":{"any_":null}}`, nil},
		{"/", `{"flow_run_id":`, nil},
		{"/", `PREFECT__FLOW_RUN_ID`, nil},
	} {
		if got := RunsIn(tt.path, []byte(tt.body)); !slices.Equal(got, tt.want) {
			t.Errorf("%s %s: %v, want %v", tt.path, tt.body, got, tt.want)
		}
	}
}

func TestRouteForms(t *testing.T) {
	for _, tt := range []struct {
		route, method, path string
		want                bool
	}{
		{"POST /flow_runs/{id}/set_state", "POST", "/flow_runs/1/set_state", true},
		{"post /flow_runs/{id}/set_state", "POST", "/flow_runs/1/set_state", true},
		{"POST /flow_runs/{id}/set_state", "GET", "/flow_runs/1/set_state", false},
		{"POST /flow_runs/{id}/set_state", "POST", "/flow_runs/1/2/set_state", false},
		{"POST /flow_runs/{id}/set_state", "POST", "/flow_runs//set_state", false},
		{"POST /flow_runs/{id}/set_state", "POST", "/x/flow_runs/1/set_state", false},
		{"* /flow_runs/*", "PATCH", "/flow_runs/1/2", true},
		{"* /flow_runs/*", "PATCH", "/flow_runs", false},
		{"GET /a.b", "GET", "/a.b", true},
		{"GET /a.b", "GET", "/axb", false},
		{"GET /{a", "GET", "/{a", true},
	} {
		r, err := compile(Fault{Route: tt.route, Throttle: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.matches(Subject{Method: tt.method, Path: tt.path}); got != tt.want {
			t.Errorf("%s of %s %s: %v", tt.route, tt.method, tt.path, got)
		}
	}
	for _, route := range []string{"/flow_runs", "POST", "POST flow_runs"} {
		if _, err := compile(Fault{Route: route, Throttle: true}); err == nil {
			t.Errorf("%q was taken for a route", route)
		}
	}
}

func TestKindsAreChecked(t *testing.T) {
	stop := &Stop{Code: "SpotInterruption"}
	for _, tt := range []struct {
		fault Fault
		want  string // "" is good
	}{
		{Fault{Hold: HoldBefore}, ""},
		{Fault{Hold: HoldBefore, Throttle: true}, ""},
		{Fault{Hold: HoldAfter, Drop: DropReply, Delay: Duration(time.Second)}, ""},
		{Fault{Failures: []Failure{{Reason: "AGENT"}}}, ""},
		{Fault{Hide: Forever, Stop: stop, Run: runA, Operation: "RunTask"}, ""},
		{Fault{Event: EventLate, Delay: 1}, ""},
		{Fault{Event: EventMangle, Body: "x", LastStatus: "STOPPED"}, ""},
		{Fault{Hold: "during"}, "hold must be"},
		{Fault{Hold: HoldAfter, Throttle: true}, "not made"},
		{Fault{Hold: HoldAfter, Drop: DropRequest}, "not made"},
		{Fault{Throttle: true, Drop: DropReply}, "dropped"},
		{Fault{Throttle: true, Failures: []Failure{{}}}, "take one"},
		{Fault{Delay: Forever}, "a delay ends"},
		{Fault{Throttle: true, LastStatus: "STOPPED"}, "last_status"},
		{Fault{Hide: -1}, "negative"},
		{Fault{Hide: 1, Throttle: true}, "two rules"},
		{Fault{Hide: 1, Operation: "DescribeTasks"}, "not by DescribeTasks"},
		{Fault{Stop: &Stop{}}, "needs a code"},
		{Fault{Stop: &Stop{Code: "x", After: Forever}}, "a time that comes"},
		{Fault{Stop: stop, LastStatus: "STOPPED"}, "last_status"},
		{Fault{Event: "lost"}, "event must be"},
		{Fault{Event: EventDrop, Hide: 1}, "two rules"},
		{Fault{Event: EventLate}, "needs a delay"},
		{Fault{Event: EventDrop, Body: "x"}, "mangled"},
		{Fault{Event: EventDrop, Operation: "ReceiveMessage"}, "not by operation"},
	} {
		err := NewFaults().Check(tt.fault)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.fault, err, tt.want)
		}
	}
}

func TestForeverInJSON(t *testing.T) {
	faults, err := ParseFaults([]byte(`[{"hide":"forever"},{"hide":"1m30s"}]`))
	if err != nil || faults[0].Hide != Forever || faults[1].Hide != Duration(90*time.Second) {
		t.Fatalf("%+v %v", faults, err)
	}
	data, err := json.Marshal(faults)
	if err != nil || !strings.Contains(string(data), `"hide":"forever"`) || !strings.Contains(string(data), `"hide":"1m30s"`) {
		t.Errorf("%s %v", data, err)
	}
	at := time.Now()
	if !Forever.After(at).IsZero() || Duration(time.Second).After(at) != at.Add(time.Second) {
		t.Error("forever ends, or a second does not")
	}
}

// drawn says which of so many calls a table spoils.
func drawn(faults *Faults, n int) string {
	text := ""
	for range n {
		f, ok := faults.Take(Subject{Path: "/"})
		if !ok {
			f.ID = "-"
		}
		text += f.ID
	}
	return text
}

func TestSeed(t *testing.T) {
	table := func(seed uint64, faults ...Fault) *Faults {
		f := NewFaults()
		f.Seed(seed)
		if _, err := f.Add(faults...); err != nil {
			t.Fatal(err)
		}
		return f
	}
	half := Fault{ID: "h", Probability: 0.5, Throttle: true}
	first := drawn(table(1, half), 60)
	if n := strings.Count(first, "h"); n < 15 || n > 45 {
		t.Errorf("half of 60 is %d", n)
	}
	if again := drawn(table(1, half), 60); again != first {
		t.Errorf("the same seed: %s, then %s", first, again)
	}
	if other := drawn(table(2, half), 60); other == first {
		t.Error("another seed draws the same")
	}
	// Another rule beside it changes nothing, and each draws for itself.
	beside := table(1, Fault{ID: "x", Path: "^/none$", Probability: 0.5, Throttle: true}, half)
	beside.Take(Subject{Path: "/none"})
	if got := drawn(beside, 60); got != first {
		t.Errorf("beside another rule: %s, want %s", got, first)
	}
	late := table(9, half)
	late.Seed(1)
	if got := drawn(late, 60); got != first || late.SeedInUse() != 1 {
		t.Errorf("seeded later: %s, want %s", got, first)
	}
}

func TestSeedDoor(t *testing.T) {
	b := setup(t, Options{})
	for _, bad := range []string{``, `{}`, `{"seed":-1}`, `{"sed":1}`, `{"seed":"1"}`} {
		b.must(t, "PUT", "/_front/seed", "", bad, 400)
	}
	if text := b.must(t, "PUT", "/_front/seed", "", `{"seed":18446744073709551615}`, 200); strings.TrimSpace(text) != `{"seed":18446744073709551615}` {
		t.Errorf("set: %s", text)
	}
	b.must(t, "POST", "/_front/seed", "", `{"seed":7}`, 200)
	if text := b.must(t, "GET", "/_front/seed", "", "", 200); strings.TrimSpace(text) != `{"seed":7}` {
		t.Errorf("read: %s", text)
	}
}

func TestTakeTask(t *testing.T) {
	faults := NewFaults()
	if _, err := faults.Add(
		Fault{ID: "call", Throttle: true}, Fault{ID: "second", Hide: 1, Skip: 1, Count: 1},
		Fault{ID: "run", Run: runA, Stop: &Stop{Code: "x"}}, Fault{ID: "task", Task: "t/3", Hide: 1},
	); err != nil {
		t.Fatal(err)
	}
	strike := func(s Subject, asked map[int]bool) string {
		s.Operation = "RunTask"
		ids := []string{}
		for _, f := range faults.TakeTask(s, asked) {
			ids = append(ids, f.ID)
		}
		return strings.Join(ids, " ")
	}
	asked := map[int]bool{}
	for i, want := range []string{"run", ""} { // the second time it is the same task, and nothing is decided anew
		if got := strike(Subject{Task: "arn/t/1", Runs: []string{runA}, Body: []byte("{}")}, asked); got != want {
			t.Errorf("first task, time %d: %q, want %q", i+1, got, want)
		}
	}
	if got := strike(Subject{Task: "arn/t/2", Body: []byte("{}")}, map[int]bool{}); got != "second" {
		t.Errorf("second task: %q", got)
	}
	if got := strike(Subject{Task: "arn/t/3", Runs: []string{runA}}, map[int]bool{}); got != "run task" {
		t.Errorf("a task that was there: %q", got)
	}
	if !faults.Has(2) || !faults.Remove("second") || faults.Has(2) {
		t.Error("a rule that was removed is still there")
	}
}

// A ledger of a long test keeps every call, and finds those of a run.
func TestLargeLedger(t *testing.T) {
	const size = 50_000
	l := NewLedger(size)
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for range size / 10 {
				c := Call{Operation: "Op"}
				if worker == 0 {
					c.Run, c.Runs = runA, []string{runA, runB}
				}
				l.End(l.Begin(c), 200, 1)
			}
		})
	}
	wg.Wait()
	for q, want := range map[Query]int{
		{}: size, {Run: runA}: size / 10, {Run: strings.ToUpper(runB)}: size / 10, {Fault: "f"}: 0,
	} {
		if n := len(l.Calls(q)); n != want {
			t.Errorf("%+v: %d calls, want %d", q, n, want)
		}
	}
}

func TestEffects(t *testing.T) {
	b := setup(t, Options{})
	b.add(t,
		Fault{Path: "^/throttled", Throttle: true}, Fault{Path: "^/request", Drop: DropRequest}, Fault{Path: "^/reply", Drop: DropReply},
		Fault{Path: "^/slow", Delay: 1},
	)
	for path, want := range map[string]Effect{"/throttled": EffectNo, "/request": EffectNo, "/reply": EffectYes, "/slow": EffectYes, "/": EffectYes} {
		_, _, _ = b.do(t, "POST", path, "Op", `{"flow_run_id":"`+runA+`"}`)
		call := b.gate.Ledger().Calls(Query{Limit: 1})[0]
		if call.Effect != want || call.Run != runA || call.Runs != nil {
			t.Errorf("%s: %+v", path, call)
		}
	}
	if status, text, _ := b.do(t, "POST", "/throttled", "Op", ""); status != 429 || !strings.Contains(text, "Rate exceeded") {
		t.Errorf("throttled: %d %q", status, text)
	}
	for status, want := range map[int]Effect{0: EffectUnknown, 101: EffectYes, 201: EffectYes, 302: EffectYes, 404: EffectNo, 503: EffectUnknown} {
		if got := effectOf(status); got != want {
			t.Errorf("%d: %s", status, got)
		}
	}
	var none *Entry
	none.SetEffect(EffectNo)
	none.SetTasks([]string{"t"})
	none.SetRefusedBy("x")
	if none.Fault().ID != "" || EntryOf(t.Context()) != nil {
		t.Error("a call without an entry has one")
	}
}
