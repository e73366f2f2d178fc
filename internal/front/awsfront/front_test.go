package awsfront

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"faber/internal/front"
)

func TestRouting(t *testing.T) {
	s := newFakeStack(t, Options{})
	signed := func(service string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=1/2/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
		}
	}
	presigned := func(service string) func(*http.Request) {
		return func(r *http.Request) {
			r.URL.RawQuery = url.Values{"X-Amz-Credential": {"1/2/us-east-1/" + service + "/aws4_request"}}.Encode()
		}
	}
	for _, tt := range []struct {
		path string
		sign func(*http.Request)
		want *fakeAWS
		op   front.Op
	}{
		{"/", signed("ecs"), s.ministack, front.Op{Service: "ecs", Operation: "GET /"}},
		{"/bucket/key", signed("s3"), s.ministack, front.Op{Service: "s3", Operation: "GET /bucket/key"}},
		{"/", signed("application-autoscaling"), s.moto, front.Op{Service: "application-autoscaling", Operation: "GET /"}},
		{"/", signed("codepipeline"), s.moto, front.Op{Service: "codepipeline", Operation: "GET /"}},
		{"/", signed("monitoring"), s.moto, front.Op{Service: "monitoring", Operation: "GET /"}},
		{"/", presigned("codepipeline"), s.moto, front.Op{Service: "codepipeline", Operation: "GET /"}},
		{"/x", presigned("s3"), s.ministack, front.Op{Service: "s3", Operation: "GET /x"}},
		{"/v4/token/task", nil, s.ministack, front.Op{Service: "metadata", Operation: "GET /v4/token/task"}},
		{"/v2/credentials/id", nil, s.ministack, front.Op{Service: "credentials", Operation: "GET /v2/credentials/id"}},
		{"/_ministack/health", nil, s.ministack, front.Op{Service: "ministack", Operation: "GET /_ministack/health"}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "queue.example"
		if tt.sign != nil {
			tt.sign(req)
		}
		before := tt.want.count(tt.op.Operation)
		res, err := s.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusTeapot || !strings.Contains(string(body), "GET "+tt.path) || !strings.Contains(string(body), "host=queue.example") {
			t.Errorf("%s: %d %s", tt.path, res.StatusCode, body)
		}
		if tt.want.count(tt.op.Operation) != before+1 {
			t.Errorf("%s of %s went to the other emulator", tt.path, tt.op.Service)
		}
		calls := s.front.Ledger().Calls(front.Query{})
		if last := calls[len(calls)-1]; (front.Op{Service: last.Service, Operation: last.Operation}) != tt.op {
			t.Errorf("ledger has %s %s, want %v", last.Service, last.Operation, tt.op)
		}
	}
}

func TestWithoutMoto(t *testing.T) {
	ms := newFakeAWS(t)
	f := New(Options{Ministack: ms.url, AccountID: "123456789012", Region: "us-east-1"})
	defer f.Close()
	for service, want := range map[string]int{"monitoring": http.StatusTeapot, "codepipeline": http.StatusNotImplemented} {
		req := httptest.NewRequest("POST", "/", nil)
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=1/2/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
		w := httptest.NewRecorder()
		f.Handler().ServeHTTP(w, req)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", service, w.Code, want)
		}
	}
}

func TestHealthAndInjectedErrors(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.says("GET /_ministack/health", `{}`)
	s.moto.says("GET /moto-api/", `{}`)
	res, err := s.http.Get(s.url + "/_front/health")
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("health: %v %v", res, err)
	}
	_ = res.Body.Close()
	if _, err := s.front.Faults().Add(front.Fault{Service: "ecs", Operation: "DescribeTasks", Code: "ThrottlingException", Message: "Rate exceeded"}); err != nil {
		t.Fatal(err)
	}
	status, out := s.call(t, "ecs", ecsTarget+"DescribeTasks", `{}`)
	if status != 400 || out["__type"] != "ThrottlingException" || out["message"] != "Rate exceeded" {
		t.Errorf("throttled: %d %v", status, out)
	}
	for service, want := range map[string]string{
		"ec2": "<Response><Errors><Error><Code>Throttled</Code><Message>slow</Message></Error></Errors>",
		"iam": "<ErrorResponse><Error><Type>Receiver</Type><Code>Throttled</Code><Message>slow</Message></Error>",
		"s3":  "<Error><Code>Throttled</Code><Message>slow</Message>",
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=1/2/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
		w := httptest.NewRecorder()
		refuse(w, r, front.Op{}, front.Fault{Status: 503, Code: "Throttled", Message: "slow"})
		if w.Code != 503 || !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("%s: %d %s", service, w.Code, w.Body)
		}
	}
}

func TestEmulatorAway(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.url.Host = "127.0.0.1:1"
	for _, operation := range []string{"ListTasks", "RunTask"} {
		if status, out := s.call(t, "ecs", ecsTarget+operation, `{}`); status != http.StatusBadGateway || out["__type"] != "ServiceUnavailable" {
			t.Errorf("%s: %d %v", operation, status, out)
		}
	}
}

func TestRunTaskLimits(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.says("RunTask", `{"tasks":[],"failures":[]}`)
	// {"cpu":"…"} has ten characters beside the dots.
	overrides := func(n int) string { return fmt.Sprintf(`{"overrides":{"cpu":"%s"}}`, strings.Repeat("é", n-10)) }
	for body, want := range map[string]string{
		overrides(8192): "", overrides(8193): "Container Overrides length must be at most 8192",
		`{"startedBy":"` + strings.Repeat("a", 128) + `"}`: "", `{"startedBy":"` + strings.Repeat("a", 129) + `"}`: "startedBy longer than 128.",
		`{"startedBy":"faber/a-b_c"}`: "", `{"startedBy":"a b"}`: "startedBy contains invalid characters.",
		`{"clientToken":"` + strings.Repeat("a", 65) + `"}`: "clientToken longer than 64.",
	} {
		status, out := s.call(t, "ecs", ecsTarget+"RunTask", body)
		if want == "" {
			if status != 200 {
				t.Errorf("%.40s…: %d %v", body, status, out)
			}
			continue
		}
		if status != 400 || out["__type"] != "InvalidParameterException" || out["message"] != want {
			t.Errorf("%.40s…: %d %v, want %q", body, status, out, want)
		}
	}
	if n := s.ministack.count("RunTask"); n != 3 {
		t.Errorf("%d calls passed, want 3", n)
	}
}

// startsTasks makes RunTask start a new task each time.
func (e *fakeAWS) startsTasks() {
	n := 0
	e.on("RunTask", func(map[string]any) (int, any) {
		n++
		return 200, map[string]any{"tasks": []any{map[string]any{"taskArn": fmt.Sprintf("arn:aws:ecs:us-east-1:123456789012:task/c/%d", n)}}, "failures": []any{}}
	})
}

func TestClientToken(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.startsTasks()
	run := func(body string) (int, string) {
		t.Helper()
		status, out := s.call(t, "ecs", ecsTarget+"RunTask", body)
		data, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		return status, string(data)
	}
	_, first := run(`{"clientToken":"t","cluster":"c","count":1,"tags":[{"key":"w","value":"a"}]}`)
	// The same, by the cluster's ARN in another order: cluster is a parameter
	// too, so that only the order may differ.
	if _, again := run(`{"count":1,"cluster":"c","tags":[{"value":"a","key":"w"}],"clientToken":"t"}`); again != first {
		t.Errorf("again: %s, want %s", again, first)
	}
	status, conflict := run(`{"clientToken":"t","cluster":"c","count":1,"tags":[{"key":"w","value":"b"}]}`)
	if status != 400 || !strings.Contains(conflict, `"ConflictException"`) || !strings.Contains(conflict, `"resourceIds":["arn:aws:ecs:us-east-1:123456789012:task/c/1"]`) {
		t.Errorf("other parameters: %d %s", status, conflict)
	}
	if _, other := run(`{"clientToken":"t","cluster":"d","count":1}`); other == first {
		t.Error("the token reached into another cluster")
	}
	if n := s.ministack.count("RunTask"); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

func TestClientTokenAfterRefusal(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.on("RunTask", func(map[string]any) (int, any) {
		return 400, map[string]any{"__type": "ClientException", "message": "no definition"}
	})
	body := `{"clientToken":"t","cluster":"c"}`
	if status, _ := s.call(t, "ecs", ecsTarget+"RunTask", body); status != 400 {
		t.Fatalf("refused with %d", status)
	}
	s.ministack.says("RunTask", `{"tasks":[],"failures":[{"reason":"Capacity is unavailable at this time."}]}`)
	for range 2 {
		if status, out := s.call(t, "ecs", ecsTarget+"RunTask", body); status != 200 || len(out["failures"].([]any)) != 1 {
			t.Fatalf("failures are the answer, and stay it: %d %v", status, out)
		}
	}
	if n := s.ministack.count("RunTask"); n != 2 {
		t.Errorf("%d calls, want 2: a refusal took no effect, failures did", n)
	}
}

func TestClientTokenWhenReplyIsLost(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.startsTasks()
	if _, err := s.front.Faults().Add(front.Fault{Operation: "RunTask", Count: 1, Drop: front.DropReply}); err != nil {
		t.Fatal(err)
	}
	body := `{"clientToken":"t","cluster":"c"}`
	if res, err := s.http.Do(s.request(t, "ecs", ecsTarget+"RunTask", body)); err == nil {
		_ = res.Body.Close()
		t.Fatal("the reply was not lost")
	}
	if status, out := s.call(t, "ecs", ecsTarget+"RunTask", body); status != 200 || !strings.HasSuffix(fmt.Sprint(out["tasks"]), "task/c/1]]") {
		t.Errorf("after the lost reply: %d %v", status, out)
	}
	if n := s.ministack.count("RunTask"); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestClientTokenWhenCallerLeaves(t *testing.T) {
	s := newFakeStack(t, Options{})
	arrived, proceed := make(chan struct{}), make(chan struct{})
	s.ministack.on("RunTask", func(map[string]any) (int, any) {
		close(arrived)
		<-proceed
		return 200, json.RawMessage(`{"tasks":[{"taskArn":"arn:aws:ecs:us-east-1:123456789012:task/c/1"}],"failures":[]}`)
	})
	body := `{"clientToken":"t","cluster":"c"}`
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		res, err := s.http.Do(s.request(t, "ecs", ecsTarget+"RunTask", body).WithContext(ctx))
		if err == nil {
			_ = res.Body.Close()
		}
		left <- err
	}()
	<-arrived
	cancel()
	if err := <-left; err == nil {
		t.Error("the caller did not leave")
	}
	close(proceed)
	if status, _ := s.call(t, "ecs", ecsTarget+"RunTask", body); status != 200 || s.ministack.count("RunTask") != 1 {
		t.Errorf("%d after %d calls, want the first answer again", status, s.ministack.count("RunTask"))
	}
}

func TestClientTokenAtOnce(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.startsTasks()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { s.call(t, "ecs", ecsTarget+"RunTask", `{"clientToken":"t","cluster":"c"}`) })
	}
	wg.Wait()
	if n := s.ministack.count("RunTask"); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestTokenLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTokens(time.Now)
		calls := 0
		once := func(token, task string) {
			body := `{"tasks":[{"taskArn":"` + task + `"}]}`
			if task == "" {
				body = `{"tasks":[]}`
			}
			_, err := store.once(tokenKey{token: token}, "same", func() (*answer, error) {
				calls++
				return &answer{status: 200, body: []byte(body)}, nil
			}, func(first *answer, _ []string) *answer { return first })
			if err != nil {
				t.Fatal(err)
			}
		}
		after := func(d time.Duration, token, task string, want int) {
			t.Helper()
			time.Sleep(d)
			calls = 0
			once(token, task)
			if calls != want {
				t.Errorf("%s: %d calls, want %d", token, calls, want)
			}
		}
		once("runs on", "arn:1")
		after(24*time.Hour, "runs on", "arn:1", 0)
		after(time.Second, "runs on", "arn:1", 1)
		once("stops", "arn:2")
		store.stopped("arn:2")
		after(time.Hour, "stops", "arn:2", 0)
		after(time.Second, "stops", "arn:2", 1)
		once("starts nothing", "")
		after(time.Hour, "starts nothing", "", 0)
		after(time.Second, "starts nothing", "", 1)
		if n := len(store.seen); n > 3 {
			t.Errorf("%d tokens are kept", n)
		}
	})
}

func TestServicesAreMerged(t *testing.T) {
	s := newFakeStack(t, Options{})
	told := `{"serviceName":"w","clusterArn":"arn:aws:ecs:us-east-1:123456789012:cluster/c","launchType":"EC2","runningCount":12345678901,"enableExecuteCommand":false}`
	s.ministack.says("CreateService", `{"service":`+told+`}`)
	s.ministack.says("UpdateService", `{"service":`+told+`}`)
	s.ministack.says("DeleteService", `{"service":`+told+`}`)
	s.ministack.says("DescribeServices", `{"services":[`+told+`],"failures":[]}`)
	describe := func() map[string]any {
		t.Helper()
		_, out := s.call(t, "ecs", ecsTarget+"DescribeServices", `{"cluster":"c","services":["w"]}`)
		return out["services"].([]any)[0].(map[string]any)
	}
	if got := describe(); got["launchType"] != "EC2" || got["runningCount"] != 12345678901.0 {
		t.Errorf("a service made elsewhere changes: %v", got)
	}
	_, created := s.call(t, "ecs", ecsTarget+"CreateService", `{"cluster":"c","serviceName":"w","desiredCount":1,"capacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":1}],"availabilityZoneRebalancing":"ENABLED","healthCheckGracePeriodSeconds":30}`)
	s.call(t, "ecs", ecsTarget+"UpdateService", `{"cluster":"arn:aws:ecs:us-east-1:123456789012:cluster/c","service":"arn:aws:ecs:us-east-1:123456789012:service/c/w","enableExecuteCommand":true,"platformVersion":null}`)
	got := describe()
	want := map[string]string{"availabilityZoneRebalancing": "ENABLED", "healthCheckGracePeriodSeconds": "30", "enableExecuteCommand": "true", "launchType": "<nil>", "platformVersion": "LATEST", "desiredCount": "<nil>", "runningCount": "1.2345678901e+10"}
	for name, value := range want {
		if fmt.Sprint(got[name]) != value {
			t.Errorf("%s is %v, want %s", name, got[name], value)
		}
	}
	if s := created["service"].(map[string]any); s["availabilityZoneRebalancing"] != "ENABLED" || s["launchType"] != nil {
		t.Errorf("created: %v", s)
	}
	s.call(t, "ecs", ecsTarget+"DeleteService", `{"cluster":"c","service":"w"}`)
	if got := describe(); got["availabilityZoneRebalancing"] != nil || got["launchType"] != "EC2" {
		t.Errorf("a deleted service lives on: %v", got)
	}
}

func TestRoutesNameEmulators(t *testing.T) {
	for _, r := range routes() {
		if r.why == "" || !slices.Contains([]upstream{ministack, moto}, r.to) {
			t.Errorf("route %+v", r)
		}
	}
}
