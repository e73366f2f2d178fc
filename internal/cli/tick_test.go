package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// tickStage is a Prefect API with one pool, and a CloudWatch, as a test has them.
type tickStage struct {
	prefect, cloudwatch http.HandlerFunc

	mu  sync.Mutex
	put []map[string]any
}

func newTickStage() *tickStage {
	s := &tickStage{}
	s.prefect = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/api/work_pools/p":
			fmt.Fprint(w, `{"id":"1","name":"p","type":"ecs","status":"READY"}`)
		case "/api/work_pools/p/queues/filter":
			fmt.Fprint(w, `[{"id":"q","name":"default"}]`)
		case "/api/flow_runs/count":
			n := 0
			for state, runs := range map[string]int{"SCHEDULED": 3, "PENDING": 1, "RUNNING": 2} {
				if strings.Contains(string(body), state) {
					n += runs
				}
			}
			fmt.Fprint(w, n)
		case "/api/flow_runs/filter":
			at, _ := json.Marshal(time.Now().Add(-90 * time.Second))
			fmt.Fprintf(w, `[{"id":"r","next_scheduled_start_time":%s}]`, at)
		default:
			http.Error(w, r.URL.Path, http.StatusNotFound)
		}
	}
	s.cloudwatch = func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		s.mu.Lock()
		s.put = append(s.put, body)
		s.mu.Unlock()
		fmt.Fprint(w, "{}")
	}
	return s
}

// tick runs the command and returns what it printed, in all.
func (s *tickStage) tick(t *testing.T, env map[string]string, args ...string) (string, int) {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.prefect(w, r) }))
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.cloudwatch(w, r) }))
	t.Cleanup(func() {
		api.CloseClientConnections() // of what hangs
		aws.CloseClientConnections()
		api.Close()
		aws.Close()
	})
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": aws.URL, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_MAX_ATTEMPTS": "2",
	} {
		t.Setenv(name, value)
	}
	all := map[string]string{"PREFECT_API_URL": api.URL + "/api", "PREFECT_API_KEY": "pnu_hush0hush"}
	maps.Copy(all, env)
	std, talk := testIO(t, all)
	begun := time.Now()
	code := Main(t.Context(), append([]string{"tick"}, args...), std)
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
	if strings.Contains(talk.String(), "pnu_hush0hush") {
		t.Errorf("the key is printed: %s", talk)
	}
	return talk.String(), code
}

func TestTick(t *testing.T) {
	s := newTickStage()
	text, code := s.tick(t, map[string]string{"FABER_WORK_POOL": "p", "FABER_STACK": "data", "FABER_METRICS_NAMESPACE": "Team/Faber"})
	if code != exitOK || text != "work pool p: 3 due, the oldest for 1m30s; 1 starting, 2 running; published to Team/Faber\n" {
		t.Errorf("exit code %d: %s", code, text)
	}
	if len(s.put) != 1 || s.put[0]["Namespace"] != "Team/Faber" {
		t.Fatalf("%v", s.put)
	}
	got := map[string]string{}
	for _, d := range s.put[0]["MetricData"].([]any) {
		datum := d.(map[string]any)
		got[datum["MetricName"].(string)] = fmt.Sprintf("%.0f %s %v", datum["Value"], datum["Unit"], datum["Dimensions"])
	}
	const of = "[map[Name:Stack Value:data] map[Name:WorkPool Value:p]]"
	for name, want := range map[string]string{"Backlog": "3 Count", "OldestDueAge": "90 Seconds", "StartingRuns": "1 Count", "RunningRuns": "2 Count"} {
		if got[name] != want+" "+of {
			t.Errorf("%s: %s", name, got[name])
		}
	}
	if len(got) != 4 {
		t.Errorf("%v", got)
	}
}

func TestTickFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tickStage)
		env    map[string]string
		args   []string
		code   int
		want   []string
	}{
		"without a pool":    {args: []string{"--stack", "data"}, code: exitUsage, want: []string{"FABER_WORK_POOL"}},
		"without a stack":   {args: []string{"-p", "p"}, code: exitUsage, want: []string{"FABER_STACK"}},
		"namespace of AWS":  {args: []string{"-p", "p", "--stack", "s", "--metrics-namespace", "AWS/ECS"}, code: exitUsage, want: []string{"AWS/"}},
		"no such pool":      {args: []string{"-p", "q", "--stack", "s"}, code: exitFailed, want: []string{"the work pool q does not exist", "hint:"}},
		"key is refused":    {change: func(s *tickStage) { s.prefect = answer(http.StatusUnauthorized) }, code: exitUnauthorised, want: []string{"401", "PREFECT_API_KEY"}},
		"Prefect is broken": {change: func(s *tickStage) { s.prefect = answer(http.StatusInternalServerError) }, code: exitFailed, want: []string{"500", "hint:"}},
		"nobody listens":    {env: map[string]string{"PREFECT_API_URL": "http://127.0.0.1:1/api"}, code: exitFailed, want: []string{"connection refused", "PREFECT_API_URL"}},
		"AWS refuses": {change: func(s *tickStage) {
			s.cloudwatch = func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, `{"__type":"AccessDeniedException","message":"not authorized"}`)
			}
		}, code: exitUnauthorised, want: []string{"cloudwatch:PutMetricData for the namespace Faber"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTickStage()
			if c.change != nil {
				c.change(s)
			}
			if c.args == nil {
				c.args = []string{"--pool", "p", "--stack", "data"}
			}
			text, code := s.tick(t, c.env, c.args...)
			if code != c.code || !strings.HasPrefix(text, "error: ") {
				t.Errorf("exit code %d: %s", code, text)
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in: %s", want, text)
				}
			}
		})
	}
}

func answer(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, `{"detail":"no"}`)
	}
}

// TestTickEndsInTime: whatever hangs, it is over within ten seconds and says what hung.
func TestTickEndsInTime(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for real")
	}
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then is it noticed that the client has gone
		<-r.Context().Done()
	}
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and reads nothing
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	for name, c := range map[string]struct {
		change func(*tickStage)
		env    map[string]string
		want   string
	}{
		"Prefect hangs":       {func(s *tickStage) { s.prefect = hang }, nil, "read work pool p"},
		"CloudWatch hangs":    {func(s *tickStage) { s.cloudwatch = hang }, nil, "put metric data"},
		"Prefect never reads": {func(*tickStage) {}, map[string]string{"PREFECT_API_URL": "http://" + deaf.Addr().String() + "/api"}, "read work pool p"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTickStage()
			c.change(s)
			text, code := s.tick(t, c.env, "--pool", "p", "--stack", "data")
			if code != exitFailed || !strings.Contains(text, c.want) || !strings.Contains(text, "hint:") {
				t.Errorf("exit code %d: %s", code, text)
			}
		})
	}
}
