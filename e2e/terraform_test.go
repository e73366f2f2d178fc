//go:build e2e && integration

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestPlainTerraform brings the largest example from an empty folder to a worker
// that is online, by terraform alone. All that comes from the stack is what an
// AWS account and Prefect Cloud have otherwise: their addresses, a key for each,
// and an image that can be pulled.
func TestPlainTerraform(t *testing.T) {
	s := newStack(t)
	s.load(t)
	module, err := filepath.Abs("../terraform")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(module, "examples", "complete"))); err != nil {
		t.Fatal(err)
	}
	rewriteSource(t, filepath.Join(dir, "main.tf"), module)
	const name, workPool = "faber-plain", "plain"
	// The emulator's containers know the front by another name than this machine,
	// and get their credentials over plain http, which AWS's SDK refuses.
	override := map[string]any{"module": map[string]any{"faber": map[string]any{
		"prefect_cloud_api_url":          fmt.Sprintf("http://host.docker.internal:%d/api", s.state.Ports.Cloud),
		"worker_environment":             map[string]string{"AWS_ACCESS_KEY_ID": account, "AWS_SECRET_ACCESS_KEY": "test"},
		"secret_recovery_window_in_days": 0,
		"az_count":                       2,
	}}}
	writeJSON(t, filepath.Join(dir, "local_override.tf.json"), override)
	writeJSON(t, filepath.Join(dir, "terraform.tfvars.json"), map[string]any{
		"region": region, "name": name, "work_pool_name": workPool, "image": s.state.WorkerImage, "manage_secret_value": true,
	})
	credentials, err := json.Marshal(s.prefectCredentials(t))
	if err != nil {
		t.Fatal(err)
	}
	terraform := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "terraform", args...)
		cmd.Dir = dir
		cmd.Env = append(cleanEnv(), s.awsEnv()...)
		cmd.Env = append(cmd.Env, "TF_VAR_prefect_credentials="+string(credentials), "TF_IN_AUTOMATION=1", "AWS_EC2_METADATA_DISABLED=true")
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 2 * time.Minute
		began := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("terraform %s: %.1f s", args[0], time.Since(began).Seconds())
	}
	// The provider is the one that the stack has got already.
	terraform("init", "-no-color", "-input=false", "-plugin-dir="+filepath.Join(s.dir, stackName, "terraform", "examples", "local", ".terraform", "providers"))
	began := time.Now()
	terraform("apply", "-no-color", "-input=false", "-auto-approve")
	defer terraform("destroy", "-no-color", "-input=false", "-auto-approve")
	eventually(t, 3*time.Minute, "a worker of the service is ONLINE", func() bool { return s.anyOnline(t, workPool) })
	t.Logf("online %.1f s after 'terraform apply' was called", time.Since(began).Seconds())
}

// rewriteSource lets a copy of an example find the module, as a user writes the
// module's address in its place.
func rewriteSource(t *testing.T, file, module string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	source := regexp.MustCompile(`(source\s*=\s*")\.\./\.\.(/[^"]*)?"`)
	if !source.Match(data) {
		t.Fatalf("%s does not name the module it is in", file)
	}
	data = source.ReplaceAll(data, []byte("${1}"+module+"${2}\""))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeJSON(t *testing.T, file string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// prefectCredentials are those of the stack, which its own deployment has in its secret.
func (s *stack) prefectCredentials(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, stackName, "credentials.json"))
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]string
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	return keys
}

func (s *stack) anyOnline(t *testing.T, workPool string) bool {
	t.Helper()
	if status, _ := s.callAPI(t, http.MethodGet, "/work_pools/"+workPool, nil); status == http.StatusNotFound {
		return false // the worker has yet to make it
	}
	var workers []struct{ Name, Status string }
	s.api(t, http.MethodPost, "/work_pools/"+workPool+"/workers/filter", map[string]any{}, &workers)
	for _, w := range workers {
		if w.Status == "ONLINE" {
			t.Logf("%s is ONLINE", w.Name)
			return true
		}
	}
	return false
}
