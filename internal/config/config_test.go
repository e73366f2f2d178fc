package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	account   = "11111111-1111-4111-8111-111111111111"
	workspace = "22222222-2222-4222-8222-222222222222"
)

// machine is what a test gives to Load: variables, and files by path, where
// ~/ is the home and anything else the working directory.
type machine struct {
	env     map[string]string
	files   map[string]string
	profile string
}

func (m machine) lookup(t *testing.T) Lookup {
	t.Helper()
	l := Lookup{
		Env:     func(name string) (string, bool) { v, ok := m.env[name]; return v, ok },
		Environ: m.environ,
		Dir:     t.TempDir(),
		Home:    t.TempDir(),
		Profile: m.profile,
	}
	for name, text := range m.files {
		path := l.absolute(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// environ is the environment as a process has it.
func (m machine) environ() []string {
	var all []string
	for name, value := range m.env {
		all = append(all, name+"="+value)
	}
	return all
}

func (m machine) load(t *testing.T) *Settings {
	t.Helper()
	s, err := Load(m.lookup(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func env(pairs ...string) map[string]string {
	m := map[string]string{"PREFECT_API_URL": "http://host:4200/api"}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		m[name] = value
	}
	return m
}

func TestTableIsWhole(t *testing.T) {
	table := knownSettings()
	if len(table) < 200 {
		t.Fatalf("%d settings", len(table))
	}
	seen := map[string]bool{}
	for _, k := range table {
		if seen[k.name] || !strings.HasPrefix(k.name, "PREFECT_") || len(k.path) == 0 {
			t.Errorf("bad entry %+v", k)
		}
		seen[k.name] = true
	}
}

func TestPrecedence(t *testing.T) {
	layers := []struct {
		kind string
		add  func(*machine)
	}{
		{"profile work", func(m *machine) {
			m.files["~/.prefect/profiles.toml"] = "active = \"work\"\n[profiles.work]\nPREFECT_WORKER_QUERY_SECONDS = \"1\"\n"
		}},
		{"pyproject.toml", func(m *machine) { m.files["pyproject.toml"] = "[tool.prefect.worker]\nquery_seconds = 2\n" }},
		{"prefect.toml", func(m *machine) { m.files["prefect.toml"] = "worker.query_seconds = 3.5\n" }},
		{"dotenv", func(m *machine) { m.files[".env"] = "PREFECT_WORKER_QUERY_SECONDS=4\n" }},
		{"env", func(m *machine) { m.env["PREFECT_WORKER_QUERY_SECONDS"] = "5" }},
	}
	want := []float64{1, 2, 3.5, 4, 5}
	m := machine{env: env(), files: map[string]string{}}
	if s := m.load(t); s.QuerySeconds != 10 || s.Source("PREFECT_WORKER_QUERY_SECONDS").Kind != "default" {
		t.Errorf("default: %v from %v", s.QuerySeconds, s.Source("PREFECT_WORKER_QUERY_SECONDS"))
	}
	for i, layer := range layers {
		layer.add(&m)
		s := m.load(t)
		if got := s.Source("PREFECT_WORKER_QUERY_SECONDS"); s.QuerySeconds != want[i] || got.Kind != layer.kind {
			t.Errorf("%s: %v from %v", layer.kind, s.QuerySeconds, got)
		}
	}
}

func TestProfiles(t *testing.T) {
	const file = "active = \"a\"\n[profiles.a]\nPREFECT_API_URL = \"http://a/api\"\n[profiles.b]\nPREFECT_API_URL = \"http://b/api\"\n"
	for name, test := range map[string]struct {
		machine
		url, profile, problem string
	}{
		"active":            {machine{files: map[string]string{"~/.prefect/profiles.toml": file}}, "http://a/api", "a", ""},
		"variable":          {machine{env: map[string]string{"PREFECT_PROFILE": "b"}, files: map[string]string{"~/.prefect/profiles.toml": file}}, "http://b/api", "b", ""},
		"flag wins":         {machine{profile: "b", env: map[string]string{"PREFECT_PROFILE": "a"}, files: map[string]string{"~/.prefect/profiles.toml": file}}, "http://b/api", "b", ""},
		"home":              {machine{env: map[string]string{"PREFECT_HOME": "~/p"}, files: map[string]string{"~/p/profiles.toml": file}}, "http://a/api", "a", ""},
		"path":              {machine{env: map[string]string{"PREFECT_PROFILES_PATH": "x.toml"}, files: map[string]string{"x.toml": file}}, "http://a/api", "a", ""},
		"path in .env":      {machine{files: map[string]string{".env": "PREFECT_PROFILES_PATH=x.toml", "x.toml": file}}, "http://a/api", "a", ""},
		"path in toml":      {machine{files: map[string]string{"prefect.toml": "profiles_path = 'x.toml'", "x.toml": file}}, "http://a/api", "a", ""},
		"path in pyproject": {machine{files: map[string]string{"pyproject.toml": "tool.prefect.profiles_path = 'x.toml'", "x.toml": file}}, "http://a/api", "a", ""},
		"built-in":          {machine{profile: "local"}, "http://127.0.0.1:4200/api", "local", ""},
		"unknown flag": {
			machine{profile: "c", files: map[string]string{"~/.prefect/profiles.toml": file}},
			"", "",
			`the profile "c" of --profile is not in HOME/.prefect/profiles.toml: known profiles are a, b, cloud, ephemeral, local, test`,
		},
		"unknown flag, no file": {
			machine{env: env("PREFECT_PROFILE=a"), profile: "c"},
			"", "",
			`the profile "c" of --profile is not in HOME/.prefect/profiles.toml (which does not exist): known profiles are cloud, ephemeral, local, test`,
		},
		"unknown variable": {machine{env: env("PREFECT_PROFILE=c")}, "http://host:4200/api", "ephemeral", ""},
		"broken file": {
			machine{files: map[string]string{"~/.prefect/profiles.toml": "active = \n[profiles.a]\nPREFECT_API_KEY = \"hush\"\n"}},
			"", "",
			"read HOME/.prefect/profiles.toml: line 1, column 10: not valid TOML",
		},
		"no table": {
			machine{files: map[string]string{"~/.prefect/profiles.toml": "[profiles]\na = 1\n"}},
			"", "",
			`read HOME/.prefect/profiles.toml: the profile "a" is no table`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := test.lookup(t)
			s, err := Load(l)
			if test.problem != "" {
				if err == nil || strings.ReplaceAll(err.Error(), l.Home, "HOME") != test.problem {
					t.Fatalf("error %v\n want %s", err, test.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.APIURL != test.url || s.Profile != test.profile {
				t.Errorf("%s of profile %s", s.APIURL, s.Profile)
			}
		})
	}
}

func TestActiveProfileMayBeMissing(t *testing.T) {
	s := machine{env: env(), files: map[string]string{"~/.prefect/profiles.toml": "active = \"gone\"\n"}}.load(t)
	if s.Profile != "ephemeral" || len(s.Warnings()) != 1 || !strings.Contains(s.Warnings()[0], `"gone"`) {
		t.Errorf("profile %s, warnings %q", s.Profile, s.Warnings())
	}
}

func TestTheProfileOfTheEnvironmentMayBeMissing(t *testing.T) {
	s := machine{env: env("PREFECT_PROFILE=gone")}.load(t)
	want := "Active profile 'gone' set by environment variable not found. The default profile will be used instead."
	if len(s.Warnings()) != 1 || s.Warnings()[0] != want {
		t.Errorf("warnings %q", s.Warnings())
	}
}

// TestExplicit compares with what Prefect 3.8.8 itself makes of the same input.
func TestExplicit(t *testing.T) {
	for name, test := range map[string]struct {
		machine
		want []NameValue
	}{
		"nothing but a URL": {machine{env: env()}, []NameValue{
			{"PREFECT_API_URL", "http://host:4200/api"}, {"PREFECT_SERVER_EPHEMERAL_ENABLED", "True"},
		}},
		"many": {machine{env: env("PREFECT_API_KEY=k", "PREFECT_API_REQUEST_TIMEOUT=30", "PREFECT_WORKER_QUERY_SECONDS=7",
			"PREFECT_WORKER_HEARTBEAT_SECONDS=9", `PREFECT_CLIENT_CUSTOM_HEADERS={"b":"1","a":"2"}`, "PREFECT_CLIENT_RETRY_EXTRA_CODES=504, 500",
			"PREFECT_LOGGING_LEVEL=debug", "PREFECT_HOME=/p", "PREFECT_FOO=1", "PREFECT_LOGGING_EXTRA_LOGGERS=b,a",
			"PREFECT_SERVER_EPHEMERAL_ENABLED=false", "PREFECT_DEBUG_MODE=1", "PREFECT_CLIENT_ENABLE_METRICS=yes",
			"PREFECT_RUNNER_HEARTBEAT_FREQUENCY=31", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30", "PREFECT_WORKER_DEBUG_MODE=on",
			"PREFECT_ACCOUNT_ID=x")}, []NameValue{
			{"PREFECT_HOME", "/p"},
			{"PREFECT_DEBUG_MODE", "True"},
			{"PREFECT_API_URL", "http://host:4200/api"},
			{"PREFECT_API_KEY", "k"},
			{"PREFECT_API_REQUEST_TIMEOUT", "30.0"},
			{"PREFECT_CLIENT_RETRY_EXTRA_CODES", "500,504"},
			{"PREFECT_CLIENT_CUSTOM_HEADERS", `{"b": "1", "a": "2"}`},
			{"PREFECT_CLIENT_METRICS_ENABLED", "True"},
			{"PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30"},
			{"PREFECT_LOGGING_EXTRA_LOGGERS", "a,b"},
			{"PREFECT_SERVER_EPHEMERAL_ENABLED", "False"},
			{"PREFECT_WORKER_DEBUG_MODE", "True"},
			{"PREFECT_WORKER_HEARTBEAT_SECONDS", "9.0"},
			{"PREFECT_WORKER_QUERY_SECONDS", "7.0"},
		}},
		"toml types": {machine{files: map[string]string{"prefect.toml": `
home = "/p"
[api]
url = "http://toml/api"
enable_http2 = true
[client]
max_retries = 3
retry_extra_codes = [504, 429]
custom_headers = {b = "1", a = "2"}
[logging]
level = "warning"
`}}, []NameValue{
			{"PREFECT_HOME", "/p"},
			{"PREFECT_API_URL", "http://toml/api"},
			{"PREFECT_API_ENABLE_HTTP2", "True"},
			{"PREFECT_CLIENT_MAX_RETRIES", "3"},
			{"PREFECT_CLIENT_RETRY_EXTRA_CODES", "429,504"},
			{"PREFECT_CLIENT_CUSTOM_HEADERS", `{"a": "2", "b": "1"}`},
			{"PREFECT_LOGGING_LEVEL", "WARNING"},
			{"PREFECT_SERVER_EPHEMERAL_ENABLED", "True"},
		}},
		"built URL": {machine{env: map[string]string{"PREFECT_API_KEY": "k", "PREFECT_ACCOUNT_ID": account, "PREFECT_WORKSPACE_ID": workspace}}, []NameValue{
			{"PREFECT_API_URL", "https://api.prefect.cloud/api/accounts/" + account + "/workspaces/" + workspace},
			{"PREFECT_API_KEY", "k"},
			{"PREFECT_SERVER_EPHEMERAL_ENABLED", "True"},
		}},
		"empty hides the profile": {machine{env: env("PREFECT_API_KEY="), files: map[string]string{
			"~/.prefect/profiles.toml": "active = \"a\"\n[profiles.a]\nPREFECT_API_KEY = \"k\"\n",
		}}, []NameValue{{"PREFECT_API_URL", "http://host:4200/api"}, {"PREFECT_API_KEY", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.load(t).Explicit()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTypedFields(t *testing.T) {
	s := machine{env: env("PREFECT_API_AUTH_STRING=u:p", "PREFECT_API_REQUEST_TIMEOUT=1.5", "PREFECT_CLIENT_MAX_RETRIES=0",
		"PREFECT_CLIENT_RETRY_JITTER_FACTOR=0", "PREFECT_CLIENT_RETRY_EXTRA_CODES=500", "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=0",
		`PREFECT_CLIENT_CUSTOM_HEADERS={"X-A":"1"}`, "PREFECT_WORKER_PREFETCH_SECONDS=60.9", "PREFECT_LOGGING_TO_API_ENABLED=f",
		"SSL_CERT_FILE=/ca.pem")}.load(t)
	if s.APIAuthString.Reveal() != "u:p" || s.RequestTimeout != 1500*time.Millisecond || s.MaxRetries != 0 || s.RetryJitterFactor != 0 ||
		!cmp.Equal(s.RetryExtraCodes, []int{500}) || s.CSRFEnabled || s.CustomHeaders["X-A"] != "1" || s.PrefetchSeconds != 60 || s.LogsToAPI ||
		s.SSLCertFile != "/ca.pem" {
		t.Errorf("%+v", s)
	}
	s = machine{env: env()}.load(t)
	if s.RequestTimeout != time.Minute || s.MaxRetries != 5 || s.RetryJitterFactor != 0.2 || !s.CSRFEnabled || !s.ServerVersionCheck ||
		s.HeartbeatSeconds != 30 || s.PrefetchSeconds != 10 || s.WebserverHost != "0.0.0.0" || s.WebserverPort != 8080 || s.LoggingLevel != "INFO" ||
		!s.LogsToAPI || s.LogsBatchInterval != 2*time.Second || s.LogsMaxSize != 1_000_000 || s.IsCloud || s.CloudAPIURL != "https://api.prefect.cloud/api" {
		t.Errorf("defaults: %+v", s)
	}
}

func TestAPIURL(t *testing.T) {
	cloud := "https://api.prefect.cloud/api/accounts/" + account + "/workspaces/" + workspace
	for name, test := range map[string]struct {
		env               map[string]string
		url, problem, bad string // bad must not be in the problem
		warning, hint     string
	}{
		"nothing": {problem: "no Prefect API is set", hint: "set PREFECT_API_URL to a server's API, as in http://host:4200/api, or for Prefect Cloud set PREFECT_API_KEY, PREFECT_ACCOUNT_ID and PREFECT_WORKSPACE_ID"},
		"only a key": {
			env: map[string]string{"PREFECT_API_KEY": "pnu_hush"}, bad: "pnu_hush",
			problem: "cannot be built without PREFECT_ACCOUNT_ID and PREFECT_WORKSPACE_ID",
			hint:    "set PREFECT_ACCOUNT_ID (the id after /account/ in the address of your Prefect Cloud page) and PREFECT_WORKSPACE_ID (the id after /workspace/",
		},
		"no key": {env: map[string]string{"PREFECT_ACCOUNT_ID": account, "PREFECT_WORKSPACE_ID": workspace}, problem: "cannot be built without PREFECT_API_KEY", hint: "set PREFECT_API_KEY (an API key, made in Prefect Cloud"},
		"no workspace": {
			env: map[string]string{"PREFECT_API_KEY": "pnu_hush", "PREFECT_ACCOUNT_ID": account}, bad: "PREFECT_ACCOUNT_ID",
			problem: "cannot be built without PREFECT_WORKSPACE_ID", hint: "set PREFECT_WORKSPACE_ID (",
		},
		"account no UUID":  {env: map[string]string{"PREFECT_API_KEY": "k", "PREFECT_ACCOUNT_ID": "acme", "PREFECT_WORKSPACE_ID": workspace}, problem: `PREFECT_ACCOUNT_ID (env): the account id "acme" is no UUID`},
		"parts":            {env: map[string]string{"PREFECT_API_KEY": "k", "PREFECT_ACCOUNT_ID": account, "PREFECT_WORKSPACE_ID": workspace}, url: cloud},
		"parts elsewhere":  {env: map[string]string{"PREFECT_CLOUD_API_URL": "http://front/api/", "PREFECT_API_KEY": "k", "PREFECT_ACCOUNT_ID": account, "PREFECT_WORKSPACE_ID": workspace}, url: "http://front/api/accounts/" + account + "/workspaces/" + workspace},
		"URL wins":         {env: map[string]string{"PREFECT_API_URL": "http://h/api/", "PREFECT_API_KEY": "k", "PREFECT_ACCOUNT_ID": account, "PREFECT_WORKSPACE_ID": workspace}, url: "http://h/api"},
		"cloud URL":        {env: map[string]string{"PREFECT_API_URL": cloud, "PREFECT_API_KEY": "k"}, url: cloud},
		"cloud, no key":    {env: map[string]string{"PREFECT_API_URL": cloud}, url: cloud, warning: "PREFECT_API_KEY is not set"},
		"other account":    {env: map[string]string{"PREFECT_API_URL": cloud, "PREFECT_API_KEY": "k", "PREFECT_ACCOUNT_ID": workspace}, url: cloud, warning: "PREFECT_ACCOUNT_ID (env) is ignored"},
		"cloud, bare":      {env: map[string]string{"PREFECT_API_URL": "https://api.prefect.cloud/api"}, problem: "names no workspace: it must be https://api.prefect.cloud/api/accounts/<account id>/workspaces/<workspace id>"},
		"web page":         {env: map[string]string{"PREFECT_API_URL": "https://app.prefect.cloud/account/" + account + "/workspace/" + workspace}, problem: "set it to " + cloud},
		"singular":         {env: map[string]string{"PREFECT_API_URL": strings.Replace(cloud, "accounts/", "account/", 1)}, problem: "/account/ must be /accounts/; set it to " + cloud},
		"no /api":          {env: map[string]string{"PREFECT_API_URL": strings.Replace(cloud, "cloud/api/", "cloud/", 1)}, problem: "/api must follow the host; set it to " + cloud},
		"workspace no id":  {env: map[string]string{"PREFECT_API_URL": strings.Replace(cloud, workspace, "main", 1)}, problem: `PREFECT_API_URL (env): the workspace id "main" is no UUID`},
		"own host":         {env: map[string]string{"PREFECT_API_URL": "http://h/account/api"}, url: "http://h/account/api", warning: "may be wrong: /account/ must be /accounts/"},
		"own host, silent": {env: map[string]string{"PREFECT_API_URL": "http://h/account/api", "PREFECT_SILENCE_API_URL_MISCONFIGURATION": "1"}, url: "http://h/account/api"},
		"no scheme":        {env: map[string]string{"PREFECT_API_URL": "h:4200/api"}, problem: "it must be an http or https URL"},
		"password":         {env: map[string]string{"PREFECT_API_URL": "ftp://u:hush@h/api"}, problem: "ftp://********@h/api", bad: "hush"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Load(machine{env: test.env}.lookup(t))
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) || test.bad != "" && strings.Contains(err.Error(), test.bad) {
					t.Fatalf("error: %v\n want: %s", err, test.problem)
				}
				var hinted interface{ UserHint() string }
				if test.hint != "" && (!errors.As(err, &hinted) || !strings.Contains(hinted.UserHint(), test.hint)) {
					t.Errorf("hint of %v, want: %s", err, test.hint)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.APIURL != test.url || s.IsCloud != strings.Contains(test.url, "/accounts/") {
				t.Errorf("%s, cloud %v", s.APIURL, s.IsCloud)
			}
			if s.IsCloud && (s.AccountID != account || s.WorkspaceID != workspace) {
				t.Errorf("account %s, workspace %s", s.AccountID, s.WorkspaceID)
			}
			if got := strings.Join(s.Warnings(), "\n"); !strings.Contains(got, test.warning) || test.warning == "" && got != "" {
				t.Errorf("warnings %q", got)
			}
		})
	}
}

func TestProblemsComeTogether(t *testing.T) {
	_, err := Load(machine{
		env: env("PREFECT_CLIENT_MAX_RETRIES=many", "PREFECT_WORKER_QUERY_SECONDS=0", "PREFECT_LOGGING_LEVEL=loud",
			"PREFECT_API_ENABLE_HTTP2=perhaps", "PREFECT_CLIENT_RETRY_EXTRA_CODES=5", "PREFECT_WORKER_WEBSERVER_PORT=70000",
			`PREFECT_CLIENT_CUSTOM_HEADERS={"Authorization": hush}`),
		files: map[string]string{},
	}.lookup(t))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`PREFECT_CLIENT_MAX_RETRIES (env): "many" is not a whole number`,
		"PREFECT_WORKER_QUERY_SECONDS (env) is 0.0: it must be more than 0",
		`PREFECT_LOGGING_LEVEL (env): "loud" is none of DEBUG, INFO`,
		`PREFECT_API_ENABLE_HTTP2 (env): "perhaps" is neither true nor false`,
		`PREFECT_CLIENT_RETRY_EXTRA_CODES (env): "5" is no HTTP status code`,
		"PREFECT_WORKER_WEBSERVER_PORT (env) is 70000: it must be a port",
		"PREFECT_CLIENT_CUSTOM_HEADERS (env): it must be a JSON object of texts",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hush") {
		t.Error("a header's value is in the error")
	}
}

func TestBrokenFilesAreNamed(t *testing.T) {
	l := machine{env: env(), files: map[string]string{"prefect.toml": "x", "pyproject.toml": "[x"}}.lookup(t)
	_, err := Load(l)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{l.in("prefect.toml") + ": line 1", l.in("pyproject.toml") + ": line 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
}

func TestCaseOfVariables(t *testing.T) {
	s, err := Load(Lookup{Environ: func() []string { return []string{"Prefect_Api_Url=http://mixed/api"} }, Dir: t.TempDir(), Home: t.TempDir()})
	if err != nil || s.APIURL != "http://mixed/api" {
		t.Errorf("%v, %v", s, err)
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	const hush = "pnu_hush"
	s := machine{env: env("PREFECT_API_KEY="+hush, "PREFECT_API_AUTH_STRING=u:"+hush, `PREFECT_CLIENT_CUSTOM_HEADERS={"a":"`+hush+`"}`,
		"PREFECT_API_URL=http://u:"+hush+"@h/api", "PREFECT_SERVER_DATABASE_CONNECTION_URL=x://u:"+hush+"@h")}.load(t)
	data, err := json.Marshal(s.APIKey)
	if err != nil || string(data) != `"********"` {
		t.Errorf("JSON %s, %v", data, err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", s.APIKey, "settings", s)
	printed := fmt.Sprintf("%v %s %#v %+v %+v %#v", s.APIKey, s.APIAuthString, s.APIKey, s.Rows(), s, s) + log.String()
	if strings.Contains(printed, hush) {
		t.Error(printed)
	}
	for _, row := range s.Rows() {
		if name := strings.TrimPrefix(row.Name, "PREFECT_"); (name == "API_KEY" || name == "API_AUTH_STRING") && row.Value != mask {
			t.Errorf("%+v", row)
		}
	}
}

func TestTLS(t *testing.T) {
	if c, err := (&Settings{}).TLS(); c != nil || err != nil {
		t.Errorf("default: %v, %v", c, err)
	}
	if c, err := (&Settings{TLSInsecureSkipVerify: true, SSLCertFile: "/none"}).TLS(); err != nil || !c.InsecureSkipVerify {
		t.Errorf("skip: %v, %v", c, err)
	}
	for _, text := range []string{"", "no certificate"} {
		path := filepath.Join(t.TempDir(), "ca.pem")
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := (&Settings{SSLCertFile: path}).TLS(); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDotenv(t *testing.T) {
	const text = "\ufeff# comment\r\n" + `
A=1
export B = two words # comment
C="a\"b\n${A} # no comment"  # comment
D='${A} \'quoted\' \n'
E=${A}-${NONE:-none}-${SET}
F=a#b
no pair
G="two
lines"
H=
I= # comment
'J'=x
K='open
L=l
M=m
M
`
	got := parseDotenv(text, func(name string) (string, bool) { return "set", name == "SET" })
	want := map[string]string{
		"A": "1", "B": "two words", "C": "a\"b\n1 # no comment", "D": `1 'quoted' \n`, "E": "1-none-set", "F": "a#b", "G": "two\nlines", "H": "", "I": "", "J": "x", "L": "l",
	}
	if diff := cmp.Diff(want, got.values); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{9, 15}, got.bad); diff != "" {
		t.Errorf("lines %s", diff)
	}
}

func TestBadLinesOfDotenvAreNamed(t *testing.T) {
	m := machine{env: env(), files: map[string]string{".env": "PREFECT_WORKER_QUERY_SECONDS=3\nA='x\n"}}
	s := m.load(t)
	if s.QuerySeconds != 3 || len(s.Warnings()) != 1 || !strings.HasSuffix(s.Warnings()[0], ".env: line 2 cannot be read, and is left out") {
		t.Errorf("%v, %q", s.QuerySeconds, s.Warnings())
	}
}

func FuzzDotenv(f *testing.F) {
	for _, seed := range []string{"A=1", "A='x\ny'", "export A=\"${A}\\", "=\n#", "A=\"\"\"\n", "'", "\r"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := parseDotenv(text, func(string) (string, bool) { return "", false })
		if lines := strings.Count(text, "\n") + 1; len(d.values)+len(d.bad) > lines+strings.Count(text, "\r") {
			t.Errorf("%d values and %d bad lines of %d lines", len(d.values), len(d.bad), lines)
		}
	})
}

func TestFloatForm(t *testing.T) {
	for number, want := range map[float64]string{30: "30.0", 0.25: "0.25", 0: "0.0", 1e-5: "1e-05", 1e16: "1e+16", 123456789: "123456789.0", -2: "-2.0"} {
		if got := floatForm(number); got != want {
			t.Errorf("%v: %s, want %s", number, got, want)
		}
	}
}

func TestSecretsOfSettings(t *testing.T) {
	s := machine{env: map[string]string{
		"PREFECT_API_URL": "https://user:url-password@prefect.example.com/api", "PREFECT_API_KEY": "pnu_key", "PREFECT_API_AUTH_STRING": "admin:auth-password",
		"PREFECT_CLIENT_CUSTOM_HEADERS": `{"Authorization": "Bearer header-token"}`,
	}}.load(t)
	var got []string
	for _, v := range s.Secrets() {
		got = append(got, v.Reveal())
	}
	for _, want := range []string{"url-password", "pnu_key", "admin:auth-password", "auth-password", "Bearer header-token", "header-token"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if strings.Contains(fmt.Sprint(s.Secrets()), "pnu_key") {
		t.Error("they print")
	}
}
