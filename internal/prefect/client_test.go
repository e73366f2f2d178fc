package prefect

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNewRefusesBadURLs(t *testing.T) {
	for _, url := range []string{"", "host:4200/api", "ftp://host/api", "http://", "http://u:hush@/api"} {
		if _, err := New(Options{APIURL: url}); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestIsCloud(t *testing.T) {
	for url, want := range map[string]bool{
		"https://api.prefect.cloud/api/accounts/a/workspaces/w": true,
		"http://host:4200/api": false,
	} {
		c, err := New(Options{APIURL: url + "/"})
		if err != nil || c.IsCloud() != want || c.APIURL() != url {
			t.Errorf("%s: %v, %s, %v", url, c.IsCloud(), c.APIURL(), err)
		}
	}
}

func TestHeaders(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))
	for name, test := range map[string]struct {
		options Options
		want    map[string]string
	}{
		"plain":    {Options{}, map[string]string{"User-Agent": "prefect/3.8.8 (API 0.8.4)", "X-Prefect-Api-Version": "0.8.4", "Accept": "*/*", "Authorization": "", "X-Prefect-Worker-Name": ""}},
		"key":      {Options{APIKey: "k"}, map[string]string{"Authorization": "Bearer k"}},
		"auth":     {Options{APIKey: "k", AuthString: "u:p"}, map[string]string{"Authorization": basic}},
		"worker":   {Options{WorkerName: " w\t"}, map[string]string{"X-Prefect-Worker-Name": "w"}},
		"custom":   {Options{APIKey: "k", CustomHeaders: map[string]string{"authorization": "x", "X-A": "b"}}, map[string]string{"Authorization": "x", "X-A": "b"}},
		"guarded":  {Options{CustomHeaders: map[string]string{"user-agent": "x", "Prefect-CSRF-Token": "y"}}, map[string]string{"User-Agent": userAgent, "Prefect-Csrf-Token": ""}},
		"no json?": {Options{}, map[string]string{"Content-Type": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFake(t, map[string]http.HandlerFunc{"GET /api/admin/version": with("3.8.8")})
			var log strings.Builder
			test.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if _, err := api.client(t, test.options).Version(t.Context()); err != nil {
				t.Fatal(err)
			}
			for header, want := range test.want {
				if got := api.seen()[0].header.Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			if warned := strings.Count(log.String(), "is ignored because it conflicts with a protected header"); name == "guarded" && warned != 2 || name != "guarded" && warned != 0 {
				t.Errorf("log %s", &log)
			}
		})
	}
}

func TestCSRF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := func(name string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				reply(w, http.StatusOK, map[string]any{"token": name, "client": r.URL.Query().Get("client"), "expiration": time.Now().Add(time.Hour)})
			}
		}
		api := newFake(t, map[string]http.HandlerFunc{
			"GET /api/csrf-token":    answers(token("one"), token("two"), token("three")),
			"GET /api/admin/version": with("3.8.8"),
			"POST /api/logs/": answers(status(201), status(201), status(201), func(w http.ResponseWriter, _ *http.Request) {
				reply(w, http.StatusForbidden, map[string]any{"detail": "Invalid CSRF token or client identifier."})
			}, status(201)),
		})
		c := api.client(t, Options{CSRF: true, MaxRetries: 1})
		post := func() {
			t.Helper()
			if err := c.SendLogs(t.Context(), nil); err != nil {
				t.Error(err)
			}
		}
		_, _ = c.Version(t.Context())
		post()
		post()
		time.Sleep(2 * time.Hour) // the token has run out
		post()
		post() // the server forgot it
		var got []string
		for _, r := range api.seen() {
			got = append(got, strings.SplitN(r.path, "?", 2)[0]+" "+r.header.Get("Prefect-Csrf-Token"))
			if changes := r.method == http.MethodPost; changes != (r.header.Get("Prefect-Csrf-Client") != "") {
				t.Errorf("%s %s: client %q", r.method, r.path, r.header.Get("Prefect-Csrf-Client"))
			}
		}
		want := []string{
			"/api/admin/version ", "/api/csrf-token ", "/api/logs/ one", "/api/logs/ one",
			"/api/csrf-token ", "/api/logs/ two", "/api/logs/ two", "/api/csrf-token ", "/api/logs/ three",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCSRFTurnsOff(t *testing.T) {
	disabled := func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusUnprocessableEntity, map[string]any{"detail": "CSRF protection is disabled."})
	}
	for name, test := range map[string]struct {
		options Options
		route   http.HandlerFunc
		asked   int
		fails   bool
	}{
		"disabled":     {Options{CSRF: true}, disabled, 1, false},
		"older server": {Options{CSRF: true}, status(404), 1, false},
		"by setting":   {Options{}, disabled, 0, false},
		"cloud":        {Options{CSRF: true, CloudAPIURL: "http://prefect.test/api"}, disabled, 0, false},
		"broken":       {Options{CSRF: true}, status(500), 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFake(t, map[string]http.HandlerFunc{"GET /api/csrf-token": test.route, "POST /api/logs/": status(201)})
			c := api.client(t, test.options)
			for range 2 {
				if err := c.SendLogs(t.Context(), nil); (err != nil) != test.fails {
					t.Error(err)
				}
			}
			asked := 0
			for _, r := range api.seen() {
				if strings.HasPrefix(r.path, "/api/csrf-token") {
					asked++
				}
			}
			if asked != test.asked {
				t.Errorf("asked %d times, want %d", asked, test.asked)
			}
		})
	}
}

func TestCheckVersion(t *testing.T) {
	for _, test := range []struct {
		server       string
		incompatible bool
		warned       bool
	}{
		{"3.8.8", false, false},
		{"3.9.0", false, false},
		{"3.8.9+7.gabc", false, false},
		{"3.10.0rc1", false, false},
		{"3.8.7", false, true},
		{"3.2", false, true},
		{"2.20.4", true, false},
		{"4.0.0", true, false},
		{"nonsense", true, false},
	} {
		t.Run(test.server, func(t *testing.T) {
			api := newFake(t, map[string]http.HandlerFunc{"GET /api/admin/version": with(test.server)})
			var log strings.Builder
			err := api.client(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}).CheckVersion(t.Context())
			if errors.Is(err, ErrIncompatible) != test.incompatible || !test.incompatible && err != nil {
				t.Error(err)
			}
			if strings.Contains(log.String(), "older") != test.warned {
				t.Errorf("log %s", &log)
			}
		})
	}
	api := newFake(t, nil)
	if err := api.client(t, Options{CloudAPIURL: "http://prefect.test/api"}).CheckVersion(t.Context()); err != nil || len(api.seen()) != 0 {
		t.Errorf("cloud: %v, %v", err, api.seen())
	}
}

func TestIncompatibleText(t *testing.T) {
	err := error(&incompatibleError{"2.20.4"})
	if want := "Found incompatible versions: client: 3.8.8, server: 2.20.4. Major versions must match."; err.Error() != want {
		t.Errorf("%s", err)
	}
}

func TestStatusErrors(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"detail":    {`{"detail":"Work pool not found"}`, "Work pool not found"},
		"exception": {`{"exception_message":"Unauthorized"}`, "Unauthorized"},
		"invalid": {
			`{"exception_message":"Invalid request received.","exception_detail":[{"loc":["body","name"],"msg":"field required","input":"hush"}],"request_body":{"key":"hush"}}`,
			"Invalid request received. body.name: field required",
		},
		"html": {"<html>", ""},
		"long": {`{"detail":"` + strings.Repeat("é", 400) + `"}`, strings.Repeat("é", 250)},
	} {
		t.Run(name, func(t *testing.T) {
			got := statusError("POST", "/x?secret=1", &answer{code: 422, header: http.Header{"Retry-After": {"3"}}, body: []byte(test.body)})
			if got.Detail != test.want || got.Path != "/x" || got.RetryAfter != 3*time.Second || strings.Contains(got.Error(), "hush") {
				t.Errorf("%+v", got)
			}
		})
	}
	if text := (&StatusError{Method: "GET", Path: "/flows/1", Code: 404, Detail: "gone"}).Error(); text != "GET /flows/1: 404 Not Found: gone" {
		t.Error(text)
	}
}

func TestIsTransient(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("x"), false},
		{context.Canceled, false},
		{&StatusError{Code: 400}, false},
		{&StatusError{Code: 404}, false},
		{&StatusError{Code: 408}, true},
		{&StatusError{Code: 429}, true},
		{&StatusError{Code: 500}, true},
		{&StatusError{Code: 503}, true},
		{&unreachableError{"GET", "/x", errors.New("EOF")}, true},
		{&unreachableError{"GET", "/x", context.Canceled}, false},
		{&unreachableError{"GET", "/x", context.DeadlineExceeded}, true},
	} {
		if got := IsTransient(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}

func TestCalls(t *testing.T) {
	pid := "c::t"
	template := json.RawMessage(`{"variables":{}}`)
	when := time.Date(2026, 11, 23, 5, 25, 45, 397462000, time.FixedZone("", 3600))
	for name, test := range map[string]struct {
		route string
		do    func(*Client) error
		uri   string
		body  string
	}{
		"pool": {
			"GET /api/work_pools/a%2Fb%20c", func(c *Client) error { _, err := c.ReadWorkPool(t.Context(), "a/b c"); return err },
			"/api/work_pools/a%2Fb%20c", "",
		},
		"create": {
			"POST /api/work_pools/", func(c *Client) error { _, err := c.CreateWorkPool(t.Context(), "p", "ecs", nil); return err },
			"/api/work_pools/", `{"name":"p","type":"ecs"}`,
		},
		"create with template": {
			"POST /api/work_pools/", func(c *Client) error { _, err := c.CreateWorkPool(t.Context(), "p", "ecs", template); return err },
			"/api/work_pools/", `{"base_job_template":{"variables":{}},"name":"p","type":"ecs"}`,
		},
		"template": {
			"PATCH /api/work_pools/p", func(c *Client) error { return c.SetBaseJobTemplate(t.Context(), "p", template) },
			"/api/work_pools/p", `{"base_job_template":{"variables":{}}}`,
		},
		"heartbeat": {
			"POST /api/work_pools/p/workers/heartbeat", func(c *Client) error {
				return c.Heartbeat(t.Context(), "p", "w", 6500*time.Millisecond, []Integration{{"faber", "1"}})
			},
			"/api/work_pools/p/workers/heartbeat", `{"heartbeat_interval_seconds":7,"name":"w"}`,
		},
		"scheduled": {"POST /api/work_pools/p/get_scheduled_flow_runs", func(c *Client) error {
			_, err := c.GetScheduledFlowRuns(t.Context(), "p", nil, when, 0)
			return err
		}, "/api/work_pools/p/get_scheduled_flow_runs", `{"scheduled_before":"2026-11-23T04:25:45.397462Z","work_queue_names":[]}`},
		"scheduled, limited": {"POST /api/work_pools/p/get_scheduled_flow_runs", func(c *Client) error {
			_, err := c.GetScheduledFlowRuns(t.Context(), "p", []string{"q"}, when, 3)
			return err
		}, "/api/work_pools/p/get_scheduled_flow_runs", `{"limit":3,"scheduled_before":"2026-11-23T04:25:45.397462Z","work_queue_names":["q"]}`},
		"filter": {
			"POST /api/flow_runs/filter", func(c *Client) error { _, err := c.FilterFlowRuns(t.Context(), nil); return err },
			"/api/flow_runs/filter", `{}`,
		},
		"states": {
			"GET /api/flow_run_states/", func(c *Client) error { _, err := c.FlowRunStates(t.Context(), "r"); return err },
			"/api/flow_run_states/?flow_run_id=r", "",
		},
		"pid": {
			"PATCH /api/flow_runs/r", func(c *Client) error { return c.SetInfrastructurePID(t.Context(), "r", &pid) },
			"/api/flow_runs/r", `{"infrastructure_pid":"c::t"}`,
		},
		"no pid": {
			"PATCH /api/flow_runs/r", func(c *Client) error { return c.SetInfrastructurePID(t.Context(), "r", nil) },
			"/api/flow_runs/r", `{"infrastructure_pid":null}`,
		},
		"labels": {
			"PATCH /api/flow_runs/r/labels", func(c *Client) error { return c.SetLabels(t.Context(), "r", map[string]string{"a": "b"}) },
			"/api/flow_runs/r/labels", `{"a":"b"}`,
		},
		"lease": {"POST /api/v2/concurrency_limits/leases/l/renew", func(c *Client) error {
			return c.RenewConcurrencyLease(t.Context(), "l", 5*time.Minute)
		}, "/api/v2/concurrency_limits/leases/l/renew", `{"lease_duration":300}`},
		"block": {
			"GET /api/block_documents/b", func(c *Client) error { _, err := c.BlockDocument(t.Context(), "b"); return err },
			"/api/block_documents/b?include_secrets=true", "",
		},
		"block by name": {"GET /api/block_types/slug/s/block_documents/name/n", func(c *Client) error {
			_, err := c.BlockDocumentByName(t.Context(), "s", "n")
			return err
		}, "/api/block_types/slug/s/block_documents/name/n?include_secrets=true", ""},
		"variable": {"GET /api/variables/name/v", func(c *Client) error { _, err := c.Variable(t.Context(), "v"); return err }, "/api/variables/name/v", ""},
		"logs": {"POST /api/logs/", func(c *Client) error {
			return c.SendLogs(t.Context(), []Log{{Name: "n", Level: 20, Message: "m", Timestamp: when, FlowRunID: "r"}})
		}, "/api/logs/", `[{"name":"n","level":20,"message":"m","timestamp":"2026-11-23T04:25:45.397462Z","flow_run_id":"r","task_run_id":null}]`},
	} {
		t.Run(name, func(t *testing.T) {
			method, _, _ := strings.Cut(test.route, " ")
			answer := any(map[string]any{})
			if name == "filter" || strings.HasPrefix(name, "scheduled") || name == "states" {
				answer = []any{}
			}
			route := with(answer)
			if method == http.MethodPatch || name == "heartbeat" || name == "lease" {
				route = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
			}
			api := newFake(t, map[string]http.HandlerFunc{test.route: route})
			if err := test.do(api.client(t, Options{})); err != nil {
				t.Fatal(err)
			}
			got := api.seen()[0]
			if got.method != method || got.path != test.uri || got.body != test.body {
				t.Errorf("%s %s %s", got.method, got.path, got.body)
			}
			if wantType := test.body != ""; wantType != (got.header.Get("Content-Type") == "application/json") {
				t.Errorf("content type %q", got.header.Get("Content-Type"))
			}
			api = newFake(t, nil)
			if err := test.do(api.client(t, Options{})); !errors.Is(err, ErrNotFound) {
				t.Errorf("404 is %v", err)
			}
		})
	}
}

func TestFlowRunKeepsAllFields(t *testing.T) {
	api := newFake(t, map[string]http.HandlerFunc{"GET /api/flow_runs/r": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"id":"r","deployment_id":null,"job_variables":{"ratio":1.0,"cpu":512},"state":{"type":"PENDING","state_details":{}},"other":{"n":9007199254740993}}`))
	}})
	run, err := api.client(t, Options{}).ReadFlowRun(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	if run.ID != "r" || run.DeploymentID != "" || string(run.JobVariables) != `{"ratio":1.0,"cpu":512}` ||
		run.State.Type != StatePending || run.Raw["other"].(map[string]any)["n"] != json.Number("9007199254740993") {
		t.Errorf("%+v", run)
	}
}

func TestFlowRunStatesAreSorted(t *testing.T) {
	api := newFake(t, map[string]http.HandlerFunc{"GET /api/flow_run_states/": with([]any{
		map[string]any{"id": "2", "type": "PENDING", "timestamp": "2026-11-23T05:25:46Z"},
		map[string]any{"id": "1", "type": "SCHEDULED", "timestamp": "2026-11-23T05:25:45.5+00:00"},
	})})
	states, err := api.client(t, Options{}).FlowRunStates(t.Context(), "r")
	if err != nil || len(states) != 2 || states[0].ID != "1" {
		t.Errorf("%+v, %v", states, err)
	}
}

func TestSetFlowRunState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		verdict := func(status, typ, transition string) http.HandlerFunc {
			return with(map[string]any{
				"status": status, "details": map[string]any{"reason": "because", "delay_seconds": 2.5},
				"state": map[string]any{"id": "s", "type": typ, "state_details": map[string]any{"transition_id": transition}},
			})
		}
		api := newFake(t, map[string]http.HandlerFunc{"POST /api/flow_runs/r/set_state": answers(
			status(503), verdict("ACCEPT", "PENDING", "x"), verdict("WAIT", "SCHEDULED", ""), verdict("REJECT", "PENDING", "mine"), verdict("REJECT", "PENDING", "yours"),
			verdict("REJECT", "SCHEDULED", "mine"))})
		c := api.client(t, Options{MaxRetries: 3})
		now := time.Now()
		propose := func(transition string, want SetStateStatus) {
			t.Helper()
			proposal := State{ID: "not sent", Timestamp: &now, Type: StatePending, Details: StateDetails{TransitionID: transition}}
			got, err := c.SetFlowRunState(t.Context(), "r", proposal, true)
			if err != nil || got.Status != want || got.Details.Reason != "because" || got.Details.DelaySeconds != 2.5 {
				t.Errorf("%+v, %v", got, err)
			}
		}
		propose("", StatusAccept)
		propose("", StatusWait)
		propose("mine", StatusAccept) // taken before: the answer was lost
		propose("mine", StatusReject)
		propose("mine", StatusReject)
		seen := api.seen()
		if seen[0].body != seen[1].body {
			t.Errorf("a retry sent another proposal: %s, %s", seen[0].body, seen[1].body)
		}
		if seen[1].body == seen[2].body {
			t.Error("two calls shared a transition id")
		}
		body := seen[0].json(t)
		state := body["state"].(map[string]any)
		if _, hasID := state["id"]; hasID || state["timestamp"] != nil || body["force"] != true || state["state_details"].(map[string]any)["flow_run_id"] != "r" {
			t.Errorf("%v", body)
		}
	})
}

func TestPagesEnd(t *testing.T) {
	page := func(ids ...string) http.HandlerFunc {
		var items []any
		for _, id := range ids {
			items = append(items, map[string]any{"id": id})
		}
		return with(items)
	}
	for name, route := range map[string]http.HandlerFunc{
		"server pages":         answers(page("a", "b"), page("c"), page()),
		"server has one page":  page("a", "b", "c"),
		"server answers alike": answers(page("a", "b", "c"), page("b", "c")),
	} {
		t.Run(name, func(t *testing.T) {
			api := newFake(t, map[string]http.HandlerFunc{"POST /api/work_pools/p/workers/filter": route, "POST /api/work_pools/p/queues/filter": page()})
			c := api.client(t, Options{})
			if got, err := c.Workers(t.Context(), "p"); err != nil || len(got) != 3 {
				t.Errorf("%v, %v", got, err)
			}
			if got, err := c.WorkQueues(t.Context(), "p", []string{"q"}); err != nil || len(got) != 0 {
				t.Errorf("%v, %v", got, err)
			}
			seen := api.seen()
			if want := `{"limit":null,"offset":0,"work_queues":{"name":{"any_":["q"]}}}`; seen[len(seen)-1].body != want {
				t.Error(seen[len(seen)-1].body)
			}
		})
	}
}

func TestCloudHeartbeatAsksForTheID(t *testing.T) {
	const first, second = "01936f00-0000-7000-8000-00000000000a", "01936f00-0000-7000-8000-00000000000b"
	// Cloud answers with the bare id, which is no JSON.
	bare := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, first) }
	api := newFake(t, map[string]http.HandlerFunc{"POST /api/work_pools/p/workers/heartbeat": answers(status(422), status(204), bare, with(second))})
	c := api.client(t, Options{CloudAPIURL: "http://prefect.test/api"})
	for range 3 {
		if err := c.Heartbeat(t.Context(), "p", "w", time.Second, []Integration{{"faber", "1.2"}}); err != nil {
			t.Fatal(err)
		}
	}
	seen := api.seen()
	var asked, told []any
	for _, r := range seen {
		body := r.json(t)
		asked, told = append(asked, body["return_id"]), append(told, body["metadata"])
	}
	if diff := cmp.Diff([]any{true, nil, true, nil}, asked); diff != "" {
		t.Error(diff)
	}
	metadata := map[string]any{"integrations": []any{map[string]any{"name": "faber", "version": "1.2"}}}
	if diff := cmp.Diff([]any{metadata, metadata, nil, nil}, told); diff != "" {
		t.Error(diff)
	}
	if c.WorkerID() != first || seen[3].header.Get("X-Prefect-Worker-Id") != first {
		t.Errorf("id %q, header %q", c.WorkerID(), seen[3].header.Get("X-Prefect-Worker-Id"))
	}
}

func TestWhereAWorkerIsSeen(t *testing.T) {
	for api, want := range map[string]string{
		"https://api.prefect.cloud/api/accounts/a-1/workspaces/w-1": "https://app.prefect.cloud/account/a-1/workspace/w-1",
		"http://127.0.0.1:4200/api":                                 "http://127.0.0.1:4200",
	} {
		c, err := New(Options{APIURL: api})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.WorkerURL("my pool", "id"); got != want+"/work-pools/work-pool/my%20pool/worker/id" {
			t.Errorf("%s: %s", api, got)
		}
	}
}
