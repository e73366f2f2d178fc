package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/fakeprefect"

	"github.com/spf13/cobra"
)

// canaries are credentials of every kind that a worker meets, by where they come from.
// Each holds the word that is looked for.
var canaries = map[string]string{
	"API key":                "pnu_0kanarieKEY",
	"auth string":            "admin:1kanarieAUTH",
	"header":                 "Bearer 2kanarieHEADER",
	"AWS secret key":         "3kanarieAWS/secret+key",
	"AWS session token":      "4kanarieAWStoken==",
	"key of the block":       "5kanarieBLOCK/secret+key",
	"token of the block":     "6kanarieBLOCKtoken==",
	"Secret block":           "7kanarie \"SECRET\" <block> & \\ more",
	"variable of the run":    "8kanariePASSWORD of the run",
	"variable of the worker": "9kanarieTOKEN of the worker",
}

const canaryWord = "kanarie"

// echo is what a server says that repeats all it was sent, in several spellings.
func echo() string {
	names := make([]string, 0, len(canaries))
	for name := range canaries {
		names = append(names, name)
	}
	slices.Sort(names)
	var parts []string
	for _, name := range names {
		value := canaries[name]
		encoded, _ := json.Marshal(value)
		parts = append(parts, value, fmt.Sprintf("%q", value), string(encoded), url.QueryEscape(value))
	}
	basic := base64.StdEncoding.EncodeToString([]byte(canaries["auth string"]))
	return "you sent: " + strings.Join(parts, " and ") + " and Authorization: Basic " + basic
}

// isCanary reports a text that holds a canary in any spelling.
func isCanary(text string) bool {
	return strings.Contains(text, canaryWord) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(canaries["auth string"])))
}

// mirror stands before the Prefect server and repeats what it was sent to where it is
// told so, as an error.
type mirror struct {
	real  http.Handler
	paths atomic.Pointer[map[string]int] // status by what a path contains
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if paths := m.paths.Load(); paths != nil {
		for part, status := range *paths {
			if !strings.Contains(r.URL.Path, part) {
				continue
			}
			request, _ := httputil.DumpRequest(r, true)
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]string{"detail": echo()[:min(400, len(echo()))], "exception_message": string(request[:min(300, len(request))])})
			return
		}
	}
	m.real.ServeHTTP(w, r)
}

func (m *mirror) repeat(paths map[string]int) { m.paths.Store(&paths) }

// TestCanaryCredentials starts a worker with a canary for each credential, lets every
// server repeat them in its errors, and looks for them in everything that the worker
// tells anybody, but for the requests that they are made for.
func TestCanaryCredentials(t *testing.T) {
	for _, logFormat := range []string{"text", "json"} {
		t.Run(logFormat, func(t *testing.T) { canaryECS(t, logFormat) })
	}
}

func canaryECS(t *testing.T, logFormat string) {
	s := newStage(t, "ecs", "{}")
	aws := s.prefect.AddBlock(fakeprefect.Block{Name: "aws", TypeSlug: "aws-credentials", Data: rawObject(map[string]any{
		"aws_access_key_id": "AKIABLOCK", "aws_secret_access_key": canaries["key of the block"], "aws_session_token": canaries["token of the block"], "region_name": "eu-central-1",
	})})
	s.prefect.AddBlock(fakeprefect.Block{Name: "db", TypeSlug: "secret", Data: rawObject(map[string]any{"value": canaries["Secret block"]})})
	variables := rawObject(map[string]any{
		"aws_credentials": map[string]any{"$ref": map[string]any{"block_document_id": aws.ID}},
		"env":             map[string]any{"DATABASE": "{{ prefect.blocks.secret.db }}", "DB_PASSWORD": canaries["variable of the run"]},
	})
	s.deploymentID = s.prefect.AddDeployment(fakeprefect.Deployment{Name: "secret", FlowID: s.flowID, WorkPoolName: "p", JobVariables: variables}).ID
	m := &mirror{real: s.prefect}
	api := httptest.NewServer(m)
	t.Cleanup(api.Close)
	s.aws.AddQueue("events")

	port := freePort(t)
	for name, value := range map[string]string{ // the SDK reads the process's own
		"AWS_ENDPOINT_URL": s.aws.URL, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIAMACHINE", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_SECRET_ACCESS_KEY": canaries["AWS secret key"], "AWS_SESSION_TOKEN": canaries["AWS session token"],
	} {
		t.Setenv(name, value)
	}
	std, _ := testIO(t, canaryEnv(api.URL, port))
	talk := newWatched("Worker 'w' started!")
	std.Err, std.Out = talk, talk
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, strings.Fields("worker start -p p -t ecs -n w --with-healthcheck --events-queue events --log-format "+logFormat), std)
	}()
	<-talk.seen
	defer func() {
		if t.Failed() {
			t.Log(talk)
		}
	}()
	served := canaryRuns(t, s, m, port)
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	sinks := map[string]string{"the log": talk.String()}
	maps.Copy(sinks, served)
	canaryBodies(t, s, sinks)
	masked := 0
	for name, text := range sinks {
		masked += strings.Count(text, "********")
		for line := range strings.Lines(text) {
			if isCanary(line) {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
	if masked < 50 {
		t.Errorf("%d secrets were masked: nothing was repeated", masked)
	}
	var given bool
	for _, body := range s.aws.Bodies("RunTask") {
		given = given || strings.Contains(fmt.Sprint(body), canaries["Secret block"]) && strings.Contains(fmt.Sprint(body), canaries["variable of the run"])
	}
	if !given {
		t.Error("the tasks did not get what they need")
	}
}

func canaryEnv(api, port string) map[string]string {
	return map[string]string{
		"PREFECT_API_URL": api + "/api", "PREFECT_API_KEY": canaries["API key"], "PREFECT_API_AUTH_STRING": canaries["auth string"],
		"PREFECT_CLIENT_CUSTOM_HEADERS": string(rawObject(map[string]any{"X-Gate": canaries["header"]})),
		"PREFECT_LOGGING_LEVEL":         "DEBUG", "PREFECT_WORKER_DEBUG_MODE": "true", "PREFECT_WORKER_QUERY_SECONDS": "0.2",
		"PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1", "PREFECT_WORKER_WEBSERVER_PORT": port, "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.1",
		"PREFECT_CLIENT_MAX_RETRIES": "0",
		"MY_TOKEN":                   canaries["variable of the worker"],
		"AWS_SECRET_ACCESS_KEY":      canaries["AWS secret key"], "AWS_SESSION_TOKEN": canaries["AWS session token"],
	}
}

func rawObject(object map[string]any) json.RawMessage {
	data, _ := json.Marshal(object) // texts have JSON
	return data
}

// canaryRuns takes flow runs through every way in which a server can answer with an
// error, and returns what the worker serves meanwhile.
func canaryRuns(t *testing.T, s *stage, m *mirror, port string) (served map[string]string) {
	t.Helper()
	served = map[string]string{}
	reaches := func(id, name string) {
		t.Helper()
		soon(t, "the run is "+name, func() bool { r, _ := s.prefect.Run(id); return r.StateName == name })
	}
	fault := func(code string) fakeaws.Fault { return fakeaws.Fault{Code: code, Message: echo()} }

	s.aws.Fail("RegisterTaskDefinition", fault("ClientException"))
	reaches(s.run(), "Crashed")
	s.aws.Fail("RunTask", fault("InvalidParameterException"), fault("ServerException"), fault("AccessDeniedException"))
	reaches(s.run(), "Crashed")
	reaches(s.run(), "Crashed")
	s.aws.Failures(fakeaws.Failure{ARN: echo(), Reason: echo(), Detail: echo()})
	id := s.run()
	soon(t, "the run is no longer launched", func() bool {
		r, _ := s.prefect.Run(id)
		return r.StateName == "Crashed" || r.StateName == "AwaitingRetry"
	})
	s.aws.Failures()

	id = s.run()
	soon(t, "a task runs", func() bool { return s.aws.TaskOf(id) != nil })
	soon(t, "it is tracked", func() bool { r, _ := s.prefect.Run(id); return r.InfrastructurePID != nil })
	s.aws.Fail("DescribeTasks", fakeaws.Fault{Code: "ClientException", Message: echo(), Times: 4})
	s.aws.Fail("ReceiveMessage", fakeaws.Fault{Code: "AccessDenied", Message: echo(), Times: 4})
	s.aws.Send("events", echo(), echo())
	m.repeat(map[string]int{"/flow_runs/filter": 500, "/get_scheduled_flow_runs": 418, "/heartbeat": 500, "/labels": 400})
	for _, path := range []string{"/status", "/readyz", "/healthz", "/metrics"} {
		soon(t, path+" is served while all fails", func() bool {
			_, _, body := ask(t, port, path)
			served[path] += body
			return path != "/readyz" || strings.Contains(body, "failed") && strings.Contains(body, "418")
		})
	}
	m.repeat(map[string]int{"/labels": 400})
	reaches(s.run(), "Crashed") // its labels are refused
	m.repeat(nil)
	s.aws.Heal("DescribeTasks")
	task := s.aws.TaskOf(id)
	task.Set("STOPPED", fakeaws.Exit(3), fakeaws.Reason(echo()), fakeaws.ContainerReason("prefect", echo()))
	if group, stream := task.LogOf("prefect"); group != "" {
		s.aws.PutLog(group, stream, echo())
	}
	reaches(id, "Crashed")
	return served
}

// canaryBodies adds what the Prefect server was sent, but for headers.
func canaryBodies(t *testing.T, s *stage, sinks map[string]string) {
	t.Helper()
	add := func(name, text string) { sinks[name] += text + "\n" }
	for _, call := range s.prefect.Calls() {
		add(call.Method+" "+call.Path[:min(12, len(call.Path))], call.Path+" "+string(call.Body))
	}
	for _, event := range s.prefect.Events() {
		add("events", string(event))
	}
	lines := 0
	for _, line := range s.prefect.Logs() {
		lines++
		add("logs of flow runs", line.Message)
	}
	if lines == 0 {
		t.Error("no log reached the server")
	}
}

// TestCanaryInAPanic: what a command panics with is not shown as it is.
func TestCanaryInAPanic(t *testing.T) {
	std, talk := testIO(t, map[string]string{"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_API_KEY": canaries["API key"]})
	root := newRoot(std)
	start, _, err := root.Find([]string{"worker", "start"})
	if err != nil {
		t.Fatal(err)
	}
	run := start.RunE
	start.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithCancel(cmd.Context())
		cancel()
		cmd.SetContext(ctx)
		_ = run(cmd, args)
		panic(fmt.Errorf("send %w", fmt.Errorf("request with key %s", canaries["API key"])))
	}
	root.SetArgs([]string{"worker", "start", "-p", "p", "-t", "process", "-n", "w"})
	if code := execute(t.Context(), root, std); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if isCanary(talk.String()) || !strings.Contains(talk.String(), "panic: send request with key ********\n") || !strings.Contains(talk.String(), "worker_canary_test.go") {
		t.Errorf("told %s", talk)
	}
}
