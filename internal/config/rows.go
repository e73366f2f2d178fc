package config

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
)

// Use is what a setting is good for.
type Use string

// A setting that the worker obeys goes on to flow runs as well, if it is one of
// Prefect's own and set.
const (
	UseWorker   Use = "worker"    // the worker obeys it
	UseFlowRuns Use = "flow runs" // only flow runs get it
	UseNone     Use = "not used"  // known, but of no effect
)

// Row is a setting as it is in force, for the eye: a secret's value is masked.
type Row struct {
	Group   string // what it is about
	Name    string
	Value   string
	Default string
	Source  Source
	Use     Use
	Note    string // why the value in force is not the one that was set
}

// obeyed are the settings that the worker obeys, by what they are about.
func obeyed() []struct{ group, names string } {
	return []struct{ group, names string }{
		{"Prefect API", "API_URL API_KEY API_AUTH_STRING ACCOUNT_ID WORKSPACE_ID CLOUD_API_URL API_SSL_CERT_FILE API_TLS_INSECURE_SKIP_VERIFY" +
			" API_REQUEST_TIMEOUT API_ENABLE_HTTP2 SILENCE_API_URL_MISCONFIGURATION"},
		{"API client", "CLIENT_MAX_RETRIES CLIENT_RETRY_JITTER_FACTOR CLIENT_RETRY_EXTRA_CODES CLIENT_CSRF_SUPPORT_ENABLED CLIENT_CUSTOM_HEADERS" +
			" CLIENT_SERVER_VERSION_CHECK_ENABLED CLIENT_METRICS_ENABLED CLIENT_METRICS_PORT"},
		{"Worker", "WORKER_QUERY_SECONDS WORKER_PREFETCH_SECONDS WORKER_HEARTBEAT_SECONDS WORKER_DEBUG_MODE" +
			" WORKER_WEBSERVER_HOST WORKER_WEBSERVER_PORT CLI_PROMPT"},
		{"Logging", "LOGGING_LEVEL DEBUG_MODE LOGGING_TO_API_ENABLED LOGGING_TO_API_BATCH_INTERVAL LOGGING_TO_API_BATCH_SIZE" +
			" LOGGING_TO_API_MAX_LOG_SIZE CLOUD_MAX_LOG_SIZE"},
		{"ECS events", "INTEGRATIONS_AWS_ECS_OBSERVER_ENABLED INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_REGION" +
			" INTEGRATIONS_AWS_ECS_OBSERVER_FORWARD_CRASHED_RUN_LOGS INTEGRATIONS_AWS_ECS_OBSERVER_FORWARD_CRASHED_RUN_LOGS_MAX_EVENTS"},
	}
}

// Rows are all settings that the worker obeys, set or not; then those that are
// set and only go on to flow runs; then those that are known and of no effect.
func (s *Settings) Rows() []Row {
	byName := map[string]known{}
	for _, k := range s.all() {
		byName[k.name] = k
	}
	rows := s.profileRows()
	shown := map[string]bool{"PREFECT_HOME": true, "PREFECT_PROFILES_PATH": true}
	for _, group := range obeyed() {
		for name := range strings.FieldsSeq(group.names) {
			k := byName["PREFECT_"+name]
			shown[k.name] = true
			rows = append(rows, s.row(group.group, UseWorker, k))
		}
	}
	for i := range rows {
		if rows[i].Name == heartbeatSetting && !s.IsSet(heartbeatSetting) {
			rows[i].Note = "unset, faber's worker takes 10: others notice sooner when it is gone"
		}
	}
	var idle []Row
	for _, k := range s.all() {
		note, isIdle := idleNote(k.name)
		switch {
		case shown[k.name]:
		case isIdle && (note != "" || s.has(k.name)):
			row := s.row("Of no effect", UseNone, k)
			row.Note = note
			idle = append(idle, row)
		case s.has(k.name):
			rows = append(rows, s.row("For flow runs only", UseFlowRuns, k))
		}
	}
	return append(rows, idle...)
}

const heartbeatSetting = "PREFECT_WORKER_HEARTBEAT_SECONDS"

// idleNote says why Python's worker obeys a setting and this one does not.
func idleNote(name string) (note string, idle bool) {
	switch {
	case strings.HasPrefix(name, "PREFECT_INTEGRATIONS_AWS_ECS_WORKER_"):
		return "a launch is repeated until its outcome is known", true
	case name == "PREFECT_WORKER_ENABLE_CANCELLATION", name == "PREFECT_WORKER_CANCELLATION_POLL_SECONDS":
		return "pending flow runs are cancelled in any case", true
	case strings.HasPrefix(name, "PREFECT_INTEGRATIONS_AWS_"):
		return "", true
	}
	return "", false
}

// profileRows say where settings are looked for.
func (s *Settings) profileRows() []Row {
	const group = "Where settings are read"
	name := Row{Group: group, Name: "PREFECT_PROFILE", Value: s.Profile, Default: builtinProfile, Source: s.profile.by, Use: UseWorker}
	path := Row{Group: group, Name: "PREFECT_PROFILES_PATH", Value: s.ProfilesPath, Default: filepath.Join(s.Home, "profiles.toml"), Source: s.Source("PREFECT_PROFILES_PATH"), Use: UseWorker}
	if s.ProfilesPath == "" {
		path.Value, path.Note = path.Default, "not read: the profile is a built-in one"
	}
	home := Row{Group: group, Name: "PREFECT_HOME", Value: s.Home, Default: s.standard["PREFECT_HOME"], Source: s.Source("PREFECT_HOME"), Use: UseWorker}
	return []Row{name, path, home}
}

// has reports that a source names a setting, be it with a value that cannot be read.
func (s *Settings) has(name string) bool {
	set, ok := s.found[name]
	return ok && (set.text != "" || set.bad)
}

func (s *Settings) row(group string, use Use, k known) Row {
	set := s.found[k.name]
	row := Row{Group: group, Name: k.name, Value: s.text(k.name), Default: s.standard[k.name], Source: s.Source(k.name), Use: use}
	if set.bad {
		row.Value, row.Note = plain(set.raw), "cannot be read"
	}
	if altered, ok := s.altered[k.name]; ok {
		row.Value, row.Note = altered.value, altered.note
	}
	row.Value = masked(k.kind, row.Value)
	return row
}

// masked is a value without what must not be seen.
func masked(k kind, value string) string {
	switch {
	case value == "":
		return ""
	case k == kindSecret:
		return mask
	case k == kindHeaders:
		return maskedHeaders(value)
	default:
		return WithoutPassword(value)
	}
}

// maskedHeaders keeps the names of headers: a mistyped one is then seen.
func maskedHeaders(value string) string {
	names, _, err := headers(value)
	if err != nil {
		return mask
	}
	slices.Sort(names)
	parts := make([]string, len(names))
	for i, name := range names {
		key, _ := json.Marshal(name) // a string always has JSON
		parts[i] = string(key) + `: "` + mask + `"`
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
