package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"faber/internal/front/awsfront"
	"faber/internal/front/prefectfront"
)

func TestFaultsFilesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		``:              "EOF",
		`[]`:            "cannot unmarshal array",
		`{"azure":[]}`:  `unknown field "azure"`,
		`{"aws":[]} {}`: "more than one JSON value",
		`{"aws":{}}`:    "aws: it is a list of faults",
		`{"aws":[{}]}`:  "aws: fault 1: a fault needs an effect",
		`{"aws":[{"throttle":true},{"opperation":"RunTask","throttle":true}]}`: `aws: fault 2: json: unknown field "opperation"`,
		`{"aws":[{"throttle":true},{"event":"lost"}]}`:                         `aws: fault 2: event must be one of`,
		`{"prefect":[{"status":503},{"hide":"forever"}]}`:                      "prefect: fault 2: event, hide, stop and failures are effects of the AWS front",
		`{"prefect":[{"route":"/flow_runs","status":503}]}`:                    "prefect: fault 1: route: ",
		`{"missing_for":"-1s"}`:                                                "missing_for: ",
		`{"quotas":{"RunTsk":{"burst":1}}}`:                                    `quotas: there is no quota "RunTsk"; there are GetLogEvents, `,
	} {
		file := filepath.Join(t.TempDir(), "faults.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadFaults(file)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), file) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := ReadFaults(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("a file that is not there was read")
	}
}

// stackOfFronts is the state of a stack that is nothing but its two fronts.
func stackOfFronts(t *testing.T) (Layout, State, *awsfront.Front, *prefectfront.Front) {
	t.Helper()
	nowhere := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	aws, prefect := awsfront.New(awsfront.Options{Ministack: nowhere}), prefectfront.New(prefectfront.Options{Server: nowhere})
	serve := func(h http.Handler) int {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		u, err := url.Parse(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(u.Port())
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	layout, err := NewLayout(t.TempDir(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	state := State{Name: "demo", Ports: Ports{AWS: serve(aws.Handler()), Cloud: serve(prefect.Handler())}}
	if err := os.MkdirAll(layout.Dir(), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(layout.stateFile(), state); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		aws.Close()
		prefect.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return layout, state, aws, prefect
}

func TestFaultsAreInjectedListedAndCleared(t *testing.T) {
	layout, state, aws, prefect := stackOfFronts(t)
	file := filepath.Join(t.TempDir(), "faults.json")
	text := `{
		"seed": 7, "missing_for": "5s", "quotas": {"RunTask": {"burst": 10, "rate": 2}},
		"aws": [{"id": "a", "operation": "RunTask", "throttle": true, "count": 3}, {"event": "drop", "probability": 0.3}],
		"prefect": [{"route": "POST /flow_runs/{id}/set_state", "hold": "after"}]
	}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	faults, err := ReadFaults(file)
	if err != nil {
		t.Fatal(err)
	}
	u := &up{Options: Options{Faults: faults}, state: state}
	var out bytes.Buffer
	for range 2 { // again is the same, not more
		steps := &Steps{Out: &out}
		if err := steps.Run(t.Context(), "faults", u.injectFaults); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(out.String(), "2 at the AWS front, 1 at the Prefect front") {
		t.Errorf("step says %s", &out)
	}
	if aws.MissingFor() != 5*time.Second || aws.Quotas()[awsfront.QuotaRunTask].Rate != 2 || aws.Faults().SeedInUse() != 7 || prefect.Faults().SeedInUse() != 7 {
		t.Errorf("missing for %v, quotas %v, seeds %d %d", aws.MissingFor(), aws.Quotas(), aws.Faults().SeedInUse(), prefect.Faults().SeedInUse())
	}
	list, err := ListFaults(t.Context(), layout)
	if err != nil || len(list) != 3 || list[0].Front != "aws" || list[0].ID != "a" || list[2].Front != "prefect" {
		t.Fatalf("listed: %+v %v", list, err)
	}
	rule, err := json.Marshal(list[0].Rule())
	if err != nil || string(rule) != `{"count":3,"operation":"RunTask","throttle":true}` {
		t.Errorf("rule %s %v", rule, err)
	}
	if err := ClearFaults(t.Context(), layout); err != nil {
		t.Fatal(err)
	}
	if n := len(aws.Faults().List()) + len(prefect.Faults().List()); n != 0 || aws.Quotas() != nil || aws.MissingFor() != 0 {
		t.Errorf("after clear: %d faults, quotas %v, missing for %v", n, aws.Quotas(), aws.MissingFor())
	}
}

func TestFaultsOfAStackThatIsDown(t *testing.T) {
	layout, err := NewLayout(t.TempDir(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ListFaults(context.Background(), layout); err == nil || !strings.Contains(err.Error(), "is not up") {
		t.Errorf("no stack: %v", err)
	}
	if err := os.MkdirAll(layout.Dir(), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(layout.stateFile(), State{Ports: Ports{AWS: 1, Cloud: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := ClearFaults(context.Background(), layout); err == nil || !strings.Contains(err.Error(), "do not answer") {
		t.Errorf("fronts are away: %v", err)
	}
}

// Every example of the documentation is a file that is taken.
func TestDocumentedFaults(t *testing.T) {
	page, err := os.ReadFile("../../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1)
	if len(examples) < 11 { // the file, nine effects, quotas
		t.Errorf("%d examples", len(examples))
	}
	for _, example := range examples {
		if _, err := parseFaults(example[1]); err != nil {
			t.Errorf("%v in\n%s", err, example[1])
		}
	}
}
