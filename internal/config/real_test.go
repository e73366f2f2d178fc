package config

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// prefectPython is the Python beside the prefect executable that
// FABER_TEST_PREFECT names. Without it the test is skipped, but never in CI.
func prefectPython(t *testing.T) string {
	t.Helper()
	executable := os.Getenv("FABER_TEST_PREFECT")
	if executable == "" {
		const reason = "FABER_TEST_PREFECT does not name a prefect executable"
		if os.Getenv("CI") == "true" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	return filepath.Join(filepath.Dir(executable), "python")
}

// referencePython is a Python with prefect-aws, if FABER_TEST_REFERENCE names
// one, else prefectPython.
func referencePython(t *testing.T) (python string, withAWS bool) {
	t.Helper()
	if executable := os.Getenv("FABER_TEST_REFERENCE"); executable != "" {
		return filepath.Join(filepath.Dir(executable), "python"), true
	}
	return prefectPython(t), false
}

func TestTablesArePrefects(t *testing.T) {
	script, err := filepath.Abs("settings.py")
	if err != nil {
		t.Fatal(err)
	}
	python, withAWS := referencePython(t)
	check := func(file, text string, args ...string) {
		t.Helper()
		command := exec.Command(python, append([]string{script}, args...)...)
		command.Dir = t.TempDir()
		output, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text, string(output)); diff != "" {
			t.Errorf("%s is not what settings.py prints (-%s +settings.py):\n%s", file, file, diff)
		}
	}
	check("settings.txt", settingsText)
	if withAWS {
		check("settings-aws.txt", awsSettingsText, "aws")
	}
}

// TestExplicitIsPrefects lets Prefect itself read the same variables and files.
func TestExplicitIsPrefects(t *testing.T) {
	python := prefectPython(t)
	for name, m := range map[string]machine{
		"env": {env: env("PREFECT_API_KEY=k", "PREFECT_API_REQUEST_TIMEOUT=30", "PREFECT_HOME=~/.p", "PREFECT_WORKER_QUERY_SECONDS=0.5",
			"PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30", "PREFECT_CLIENT_RETRY_EXTRA_CODES=504,500", "PREFECT_LOGGING_LEVEL=debug",
			`PREFECT_CLIENT_CUSTOM_HEADERS={"b":"1","a":"2"}`, "PREFECT_LOGGING_EXTRA_LOGGERS=b,a", "PREFECT_TEST_SETTING=x",
			"PREFECT_RESULTS_PERSIST_BY_DEFAULT=true", "PREFECT_LOCAL_STORAGE_PATH=/s", "PREFECT_PLUGINS_ALLOW=z,y", "PREFECT_FOO=1")},
		"set to nothing": {env: env("PREFECT_API_KEY=", "PREFECT_UI_URL=", "PREFECT_LOGGING_EXTRA_LOGGERS=", "PREFECT_CLIENT_RETRY_EXTRA_CODES=", "PREFECT_API_SSL_CERT_FILE=")},
		"debug":          {env: env("PREFECT_DEBUG_MODE=on", "PREFECT_LOGGING_LEVEL=ERROR", "PREFECT_INTERNAL_LOGGING_LEVEL=ERROR")},
		"files": {env: env(), files: map[string]string{
			".env":           "PREFECT_WORKER_PREFETCH_SECONDS='5'\nPREFECT_CLIENT_MAX_RETRIES=1 # one\n",
			"prefect.toml":   "debug_mode = false\n[client]\nmax_retries = 2\nretry_jitter_factor = 0\n[logging]\nextra_loggers = ['b', 'a']\n",
			"pyproject.toml": "[tool.prefect.client]\ncsrf_support_enabled = false\nretry_jitter_factor = 0.5\n",
			"~/.prefect/profiles.toml": "active = 'a'\n[profiles.a]\nPREFECT_API_AUTH_STRING = 'u:p'\nPREFECT_CLIENT_MAX_RETRIES = '9'\n" +
				"PREFECT_CLIENT_ENABLE_METRICS = 'true'\n",
		}},
		"profile": {env: map[string]string{"PREFECT_PROFILE": "b"}, files: map[string]string{
			"~/.prefect/profiles.toml": "active = 'a'\n[profiles.a]\n[profiles.b]\nPREFECT_API_URL = 'http://b/api'\n",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := m.lookup(t)
			s, err := Load(l)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(prefectsExplicit(t, python, m, l), s.Explicit()); diff != "" {
				t.Errorf("-Prefect +faber:\n%s", diff)
			}
		})
	}
}

func prefectsExplicit(t *testing.T, python string, m machine, l Lookup) []NameValue {
	t.Helper()
	const script = `import json
from prefect.settings.models.root import Settings
print("RESULT " + json.dumps(list(Settings().to_environment_variables(exclude_unset=True).items())))`
	command := exec.Command(python, "-W", "ignore", "-c", script)
	command.Dir = l.Dir
	command.Env = []string{"HOME=" + l.Home, "PATH=" + os.Getenv("PATH")}
	for name, value := range m.env {
		command.Env = append(command.Env, name+"="+value)
	}
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, problems.String())
	}
	_, result, _ := strings.Cut(string(output), "RESULT ")
	var pairs [][2]string
	if err := json.Unmarshal([]byte(result), &pairs); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	var all []NameValue
	for _, pair := range pairs {
		all = append(all, NameValue{pair[0], pair[1]})
	}
	return slices.Clip(all)
}
