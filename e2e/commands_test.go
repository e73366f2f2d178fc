//go:build e2e && integration

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCommands goes from an empty folder to a worker that is online and back by
// faber's own commands, as a person types them. All that comes from the stack is
// what an AWS account and Prefect Cloud have otherwise.
func TestCommands(t *testing.T) {
	s := newStack(t)
	s.load(t)
	keys := s.prefectCredentials(t)
	before := s.lastCall(t)
	testscript.Run(t, testscript.Params{
		Files: []string{"testdata/commands.txtar"},
		Setup: func(env *testscript.Env) error {
			for _, pair := range s.awsEnv() {
				name, value, _ := strings.Cut(pair, "=")
				env.Setenv(name, value)
			}
			for name, value := range map[string]string{
				"HOME": env.WorkDir, "PATH": os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED": "true",
				"FABER": s.faber, "IMAGE": s.state.WorkerImage, "NAME": commandsName, "POOL": commandsPool,
				"PREFECT_CLOUD_API_URL": s.cloudURL(), "PREFECT_API_KEY": keys["prefect_api_key"],
				"PREFECT_ACCOUNT_ID": keys["prefect_account_id"], "PREFECT_WORKSPACE_ID": keys["prefect_workspace_id"],
				// The provider is the one that the stack has got already.
				"FABER_TF_PLUGIN_DIR": filepath.Join(s.dir, stackName, "terraform", "examples", "local", ".terraform", "providers"),
			} {
				env.Setenv(name, value)
			}
			// The emulator's containers know the front by another name than this machine,
			// and get their credentials over plain http, which AWS's SDK refuses.
			override, err := json.Marshal(map[string]any{"module": map[string]any{"faber": map[string]any{
				"prefect_cloud_api_url":          fmt.Sprintf("http://host.docker.internal:%d/api", s.state.Ports.Cloud),
				"worker_environment":             map[string]string{"AWS_ACCESS_KEY_ID": account, "AWS_SECRET_ACCESS_KEY": "test"},
				"secret_recovery_window_in_days": 0,
			}}})
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(env.WorkDir, "emulator_override.tf.json"), override, 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// untouched: since it was called last, nobody asked AWS or Prefect to change
			// anything of this deployment.
			"untouched": func(ts *testscript.TestScript, _ bool, _ []string) {
				if changes := s.changesSince(t, before); len(changes) > 0 {
					ts.Fatalf("AWS was asked to change something: %v", changes)
				}
				before = s.lastCall(t)
			},
			"mark": func(*testscript.TestScript, bool, []string) { before = s.lastCall(t) },
			"pool": func(ts *testscript.TestScript, not bool, _ []string) {
				status, _ := s.callAPI(t, http.MethodGet, "/work_pools/"+commandsPool, nil)
				if (status == http.StatusOK) == not {
					ts.Fatalf("the work pool: %d", status)
				}
			},
			"online": func(ts *testscript.TestScript, not bool, _ []string) {
				if s.anyOnline(t, commandsPool) == not {
					ts.Fatalf("online: %t", !not)
				}
			},
			"template": func(ts *testscript.TestScript, _ bool, args []string) {
				var base struct {
					Template json.RawMessage `json:"base_job_template"`
				}
				s.api(t, http.MethodGet, "/work_pools/"+commandsPool, nil, &base)
				if !strings.Contains(string(base.Template), args[0]) {
					ts.Fatalf("the pool's template does not name %s", args[0])
				}
			},
			"gone": func(ts *testscript.TestScript, _ bool, _ []string) {
				eventually(t, 20*time.Second, "nothing in the emulator carries the deployment's name", func() bool {
					return len(s.clustersLeft(t, commandsName)) == 0
				})
			},
		},
	})
}

const (
	commandsName = "faber-commands"
	commandsPool = "commands"
)

// reading are the calls that change nothing, and those that the workers of the
// stack make all the time.
var reading = regexp.MustCompile(`^(Describe|List|Get|Head|Filter|BatchGet|Lookup|ReceiveMessage|DeleteMessage|ChangeMessageVisibility|PutMetricData|PutLogEvents|CreateLogStream)`)

type ledgerCall struct {
	ID                 int64
	Service, Operation string
}

func (s *stack) ledger(t *testing.T, since int64) (calls []ledgerCall, last int64) {
	t.Helper()
	res, err := direct.Get(fmt.Sprintf("%s/_front/ledger?since=%d", s.awsURL(), since))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Calls []ledgerCall
		Last  int64
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Calls, answer.Last
}

func (s *stack) lastCall(t *testing.T) int64 {
	t.Helper()
	_, last := s.ledger(t, 1<<62)
	return last
}

// changesSince are the calls after one that would change something in AWS.
func (s *stack) changesSince(t *testing.T, since int64) []string {
	t.Helper()
	calls, last := s.ledger(t, since)
	if last <= since {
		t.Fatal("the ledger holds no call at all: the search would prove nothing")
	}
	var changes []string
	for _, call := range calls {
		if !reading.MatchString(call.Operation) {
			changes = append(changes, call.Service+":"+call.Operation)
		}
	}
	slices.Sort(changes)
	return slices.Compact(changes)
}
