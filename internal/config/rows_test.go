package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rowsByName(s *Settings) map[string]Row {
	all := map[string]Row{}
	for _, row := range s.Rows() {
		all[row.Name] = row
	}
	return all
}

// TestObserverSettingsFromEverySource sets prefect-aws's settings where that
// reads them. Flow runs do not inherit them.
func TestObserverSettingsFromEverySource(t *testing.T) {
	const prefix = "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_"
	s := machine{env: env()}.load(t)
	if !s.ObserverEnabled || s.ObserverQueueName != "prefect-ecs-tasks-events" || s.ObserverQueueRegion != "" || !s.ForwardCrashedRunLogs || s.ForwardCrashedRunLogsMaxEvents != 500 || s.IsSet(prefix+"SQS_QUEUE_NAME") {
		t.Errorf("defaults %+v", s.Rows())
	}
	s = machine{env: env(prefix + "ENABLED=no"), files: map[string]string{
		".env":           prefix + "SQS_QUEUE_REGION=eu-west-1\n",
		"prefect.toml":   "[integrations.aws.ecs.observer]\nsqs.queue_name = 'theirs'\nenabled = true\n",
		"pyproject.toml": "[tool.prefect.integrations.aws.ecs.observer]\nforward_crashed_run_logs = false\n",
		"~/.prefect/profiles.toml": "active = 'a'\n[profiles.a]\n" + prefix + "FORWARD_CRASHED_RUN_LOGS_MAX_EVENTS = '7'\n" +
			prefix + "SQS_QUEUE_NAME = 'hidden'\n",
	}}.load(t)
	if s.ObserverEnabled || s.ObserverQueueName != "theirs" || s.ObserverQueueRegion != "eu-west-1" || s.ForwardCrashedRunLogs || s.ForwardCrashedRunLogsMaxEvents != 7 || !s.IsSet(prefix+"SQS_QUEUE_NAME") {
		t.Errorf("set: %+v", s.Rows())
	}
	if diff := cmp.Diff([]NameValue{{"PREFECT_API_URL", "http://host:4200/api"}}, s.Explicit()); diff != "" {
		t.Errorf("flow runs get %s", diff)
	}
	_, err := Load(machine{env: env(prefix + "FORWARD_CRASHED_RUN_LOGS_MAX_EVENTS=10001")}.lookup(t))
	if err == nil || !strings.Contains(err.Error(), prefix+"FORWARD_CRASHED_RUN_LOGS_MAX_EVENTS (env): 10001: it must be at most 10000") {
		t.Errorf("error %v", err)
	}
}

func TestRowsTellWhatIsInForce(t *testing.T) {
	m := machine{
		env: map[string]string{
			"PREFECT_API_URL": "https://api.prefect.cloud/api/accounts/" + account + "/workspaces/" + workspace, "PREFECT_API_KEY": "hush",
			"SSL_CERT_FILE": "/ca.pem", "PREFECT_DEBUG_MODE": "1", "PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_WORKER_HEARTBEAT_SECONDS": "2.5",
			"PREFECT_CLIENT_ENABLE_METRICS": "1", "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "1", "PREFECT_WORKER_ENABLE_CANCELLATION": "1",
			"PREFECT_CLIENT_CUSTOM_HEADERS": `{"X-B": "hush", "Authorization": "hush"}`,
		},
		files: map[string]string{"prefect.toml": "[worker]\nquery_seconds = 3\n"},
	}
	l := m.lookup(t)
	s, err := Load(l)
	if err != nil {
		t.Fatal(err)
	}
	rows := rowsByName(s)
	for _, want := range []Row{
		{"Prefect API", "PREFECT_API_KEY", mask, "", Source{Kind: "env"}, UseWorker, ""},
		{"Prefect API", "PREFECT_API_SSL_CERT_FILE", "/ca.pem", "", Source{Kind: "default"}, UseWorker, "from the environment's SSL_CERT_FILE"},
		{"API client", "PREFECT_CLIENT_CUSTOM_HEADERS", `{"Authorization": "********", "X-B": "********"}`, "", Source{Kind: "env"}, UseWorker, ""},
		{"API client", "PREFECT_CLIENT_METRICS_ENABLED", "True", "False", Source{Kind: "env", As: "PREFECT_CLIENT_ENABLE_METRICS"}, UseWorker, ""},
		{"API client", "PREFECT_CLIENT_MAX_RETRIES", "5", "5", Source{Kind: "default"}, UseWorker, ""},
		{"Worker", "PREFECT_WORKER_QUERY_SECONDS", "3.0", "10.0", Source{Kind: "prefect.toml", Where: l.in("prefect.toml")}, UseWorker, ""},
		{"Worker", "PREFECT_WORKER_HEARTBEAT_SECONDS", "2", "30.0", Source{Kind: "env"}, UseWorker, "whole seconds only"},
		{"Logging", "PREFECT_LOGGING_LEVEL", "DEBUG", "INFO", Source{Kind: "default"}, UseWorker, "set by PREFECT_DEBUG_MODE"},
		{"Logging", "PREFECT_LOGGING_TO_API_MAX_LOG_SIZE", "25000", "1000000", Source{Kind: "default"}, UseWorker, "capped by PREFECT_CLOUD_MAX_LOG_SIZE"},
		{"For flow runs only", "PREFECT_RESULTS_PERSIST_BY_DEFAULT", "True", "False", Source{Kind: "env"}, UseFlowRuns, ""},
		{"Of no effect", "PREFECT_WORKER_ENABLE_CANCELLATION", "True", "False", Source{Kind: "env"}, UseNone, "pending flow runs are cancelled in any case"},
		{"Of no effect", "PREFECT_INTEGRATIONS_AWS_ECS_WORKER_CREATE_TASK_RUN_MAX_ATTEMPTS", "3", "3", Source{Kind: "default"}, UseNone, "a launch is repeated until its outcome is known"},
		{"Where settings are read", "PREFECT_PROFILE", "ephemeral", "ephemeral", Source{Kind: "default"}, UseWorker, ""},
	} {
		if diff := cmp.Diff(want, rows[want.Name]); diff != "" {
			t.Errorf("%s: -want +got\n%s", want.Name, diff)
		}
	}
	if len(rows) != len(s.Rows()) {
		t.Errorf("%d of %d rows are doubles", len(s.Rows())-len(rows), len(s.Rows()))
	}
}

// TestInspectShowsWhatItCan: one bad setting must not hide the others.
func TestInspectShowsWhatItCan(t *testing.T) {
	s, err := Inspect(machine{
		env:     env("PREFECT_CLIENT_MAX_RETRIES=many", "PREFECT_WORKER_QUERY_SECONDS=3"),
		profile: "nobody",
		files:   map[string]string{"prefect.toml": "x", "pyproject.toml": "[x"},
	}.lookup(t))
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("error %v", err)
	}
	rows := rowsByName(s)
	if r := rows["PREFECT_CLIENT_MAX_RETRIES"]; r.Value != "many" || r.Note != "cannot be read" || r.Source.Kind != "env" {
		t.Errorf("%+v", r)
	}
	if r := rows["PREFECT_WORKER_QUERY_SECONDS"]; r.Value != "3.0" {
		t.Errorf("%+v", r)
	}
	if r := rows["PREFECT_PROFILE"]; r.Value != "nobody" || r.Source.Kind != "flag" {
		t.Errorf("%+v", r)
	}
	if rows["PREFECT_API_URL"].Value != "http://host:4200/api" {
		t.Errorf("%+v", rows["PREFECT_API_URL"])
	}
}

func TestUnknownNamesAreFound(t *testing.T) {
	m := machine{
		env: env("PREFECT_API_KYE=1", "prefect_worker_qeury_seconds=1", "PREFECT_WORKER_QUERY_SECONDS=3", "PREFECT_CLIENT_ENABLE_METRICS=1",
			"PREFECT__FLOW_RUN_ID=1", "PREFECT_INTEGRATIONS_KUBERNETES_X=1", "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE=q", "PREFECT_API_FOO=1", "PREFECT_KEY=k",
			"PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR=reschedule", "PREFECT_WORKSPACE_ID=x", "OTHER=1"),
		files: map[string]string{
			".env":         "PREFECT_API_URLL=1\nOTHER=1\n",
			"prefect.toml": "[api]\nkeys = 'k'\n[client]\ncustom_headers = {a = '1'}\n[integrations.gcp]\nx = 1\n",
			"pyproject.toml": "[tool.prefect.worker]\nquery_secs = 1\n[tool.other]\nx = 1\n[tool.prefect.integrations.aws.ecs.observer.sqs]\n" +
				"queue_nam = 'x'\n",
			"~/.prefect/profiles.toml": "active = 'a'\n[profiles.a]\nPREFECT_API_AUTHSTRING = 'u'\n[profiles.b]\nPREFECT_NO = '1'\n",
		},
	}
	s, err := Load(m.lookup(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range s.Unknown() {
		got = append(got, u.Source.Kind+" "+u.Name+" -> "+u.Nearest)
	}
	want := []string{
		"env PREFECT_API_FOO -> ",
		"env PREFECT_API_KYE -> PREFECT_API_KEY",
		"env PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE -> PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME",

		"env PREFECT_KEY -> PREFECT_API_KEY",
		"env prefect_worker_qeury_seconds -> PREFECT_WORKER_QUERY_SECONDS",
		"dotenv PREFECT_API_URLL -> PREFECT_API_URL",
		"prefect.toml api.keys -> api.key",
		"pyproject.toml integrations.aws.ecs.observer.sqs.queue_nam -> integrations.aws.ecs.observer.sqs.queue_name",
		"pyproject.toml worker.query_secs -> worker.query_seconds",
		"profile a PREFECT_API_AUTHSTRING -> PREFECT_API_AUTH_STRING",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSlips(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"a", ""}: 1, {"KEY", "KYE"}: 1, {"KEY", "KEYS"}: 1, {"KEY", "KAY"}: 1, {"kitten", "sitting"}: 3, {"abcd", "badc"}: 2,
	} {
		if got := slips(pair[0], pair[1]); got != want {
			t.Errorf("%q: %d, want %d", pair, got, want)
		}
	}
}
