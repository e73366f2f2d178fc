package awsfront

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"faber/internal/front"
)

func TestBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuotas(Quotas{QuotaRunTask: {Burst: 10, Rate: 2}, QuotaLaunches: {Burst: 5, Rate: 1}, QuotaStopTask: {}}, time.Now)
		runTask := front.Op{Service: "ecs", Operation: "RunTask"}
		granted := func(op front.Op, tries int) int {
			n := 0
			for range tries {
				if q.admit(op) == "" {
					n++
				}
			}
			return n
		}
		for _, tt := range []struct {
			after time.Duration
			want  int
		}{{0, 10}, {0, 0}, {time.Second, 2}, {250 * time.Millisecond, 0}, {250 * time.Millisecond, 1}, {time.Hour, 10}} {
			time.Sleep(tt.after)
			if n := granted(runTask, 30); n != tt.want {
				t.Errorf("after %v: %d calls, want %d", tt.after, n, tt.want)
			}
		}
		if n := granted(front.Op{Service: "ecs", Operation: "StopTask"}, 50); n != 50 {
			t.Errorf("without a quota: %d of 50", n)
		}
		if n := granted(front.Op{Service: "ecs", Operation: "DescribeServices"}, 50); n != 50 {
			t.Errorf("what has no quota: %d of 50", n)
		}
		for _, tt := range []struct {
			l    launches
			want string
		}{{launches{count: 3}, ""}, {launches{count: 3}, "quota launches"}, {launches{count: 2}, ""}, {launches{count: 3, spot: true}, ""}} {
			if got := q.launch(tt.l); got != tt.want {
				t.Errorf("%+v: %q, want %q", tt.l, got, tt.want)
			}
		}
		q.set(nil)
		if n := granted(runTask, 50); n != 50 {
			t.Errorf("with quotas off: %d of 50", n)
		}
	})
}

func TestLaunchesOf(t *testing.T) {
	for body, want := range map[string]launches{
		`{}`: {count: 1}, `{"count":3}`: {count: 3}, `{"count":0}`: {}, `nonsense`: {count: 1},
		`{"capacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":1}]}`:   {count: 1, spot: true},
		`{"capacityProviderStrategy":[{"capacityProvider":"FARGATE"}],"launchType":null}`: {count: 1},
	} {
		if got := launchesOf([]byte(body)); got != want {
			t.Errorf("%s: %+v", body, got)
		}
	}
}

func throttledError(err error) bool {
	var refused smithy.APIError
	return errors.As(err, &refused) && refused.ErrorCode() == "ThrottlingException" && refused.ErrorMessage() == "Rate exceeded"
}

func TestQuotasAreKept(t *testing.T) {
	s := newSDKStack(t, Options{Quotas: Quotas{QuotaRunTask: {Burst: 3}, QuotaLaunches: {Burst: 2}, QuotaTaskReads: {Burst: 2}}})
	arn := s.run(t, runA)
	s.run(t, runB)
	_, err := s.ecs.RunTask(t.Context(), runInput("c"))
	if !throttledError(err) {
		t.Errorf("a third launch of two: %v", err)
	}
	if _, err = s.ecs.RunTask(t.Context(), runInput(runA)); !throttledError(err) {
		t.Errorf("a fourth call of three: %v", err)
	}
	s.describe(t, arn)
	s.listed(t)
	if _, err = s.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: []string{arn}}); !throttledError(err) {
		t.Errorf("a third read of two: %v", err)
	}
	calls := s.calls(front.Query{Status: 400})
	if len(calls) != 3 || calls[0].Fault != "quota launches" || calls[1].Fault != "quota RunTask" || calls[2].Fault != "quota task-reads" || calls[0].Effect != front.EffectNo {
		t.Errorf("ledger: %+v", calls)
	}
	// A token that was refused has had no effect: it is good again.
	s.front.SetQuotas(nil)
	s.run(t, "c")
	if n := len(s.aws.Tasks()); n != 3 {
		t.Errorf("%d tasks", n)
	}
}

func TestRegistrationsAtOnce(t *testing.T) {
	s := newFakeStack(t, Options{Quotas: Published()})
	arrived, proceed := make(chan struct{}, 2), make(chan struct{})
	s.ministack.on("RegisterTaskDefinition", func(in map[string]any) (int, any) {
		if in["family"] == "f" {
			arrived <- struct{}{}
			<-proceed
		}
		return 200, map[string]any{}
	})
	done := make(chan int, 1)
	go func() {
		status, _ := s.call(t, "ecs", ecsTarget+"RegisterTaskDefinition", `{"family":"f"}`)
		done <- status
	}()
	<-arrived
	status, out := s.call(t, "ecs", ecsTarget+"RegisterTaskDefinition", `{"family":"f"}`)
	if status != 400 || out["__type"] != "ClientException" || out["message"] != "Too many concurrent attempts to create a new revision of the specified family." {
		t.Errorf("two at once: %d %v", status, out)
	}
	if status, out := s.call(t, "ecs", ecsTarget+"RegisterTaskDefinition", `{"family":"g"}`); status != 200 {
		t.Errorf("another family: %d %v", status, out)
	}
	close(proceed)
	if status := <-done; status != 200 {
		t.Errorf("the first: %d", status)
	}
	if status, out := s.call(t, "ecs", ecsTarget+"RegisterTaskDefinition", `{"family":"f"}`); status != 200 {
		t.Errorf("one after the other: %d %v", status, out)
	}
}

func TestDoor(t *testing.T) {
	f := New(Options{})
	defer f.Close()
	ask := func(method, path, body string) string {
		w := httptest.NewRecorder()
		f.Handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		text, _ := io.ReadAll(w.Body)
		return strings.TrimSpace(fmt.Sprint(w.Code, " ", string(text)))
	}
	for _, tt := range []struct{ method, path, body, want string }{
		{"GET", "/_front/quotas", "", `200 {"quotas":null}`},
		{"POST", "/_front/quotas", `{"RunTsk":{"burst":1}}`, `400 `},
		{"POST", "/_front/quotas", `{"RunTask":{"burst":-1}}`, `400 `},
		{"POST", "/_front/quotas", `{"RunTask":{"brst":1}}`, `400 `},
		{"GET", "/_front/quotas", "", `200 {"quotas":null}`},
		{"POST", "/_front/quotas", `{"RunTask":{"burst":10,"rate":2}}`, `200 `},
		{"GET", "/_front/missing", "", `200 {"for":"0s"}`},
		{"PUT", "/_front/missing", `{"for":"-1s"}`, `400 `},
		{"PUT", "/_front/missing", `{"for":"forever"}`, `400 `},
		{"PUT", "/_front/missing", `{"for":"90s"}`, `200 {"for":"1m30s"}`},
	} {
		if got := ask(tt.method, tt.path, tt.body); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s %s %s: %s, want %s", tt.method, tt.path, tt.body, got, tt.want)
		}
	}
	if q := f.Quotas(); q[QuotaRunTask] != (Quota{10, 2}) || q[QuotaLaunches] != (Quota{100, 20}) || f.MissingFor() != 90*time.Second {
		t.Errorf("quotas %v, missing for %v", q, f.MissingFor())
	}
	if got := ask(http.MethodDelete, "/_front/quotas", ""); got != "204" || f.Quotas() != nil {
		t.Errorf("off: %s %v", got, f.Quotas())
	}
}

func TestThrottleInEachServicesWords(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{Throttle: true})
	_, err := s.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{})
	if !throttledError(err) {
		t.Errorf("ECS: %v", err)
	}
	_, err = s.sqs.ReceiveMessage(t.Context(), receiveInput(s.queue, 0))
	var refused smithy.APIError
	if !errors.As(err, &refused) || refused.ErrorCode() != "RequestThrottled" {
		t.Errorf("SQS: %v", err)
	}
	s.front.Faults().Clear()
	s.add(t, front.Fault{Operation: "RunTask", Throttle: true, Code: "InvalidParameterException", Message: "Rate exceeded, wrapped"})
	_, err = s.ecs.RunTask(t.Context(), runInput(runA))
	var wrapped *types.InvalidParameterException
	if !errors.As(err, &wrapped) || aws.ToString(wrapped.Message) != "Rate exceeded, wrapped" {
		t.Errorf("in other words: %v", err)
	}
}
