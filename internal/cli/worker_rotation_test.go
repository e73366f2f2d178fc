package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/fake/emulator"
	"faber/internal/front/prefectfront"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

const (
	rotationAccount   = "11111111-2222-4333-8444-555555555555"
	rotationWorkspace = "66666666-7777-4888-9999-000000000000"
	firstKey          = "pnu_first0kanarie"
	secondKey         = "pnu_second0kanarie"
)

// startSecrets starts the emulator that FABER_TEST_MINISTACK names and has this
// process's AWS clients use it.
func startSecrets(t *testing.T) *secretsmanager.Client {
	t.Helper()
	python := os.Getenv("FABER_TEST_MINISTACK")
	if python == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("FABER_TEST_MINISTACK is not set: CI must run this test against a real emulator")
		}
		t.Skip("FABER_TEST_MINISTACK is not set: name the python that has ministack to run against it")
	}
	endpoint := emulator.Ministack(t, python, time.Minute).String()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "123456789012", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	config, err := awsconfig.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return secretsmanager.NewFromConfig(config)
}

// clouds are two doors to one server, each of which knows one key; the one that is open
// is reached through a gate whose connections can be cut.
func clouds(t *testing.T, server string) (open func(key string), through *gate) {
	t.Helper()
	target, err := url.Parse(strings.TrimSuffix(server, "/api"))
	if err != nil {
		t.Fatal(err)
	}
	doors := map[string]http.Handler{}
	for _, key := range []string{firstKey, secondKey} {
		door := prefectfront.New(prefectfront.Options{
			Server: target, APIKeys: map[string][]prefectfront.Workspace{key: {{AccountID: rotationAccount, WorkspaceID: rotationWorkspace}}},
		})
		t.Cleanup(door.Close)
		doors[key] = door.Handler()
	}
	var now atomic.Pointer[http.Handler]
	open = func(key string) { door := doors[key]; now.Store(&door) }
	open(firstKey)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*now.Load()).ServeHTTP(w, r) }))
	t.Cleanup(api.Close)
	return open, newGate(t, api.URL)
}

// cut ends all connections, as an API does whose key was revoked.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
}

// TestAKeyIsChangedUnderAWorker: the secret gets another key, the old one is revoked,
// and the worker, its sockets and the flow runs that it starts go on with the new one.
func TestAKeyIsChangedUnderAWorker(t *testing.T) {
	p := startPrefect(t)
	secrets := startSecrets(t)
	value := func(key string) *string {
		return aws.String(fmt.Sprintf(`{"PREFECT_API_KEY":%q,"PREFECT_ACCOUNT_ID":%q,"PREFECT_WORKSPACE_ID":%q}`, key, rotationAccount, rotationWorkspace))
	}
	made, err := secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("prefect"), SecretString: value(firstKey)})
	if err != nil {
		t.Fatal(err)
	}
	open, through := clouds(t, p.api)
	talk, out, stop := startWorker(t, map[string]string{
		"PREFECT_CLOUD_API_URL": through.url() + "/api", "PREFECT_API_KEY": firstKey, "PREFECT_HOME": t.TempDir(),
		"PREFECT_ACCOUNT_ID": rotationAccount, "PREFECT_WORKSPACE_ID": rotationWorkspace,
		"FABER_API_SECRET_ARN": aws.ToString(made.ARN),
		"PATH":                 filepath.Dir(p.executable) + string(filepath.ListSeparator) + os.Getenv("PATH"),
	}, "", time.Minute)
	p.reaches(p.start("ok"), "Completed")

	if _, err := secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: made.ARN, SecretString: value(secondKey)}); err != nil {
		t.Fatal(err)
	}
	open(secondKey)
	through.cut()
	p.reaches(p.start("ok"), "Completed") // its process, too, has only the new key to report with
	p.until(time.Minute, "the worker is ONLINE", func() bool {
		var workers []struct{ Name, Status string }
		p.call("POST", "/work_pools/p/workers/filter", map[string]any{}, &workers)
		return len(workers) == 1 && workers[0].Status == "ONLINE"
	})
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(talk.String(), "the secret holds others, which are used from now on"); n != 1 {
		t.Errorf("the secret was taken up %d times", n)
	}
	for name, text := range map[string]string{"log": talk.String(), "stdout": out.String()} {
		if strings.Contains(text, canaryWord) {
			t.Errorf("a key is in the %s", name)
		}
	}
	if t.Failed() {
		t.Log(talk)
	}
}
