//go:build integration

package leastprivilege

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"faber/internal/cli"
	"faber/internal/fake/fakeprefect"
	"faber/internal/front"
	"faber/internal/infra"
)

// asFaber makes this test binary the program itself.
const asFaber = "FABER_TEST_BINARY_IS_FABER"

func TestMain(m *testing.M) {
	if os.Getenv(asFaber) != "" {
		os.Exit(cli.Main(context.Background(), os.Args[1:], cli.System()))
	}
	os.Exit(m.Run())
}

const (
	firstKey = "pnu_first_000000000000000000000000000000"
	nextKey  = "pnu_next_0000000000000000000000000000000"
	pool     = "fargate"
)

// stage is the module applied on an emulator, and a Prefect API beside it.
type stage struct {
	*emulator

	t       *testing.T
	prefect *fakeprefect.Server
	outputs infra.Outputs

	mu  sync.Mutex
	key string // the API key that Prefect takes
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{emulator: startEmulator(t), t: t, prefect: fakeprefect.New(), key: firstKey}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	s.apply(server.URL + "/api")
	return s
}

// serve is Prefect, which lets in whoever has the key.
func (s *stage) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	key := s.key
	s.mu.Unlock()
	if r.Header.Get("Upgrade") == "" && r.Header.Get("Authorization") != "Bearer "+key {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Path == "/api/flow_runs/count" {
		_, _ = w.Write([]byte("0")) // what is published is not looked at here
		return
	}
	s.prefect.ServeHTTP(w, r)
}

// apply applies the configuration of testdata with the module.
func (s *stage) apply(api string) {
	s.t.Helper()
	root := s.t.TempDir()
	if err := infra.Unpack(root); err != nil {
		s.t.Fatal(err)
	}
	dir := filepath.Join(root, "examples", "leastprivilege")
	if err := os.CopyFS(dir, os.DirFS("testdata/stack")); err != nil {
		s.t.Fatal(err)
	}
	environ := append(os.Environ(), "AWS_ENDPOINT_URL="+s.url)
	found, err := infra.Find(s.t.Context(), infra.FindOptions{Environ: environ})
	if err != nil {
		s.t.Fatal(err)
	}
	stack, err := infra.Open(infra.Options{Dir: dir, Terraform: found.Path, Environ: environ})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = stack.Close() })
	if err := stack.Init(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	began := time.Now()
	plan, err := stack.Plan(s.t.Context(), infra.PlanOptions{
		Vars: infra.Vars{"prefect_api_url": api},
		Secrets: infra.Vars{"prefect_credentials": map[string]string{
			"prefect_api_key": firstKey, "prefect_account_id": "00000000-0000-0000-0000-000000000001", "prefect_workspace_id": "00000000-0000-0000-0000-000000000002",
		}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	result, err := stack.Apply(s.t.Context(), plan)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.outputs, err = stack.Outputs(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("applied %d resources in %s", result.Add, time.Since(began).Round(time.Second))
}

// roles are the ARNs of every role that the module can make.
func (s *stage) roles() map[string]string {
	roles := map[string]string{}
	if err := json.Unmarshal(s.outputs["roles"], &roles); err != nil {
		s.t.Fatal(err)
	}
	return roles
}

const ecsTarget = "AmazonEC2ContainerServiceV20141113."

// definition is what the module says of the worker's container.
func (s *stage) definition(arn string) (environment []string, roles []string) {
	s.t.Helper()
	var out struct {
		TaskDefinition struct {
			TaskRoleArn, ExecutionRoleArn string
			ContainerDefinitions          []struct {
				Environment []struct{ Name, Value string }
				Secrets     []struct{ Name, ValueFrom string }
			}
		}
	}
	s.json(s.t, "ecs", ecsTarget+"DescribeTaskDefinition", map[string]any{"taskDefinition": arn}, &out)
	d := out.TaskDefinition
	for _, c := range d.ContainerDefinitions {
		for _, e := range c.Environment {
			environment = append(environment, e.Name+"="+e.Value)
		}
		for _, secret := range c.Secrets {
			// arn:…:secret:name:KEY::, as ECS reads it.
			arn, key, _ := strings.Cut(strings.TrimSuffix(secret.ValueFrom, "::"), ":"+secret.Name)
			if key != "" {
				s.t.Fatalf("the secret %s comes from %s", secret.Name, secret.ValueFrom)
			}
			environment = append(environment, secret.Name+"="+s.secret(arn)[secret.Name])
		}
	}
	return environment, slices.DeleteFunc([]string{d.TaskRoleArn, d.ExecutionRoleArn}, func(role string) bool { return role == "" })
}

func (s *stage) secret(arn string) map[string]string {
	s.t.Helper()
	var out struct{ SecretString string }
	s.json(s.t, "secretsmanager", "secretsmanager.GetSecretValue", map[string]any{"SecretId": arn}, &out)
	values := map[string]string{}
	if err := json.Unmarshal([]byte(out.SecretString), &values); err != nil {
		s.t.Fatal(err)
	}
	return values
}

// rotate puts another key into the secret, and has Prefect refuse the former one.
func (s *stage) rotate() {
	s.t.Helper()
	arn := s.outputs.String("secret_arn")
	values := s.secret(arn)
	values["PREFECT_API_KEY"] = nextKey
	text, err := json.Marshal(values)
	if err != nil {
		s.t.Fatal(err)
	}
	s.json(s.t, "secretsmanager", "secretsmanager.PutSecretValue", map[string]any{"SecretId": arn, "SecretString": string(text)}, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = nextKey
}

// program is faber in a process of its own, with the environment that the module
// gives to its task.
type program struct {
	cmd *exec.Cmd
	out *bytes.Buffer
}

func (s *stage) start(args ...string) *program {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	environment, _ := s.definition(s.outputs.String("task_definition_arn"))
	home := s.t.TempDir()
	p := &program{cmd: exec.Command(self, args...), out: &bytes.Buffer{}}
	p.cmd.Dir = home
	p.cmd.Env = append(slices.Clone(environment), asFaber+"=1", "HOME="+home, "TMPDIR="+home, "PATH="+os.Getenv("PATH"), "FABER_WITH_HEALTHCHECK=false",
		"AWS_ENDPOINT_URL="+s.url, "AWS_ACCESS_KEY_ID="+account, "AWS_SECRET_ACCESS_KEY=emulated", "AWS_EC2_METADATA_DISABLED=true")
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = p.out, p.out, 5*time.Second
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		p.kill()
		if s.t.Failed() {
			s.t.Logf("faber %s:\n%s", strings.Join(args, " "), p.out.String()[max(0, p.out.Len()-6000):])
		}
	})
	return p
}

// kill ends it without a chance to say anything.
func (p *program) kill() {
	_ = p.cmd.Process.Kill() // once more does no harm
	_ = p.cmd.Wait()
}

// called waits until an operation is in the ledger.
func (s *stage) called(q front.Query) {
	s.t.Helper()
	eventually(s.t, q.Service+" "+q.Operation+" "+q.Run, func() bool {
		return slices.ContainsFunc(s.front.Ledger().Calls(q), func(c front.Call) bool { return c.Done && c.Status > 0 && c.Status < 500 })
	})
}

// reaches waits until a flow run is in a state.
func (s *stage) reaches(run, state string) {
	s.t.Helper()
	eventually(s.t, run+" is "+state, func() bool {
		r, _ := s.prefect.Run(run)
		return r.StateType == state
	})
}

func (s *stage) become(run, state string) {
	s.t.Helper()
	if err := s.prefect.Become(run, state, state[:1]+strings.ToLower(state[1:])); err != nil {
		s.t.Fatal(err)
	}
}

// end has the task of a flow run stop with an exit code.
func (s *stage) end(run string, code int) {
	s.t.Helper()
	if _, err := s.front.Faults().Add(front.Fault{Run: run, Stop: &front.Stop{Code: "EssentialContainerExited", Reason: "Essential container in task exited", ExitCode: &code}}); err != nil {
		s.t.Fatal(err)
	}
}
