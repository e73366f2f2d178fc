package cli

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// parsedFlags is what a command line says, in the names of Prefect's command.
type parsedFlags struct {
	Profile       string   `json:"profile"`
	Prompt        string   `json:"prompt"`
	Name          string   `json:"worker_name"`
	Pool          string   `json:"work_pool_name"`
	Queues        []string `json:"work_queues"`
	Type          string   `json:"worker_type"`
	Prefetch      int      `json:"prefetch_seconds"`
	RunOnce       bool     `json:"run_once"`
	Limit         int      `json:"limit"`
	Healthcheck   bool     `json:"with_healthcheck"`
	InstallPolicy string   `json:"install_policy"`
	Template      string   `json:"base_job_template"`
	CreatePool    bool     `json:"create_pool_if_not_found"`
	Problem       string   `json:"problem"`
}

// parse reads a command line as Main does, up to where the command would begin.
func parse(t *testing.T, args ...string) (parsedFlags, error) {
	t.Helper()
	std, _ := testIO(t, map[string]string{})
	root := newRoot(std)
	worker, _, err := root.Find([]string{"worker"})
	if err != nil {
		t.Fatal(err)
	}
	var f workerFlags
	fresh := &cobra.Command{Use: "worker"}
	f.addSessionFlags(fresh.PersistentFlags())
	start := newWorkerStartCommand(std, &f)
	var problem error
	start.RunE = func(*cobra.Command, []string) error {
		if problem = f.check(); problem == nil {
			problem = f.askPool(std, "false")
		}
		return nil
	}
	fresh.AddCommand(start)
	fresh.SetGlobalNormalizationFunc(dashes)
	root.RemoveCommand(worker)
	root.AddCommand(fresh)
	root.SetArgs(arrangeArgs(args))
	if err := root.Execute(); err != nil {
		return parsedFlags{}, err
	}
	return parsedFlags{
		Profile: f.profile, Prompt: f.prompt, Name: f.name, Pool: f.pool, Queues: f.queues, Type: f.typ, Prefetch: f.prefetch, RunOnce: f.runOnce,
		Limit: f.limit, Healthcheck: f.healthcheck, InstallPolicy: f.installPolicy, Template: f.template, CreatePool: f.createPool,
	}, problem
}

// commandLines are written by hand: all forms that Prefect's command line takes,
// and some that it does not.
const commandLines = `
worker start -p x
--profile a worker start -p x
-p a worker start -p x
--profile=a --no-prompt worker start --pool=x
--prompt -p a worker start -p x
worker start -p x --profile a
worker --profile a start -p x
worker --no-prompt start -p x --profile a
worker start --profile=a --pool=x
worker start -px
worker start -p=x
worker start -p x -l5
worker start -p x -l=5
worker start -p x -q a -q b
worker start -p x --work-queue a --work-queue=b,c
worker start -p x -q a,b
worker start -p x --empty-work-queue
worker start -p x --empty-work-queue=true
worker start -p x --empty-work-queue=false
worker start -p x --run-once=true
worker start -p x --run-once=false
worker start -p x --run-once=yes
worker start -p x --run-once=N
worker start -p x --no-run-once
worker start -p x --no-run-once=true
worker start -p x --no-run-once=false
worker start -p x --with-healthcheck --no-create-pool-if-not-found
worker start -p x --no-with-healthcheck
worker start -p x --create-pool-if-not-found=0
worker start -p x --install-policy NEVER
worker start -p x --install-policy if_not_present
worker start -p x --install-policy=always
worker start -p x --limit 1.0
worker start -p x --limit 1.5
worker start -p x --limit 2.5
worker start -p x --limit 0x10
worker start -p x --limit 1_000
worker start -p x --limit 0
worker start -p x --prefetch-seconds 60
worker start -p x --prompt
worker start -p x --no-prompt
worker start -p x --prompt=false
worker start -p x --work_queue a --with_healthcheck --prefetch_seconds=3
worker start -p x --name=
worker start -p x -t process -n w -l 4 -q a
worker start -p x --name w:1
worker start --base-job-template f.json -p x
worker start -p x --type=process --run-once
worker start -p x -q []
worker start
worker start x
worker start -p x y
worker start -p x --work-pool y
worker start -p x --limit many
worker start -p x --limit 1e2
worker start -p x --run-once true
worker start -p x --run-once=maybe
worker start -p x --no-limit
worker start -p x --lim 3
worker start -p x --install-policy sometimes
worker start -p x -v`

// TestCommandLinesAreReadAsByPrefect has Prefect's own command line parse what
// ours parses. All that it takes must mean the same; what it refuses for its
// form must not be taken in another sense.
func TestCommandLinesAreReadAsByPrefect(t *testing.T) {
	var lines [][]string
	for line := range strings.SplitSeq(strings.TrimSpace(commandLines), "\n") {
		lines = append(lines, strings.Fields(line))
	}
	random := rand.New(rand.NewPCG(3, 8))
	for range 100 {
		lines = append(lines, drawCommandLine(random))
	}
	for i, want := range prefectsReading(t, lines) {
		line := strings.Join(lines[i], " ")
		got, err := parse(t, lines[i]...)
		if want.Problem != "" {
			if err == nil {
				t.Errorf("%q: taken, but Prefect says %s", line, want.Problem)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v, but Prefect takes it", line, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -Prefect +faber\n%s", line, diff)
		}
	}
}

// drawCommandLine draws flags that Prefect's command line takes, in any order.
func drawCommandLine(random *rand.Rand) []string {
	groups := [][]string{
		{"-n w", "--name w", "--name=w", "-nw"},
		{"-q a", "--work-queue=a -q b", "-qa --work_queue b", "--empty-work-queue"},
		{"-t process", "--type=ecs", "-tecs"},
		{"--prefetch-seconds 5", "--prefetch_seconds=0"},
		{"--run-once", "--no-run-once", "--run-once=no", "--no-run-once=f"},
		{"-l 3", "--limit=3", "-l3", "--limit 3"},
		{"--with-healthcheck", "--no-with-healthcheck", "--with-healthcheck=Y"},
		{"--install-policy never", "--install-policy=IF-NOT-PRESENT"},
		{"--base-job-template t.json"},
		{"--create-pool-if-not-found", "--no-create-pool-if-not-found"},
		{"--profile p", "--profile=p"},
		{"--prompt", "--no-prompt"},
	}
	random.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	var before, after []string
	after = append(after, "-p", "pool")
	for _, group := range groups[:1+random.IntN(6)] {
		words := strings.Fields(group[random.IntN(len(group))])
		session := strings.HasPrefix(words[0], "--profile") || strings.HasPrefix(words[0], "--prompt") || strings.HasPrefix(words[0], "--no-prompt")
		if session && random.IntN(2) == 0 {
			before = append(before, words...)
		} else {
			after = append(after, words...)
		}
	}
	return append(append(before, "worker", "start"), after...)
}

// prefectsReading asks one Python for all lines.
func prefectsReading(t *testing.T, lines [][]string) []parsedFlags {
	t.Helper()
	executable := os.Getenv("FABER_TEST_PREFECT")
	if executable == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("FABER_TEST_PREFECT is not set: CI must run this test against Prefect itself")
		}
		t.Skip("FABER_TEST_PREFECT is not set: name the prefect executable whose command line is the measure")
	}
	const script = `
import json, sys
import prefect.cli._app as app
from prefect.cli.worker import worker_app
answers = []
for line in json.load(sys.stdin):
    got = {}
    def run(tokens, *, profile=None, prompt=None):
        command, bound, _ = app._app.parse_args(list(tokens), exit_on_error=False, print_error=False)
        if command.__name__ != "start" or "work_pool_name" not in bound.arguments:
            raise ValueError("no work pool")
        got.update(profile=profile or "", prompt="" if prompt is None else str(prompt).lower())
        got.update(worker_name="", worker_type="", prefetch_seconds=10, run_once=False, limit=0, with_healthcheck=False,
            install_policy="prompt", base_job_template="", create_pool_if_not_found=True)
        got.update({k: v if isinstance(v, (int, list, str)) else str(v) for k, v in bound.arguments.items()})
        got["work_queues"] = got.get("work_queues") or None
    app._setup_and_run = run
    try:
        app._app.meta(app._normalize_top_level_flags(line), exit_on_error=False, print_error=False)
    except SystemExit:
        pass
    except Exception as problem:
        got = {"problem": str(problem) or "refused"}
    answers.append(got)
print("RESULT " + json.dumps(answers))`
	data, err := json.Marshal(lines)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(filepath.Join(filepath.Dir(executable), "python"), "-W", "ignore", "-c", script)
	command.Dir, command.Env, command.Stdin = t.TempDir(), []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, bytes.NewReader(data)
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, problems.String())
	}
	_, result, _ := strings.Cut(string(output), "RESULT ")
	var answers []parsedFlags
	if err := json.Unmarshal([]byte(result), &answers); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return answers
}
