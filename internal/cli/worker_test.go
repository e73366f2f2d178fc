package cli

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/worker"

	"github.com/spf13/cobra"
)

// testIO is a process with nothing but the given environment.
func testIO(t *testing.T, env map[string]string) (*IO, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	if env["HOME"] == "" {
		env["HOME"] = dir
	}
	var talk bytes.Buffer
	return &IO{
		In: strings.NewReader(""), Out: &talk, Err: &talk, Dir: dir,
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Environ: func() []string {
			var all []string
			for name, value := range env {
				all = append(all, name+"="+value)
			}
			return all
		},
	}, &talk
}

func TestWrongInputToWorkerStart(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.json")
	for path, text := range map[string]string{
		bad:                 "{\n  \"job_configuration\": {},\n  nonsense\n}",
		bad + ".shape.json": `{"job_configuration": [], "variables": {}}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	api := map[string]string{"PREFECT_API_URL": "http://127.0.0.1:1/api"}
	for _, tt := range []struct {
		name string
		args string
		env  map[string]string
		want []string
	}{
		{"limit counts", "-p x --limit-counts never", api, []string{`unknown --limit-counts "never"`, "running or launches"}},
		{"no truth", "-p x --run-once=maybe", api, []string{`"maybe" is neither true nor false`}},
		{"no number", "-p x --limit many", api, []string{`"many" is no whole number`}},
		{"unknown flag", "-p x --nope", api, []string{"unknown flag: --nope", "faber worker start --help"}},
		{"unexpected argument", "-p x y", api, []string{`unexpected argument "y"`}},
		{"unknown type", "-p x -t docker", api, []string{`unknown worker type "docker"`, "ecs and process"}},
		{"push pool", "-p x -t ecs:push", api, []string{"push pool", "no worker serves it"}},
		{"managed pool", "-p x -t prefect:managed", api, []string{"managed", "no worker serves it"}},
		{"name with a slash", "-p x -n a/b", api, []string{`worker name "a/b"`, "without / and %"}},
		{"name with a percent", "-p x -n 50%", api, []string{`worker name "50%"`}},
		{"limit below zero", "-p x -l -1", api, []string{"--limit is -1"}},
		{"log format", "-p x --log-format xml", api, []string{`unknown --log-format "xml"`}},
		{"install policy", "-p x --install-policy maybe", api, []string{`unknown --install-policy "maybe"`}},
		{"no template file", "-p x --base-job-template none.json", api, []string{"read base job template", "none.json"}},
		{"template that is no JSON", "-p x --base-job-template " + bad, api, []string{"no JSON object", "line 3"}},
		{"template of the wrong shape", "-p x --base-job-template " + bad + ".shape.json", api, []string{"job_configuration"}},
		{"no certificate", "-p x -t process", map[string]string{"PREFECT_API_URL": "https://127.0.0.1:1/api", "PREFECT_API_SSL_CERT_FILE": bad}, []string{"PREFECT_API_SSL_CERT_FILE", "no certificate in", "PEM"}},
		{"no certificate file", "-p x -t process", map[string]string{"PREFECT_API_URL": "https://127.0.0.1:1/api", "PREFECT_API_SSL_CERT_FILE": "/nonesuch.pem"}, []string{"read PREFECT_API_SSL_CERT_FILE", "nonesuch.pem"}},
		{"unknown profile", "-p x --profile nonesuch", api, []string{`"nonesuch"`, "known profiles"}},
		{"no URL", "-p x -t process", map[string]string{}, []string{"PREFECT_API_URL", "PREFECT_WORKSPACE_ID"}},
		{"environment is checked too", "-p x", map[string]string{"FABER_LIMIT": "many"}, []string{`FABER_LIMIT="many"`, "--limit"}},
		{"type from the environment", "-p x", map[string]string{"FABER_WORKER_TYPE": "k8s"}, []string{`unknown worker type "k8s"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{}
			maps.Copy(env, tt.env)
			std, talk := testIO(t, env)
			code := Main(t.Context(), append([]string{"worker", "start"}, strings.Fields(tt.args)...), std)
			if code != exitUsage {
				t.Errorf("exit code %d", code)
			}
			for _, want := range tt.want {
				if !strings.Contains(talk.String(), want) {
					t.Errorf("no %q in %q", want, talk)
				}
			}
			if n := strings.Count(talk.String(), "error:"); n != 1 {
				t.Errorf("%d errors in %q", n, talk)
			}
		})
	}
}

// prepared is a worker command up to where it would begin.
func prepared(t *testing.T, std *IO, args ...string) *workerStart {
	t.Helper()
	var f workerFlags
	cmd := newWorkerStartCommand(std, &f)
	var started *workerStart
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		started, err = newWorkerStart(std, cmd.Flags(), &f)
		return err
	}
	cmd.SetArgs(args)
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	return started
}

func TestLaunchersAndLogsTakeTheSettings(t *testing.T) {
	std, _ := testIO(t, map[string]string{
		"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_LOGGING_TO_API_MAX_LOG_SIZE": "1234", "PREFECT_LOGGING_LEVEL": "WARNING",
		"PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_REGION": "eu-west-1", "PREFECT_LOGGING_TO_API_BATCH_SIZE": "5678",
	})
	start := prepared(t, std, "-p", "x", "-t", "ecs", "--api-key-secret-arn", "key", "--api-auth-string-secret-arn", "auth", "--events-queue", "q", "--refuse-plaintext-credentials")
	if l := start.newRunLog(); l.MaxLine != 1234 || l.BatchSize != 5678 || l.MinLevel != slog.LevelWarn || l.Disabled {
		t.Errorf("run log %d, %s, %t", l.MaxLine, l.MinLevel, l.Disabled)
	}
	o := start.ecsOptions("eu-central-1")
	if o.Region != "eu-central-1" || o.SecretARN != "key" || o.AuthStringSecretARN != "auth" || !o.RefusePlaintextCredentials || o.Queue != "q" || o.QueueOptional || o.QueueRegion != "eu-west-1" {
		t.Errorf("options %+v", o)
	}
}

// TestTheQueueOfECSEvents: a flag, its variable, prefect-aws's setting, the
// default that need not exist; and none at all.
func TestTheQueueOfECSEvents(t *testing.T) {
	const prefix = "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_"
	for name, test := range map[string]struct {
		env      map[string]string
		args     []string
		queue    string
		optional bool
		warning  string
	}{
		"default":  {map[string]string{}, nil, "prefect-ecs-tasks-events", true, ""},
		"setting":  {map[string]string{prefix + "SQS_QUEUE_NAME": "theirs"}, nil, "theirs", false, ""},
		"variable": {map[string]string{prefix + "SQS_QUEUE_NAME": "theirs", "FABER_EVENTS_QUEUE": "ours"}, nil, "ours", false, ""},
		"flag":     {map[string]string{prefix + "SQS_QUEUE_NAME": "theirs", "FABER_EVENTS_QUEUE": "ours"}, []string{"--events-queue", "q"}, "q", false, ""},
		"off":      {map[string]string{prefix + "ENABLED": "false"}, nil, "", false, ""},
		"off all the same": {
			map[string]string{prefix + "ENABLED": "false", "FABER_EVENTS_QUEUE": "ours"},
			nil, "", false, "--events-queue is ignored: PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_ENABLED is false",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.env["PREFECT_API_URL"] = "http://127.0.0.1:1/api"
			std, talk := testIO(t, test.env)
			start := prepared(t, std, append([]string{"-p", "x", "-t", "ecs"}, test.args...)...)
			if o := start.ecsOptions(""); o.Queue != test.queue || o.QueueOptional != test.optional {
				t.Errorf("queue %q, optional %t", o.Queue, o.QueueOptional)
			}
			start.sayDoubts()
			if !strings.Contains(talk.String(), test.warning) || test.warning == "" && talk.Len() > 0 {
				t.Errorf("said %q", talk)
			}
		})
	}
}

func TestHowMuchOutputIsForwarded(t *testing.T) {
	const prefix = "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_FORWARD_CRASHED_RUN_LOGS"
	for _, test := range []struct {
		env            map[string]string
		begun, unbegun int
	}{
		{map[string]string{}, 0, 500},
		{map[string]string{prefix + "_MAX_EVENTS": "7"}, 7, 7},
		{map[string]string{prefix: "no", prefix + "_MAX_EVENTS": "7"}, -1, -1},
	} {
		test.env["PREFECT_API_URL"] = "http://127.0.0.1:1/api"
		std, _ := testIO(t, test.env)
		got := prepared(t, std, "-p", "x", "-t", "ecs").workerOptions(nil, nil, nil)
		if got.TailLines != test.begun || got.UnbegunTailLines != test.unbegun {
			t.Errorf("%v: %d lines, %d of those that never began", test.env, got.TailLines, got.UnbegunTailLines)
		}
	}
}

func TestTheLimitCountsWhatItIsToldTo(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		args []string
		want worker.LimitCounts
	}{
		{map[string]string{}, nil, worker.LimitRunning},
		{map[string]string{"FABER_LIMIT_COUNTS": "launches"}, nil, worker.LimitLaunches},
		{map[string]string{"FABER_LIMIT_COUNTS": "launches"}, []string{"--limit-counts", "running"}, worker.LimitRunning},
	} {
		test.env["PREFECT_API_URL"] = "http://127.0.0.1:1/api"
		std, _ := testIO(t, test.env)
		if got := prepared(t, std, append([]string{"-p", "x", "-t", "ecs"}, test.args...)...).workerOptions(nil, nil, nil).LimitCounts; got != test.want {
			t.Errorf("%v %v: %s", test.env, test.args, got)
		}
	}
}

// TestTheWorkPoolIsAskedFor on a terminal, or when --prompt says so.
func TestTheWorkPoolIsAskedFor(t *testing.T) {
	for _, test := range []struct {
		terminal, in bool
		prompt       string // of the command line
		setting      string
		typed        string
		want         string // "" is the error
	}{
		{true, true, "", "", "pool\nmore", "pool"},
		{true, true, "", "", " pool \r\n", "pool"},
		{true, true, "", "", "", ""},
		{true, false, "", "", "pool\n", ""},
		{false, true, "", "", "pool\n", ""},
		{true, true, "false", "", "pool\n", ""},
		{true, true, "", "False", "pool\n", ""},
		{false, false, "true", "False", "pool\n", "pool"},
		{false, false, "", "True", "pool\n", "pool"},
	} {
		std, talk := testIO(t, map[string]string{})
		std.In, std.IsTerminal, std.InIsTerminal = strings.NewReader(test.typed), test.terminal, test.in
		f := workerFlags{prompt: test.prompt}
		err := f.askPool(std, test.setting)
		var problem *UserError
		switch {
		case test.want != "" && (err != nil || f.pool != test.want || !strings.Contains(talk.String(), "Work pool name: ")):
			t.Errorf("%+v: %q, %v, said %q", test, f.pool, err, talk)
		case test.want == "" && (!errors.As(err, &problem) || problem.Message != "Missing required option '--pool' / '-p'." || problem.Code != exitFailed):
			t.Errorf("%+v: %q, %v", test, f.pool, err)
		}
	}
}

func TestAMachineWithoutARegionMayServeECS(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none} {
		t.Setenv(name, value)
	}
	std, _ := testIO(t, map[string]string{"PREFECT_API_URL": "http://127.0.0.1:1/api"})
	talk := newWatched("No AWS region is configured")
	std.Err = talk // the launcher looks for its queue meanwhile, and says so
	launcher, err := prepared(t, std, "-p", "x", "-t", "ecs").newLauncher(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = launcher.Close(0) }()
	if text := talk.String(); !strings.Contains(text, "No AWS region is configured") || !strings.Contains(text, "AWS_REGION") {
		t.Errorf("said %q", text)
	}
	_, err = launcher.Find(t.Context(), launch.Pool{ID: "pool", Name: "pool"})
	if err == nil || !strings.Contains(err.Error(), "You must specify a region") {
		t.Errorf("where one is needed: %v", err)
	}
}

func TestWorkerStartTakesTheEnvironment(t *testing.T) {
	env := map[string]string{
		"FABER_WORK_POOL": "pool", "FABER_WORKER_TYPE": "process", "FABER_WORKER_NAME": "w", "FABER_LIMIT": "7",
		"FABER_WITH_HEALTHCHECK": "true", "FABER_API_KEY_SECRET_ARN": "arn", "FABER_API_AUTH_STRING_SECRET_ARN": "other arn", "FABER_REFUSE_PLAINTEXT_CREDENTIALS": "true",
		"PREFECT_WORKER_PREFETCH_SECONDS": "33",
		"PREFECT_API_URL":                 "http://127.0.0.1:1/api",
	}
	std, _ := testIO(t, env)
	start := func(args ...string) *workerStart {
		t.Helper()
		return prepared(t, std, args...)
	}
	f := start().flags
	if f.pool != "pool" || f.typ != "process" || f.name != "w" || f.limit != 7 || !f.healthcheck || f.keySecretARN != "arn" || f.authSecretARN != "other arn" || !f.refusePlaintext || f.prefetch != 33 {
		t.Errorf("flags %+v", f)
	}
	env["FABER_EVENTS_QUEUE"] = "ours"
	f = start("-p", "other", "--limit", "3", "--no-with-healthcheck", "--no-create-pool-if-not-found", "--prefetch-seconds", "5", "-q", "a", "-q", "b").flags
	if f.pool != "other" || f.limit != 3 || f.healthcheck || f.createPool || f.prefetch != 5 || len(f.queues) != 2 || f.eventsQueue != "ours" {
		t.Errorf("flags %+v", f)
	}
}

func TestEveryFlagOfWorkerStartHasHelp(t *testing.T) {
	std, talk := testIO(t, map[string]string{})
	if code := Main(t.Context(), []string{"worker", "start", "--help"}, std); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	for flag := range strings.FieldsSeq("--name --pool --work-queue --type --prefetch-seconds --run-once --limit --with-healthcheck --install-policy --base-job-template --create-pool-if-not-found --profile --submit-limit --events-queue --api-key-secret-arn --api-auth-string-secret-arn --refuse-plaintext-credentials --log-format --limit-counts --prompt -n, -p, -q, -t, -l,") {
		if !strings.Contains(talk.String(), flag) {
			t.Errorf("no %s in the help", flag)
		}
	}
}

func TestARefusedKeyEndsTheWorkerAtOnce(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"detail":"Unauthorized"}`, http.StatusUnauthorized)
	}))
	defer server.Close()
	std, talk := testIO(t, map[string]string{"PREFECT_API_URL": server.URL + "/api", "PREFECT_API_KEY": "pnu_secret"})
	begin := time.Now()
	code := Main(t.Context(), strings.Fields("worker start -p x -t process -n w"), std)
	if code != exitUnauthorised {
		t.Errorf("exit code %d: %s", code, talk)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if text := talk.String(); strings.Count(text, "error:") != 1 || strings.Contains(text, "pnu_secret") {
		t.Errorf("said %q", text)
	}
}

func TestAnUnreachableAPIIsWaitedFor(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close() // nobody listens there now
	std, _ := testIO(t, map[string]string{"PREFECT_API_URL": "http://" + addr + "/api"})
	talk := newWatched("keep attempting to connect")
	std.Err = talk
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- Main(ctx, strings.Fields("worker start -p x -t process -n w"), std) }()
	select {
	case <-talk.seen:
	case code := <-ended:
		t.Fatalf("ended with %d: %s", code, talk)
	case <-time.After(20 * time.Second):
		t.Fatalf("no warning: %s", talk)
	}
	stop()
	if code := <-ended; code != exitOK && code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, talk)
	}
}

func TestWorkerHealth(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	for _, tt := range []struct {
		status, code int
		args         []string
		env          map[string]string
	}{
		{200, exitOK, []string{"--port", strconv.Itoa(port)}, map[string]string{}},
		{200, exitOK, nil, map[string]string{"PREFECT_WORKER_WEBSERVER_PORT": strconv.Itoa(port)}},
		{503, exitFailed, []string{"--port", strconv.Itoa(port)}, map[string]string{}},
		{200, exitFailed, []string{"--port", "1"}, map[string]string{}},
	} {
		status = tt.status
		std, talk := testIO(t, tt.env)
		if code := Main(t.Context(), append([]string{"worker", "health"}, tt.args...), std); code != tt.code {
			t.Errorf("%+v: exit code %d: %s", tt, code, talk)
		}
	}
}
