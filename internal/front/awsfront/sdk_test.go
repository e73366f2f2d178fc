package awsfront

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"faber/internal/fake/fakeaws"
	"faber/internal/front"
)

const (
	runA = "aaaaaaaa-1111-4111-8111-111111111111"
	runB = "bbbbbbbb-1111-4111-8111-111111111111"
)

// sdkStack is the front, without its watch, before an upstream that knows only
// what faber calls, and the SDK's clients on it.
type sdkStack struct {
	aws   *fakeaws.Server
	front *Front
	ecs   *ecs.Client
	sqs   *sqs.Client
	queue string
}

func newSDKStack(t *testing.T, o Options, faults ...front.Fault) *sdkStack {
	t.Helper()
	s := &sdkStack{aws: fakeaws.New(t)}
	upstream, err := url.Parse(s.aws.URL)
	if err != nil {
		t.Fatal(err)
	}
	o.Ministack, o.Region, o.AccountID = upstream, fakeaws.Region, fakeaws.Account
	s.front = New(o)
	srv := httptest.NewServer(s.front.Handler())
	transport := &ownBodies{}
	client := &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.front.Close()
		srv.Close()
	})
	creds := credentials.NewStaticCredentialsProvider("AKIATEST", "test", "")
	s.ecs = ecs.New(ecs.Options{Region: fakeaws.Region, Credentials: creds, BaseEndpoint: &srv.URL, HTTPClient: client, RetryMaxAttempts: 1})
	s.sqs = sqs.New(sqs.Options{Region: fakeaws.Region, Credentials: creds, BaseEndpoint: &srv.URL, HTTPClient: client, RetryMaxAttempts: 1})
	s.queue = s.aws.AddQueue("events")
	s.aws.EventsTo("events")
	s.aws.PutDefinition(map[string]any{
		"family": "f", "networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": []any{"FARGATE"},
		"containerDefinitions": []any{map[string]any{"name": "prefect", "image": "i", "essential": true}, map[string]any{"name": "sidecar", "image": "i"}},
	})
	s.add(t, faults...)
	return s
}

// ownBodies sends bodies that nobody else can close. The SDK closes a request's
// body when it has the answer; on loopback that can be before the transport has
// looked for the body's end, and the transport then takes the closed body for a
// failed request and drops the connection with the answer in it.
type ownBodies struct{ http.Transport }

// RoundTrip makes the call.
func (o *ownBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(data))
	return o.Transport.RoundTrip(r)
}

func (s *sdkStack) add(t *testing.T, faults ...front.Fault) {
	t.Helper()
	if _, err := s.front.Faults().Add(faults...); err != nil {
		t.Fatal(err)
	}
}

func runInput(run string) *ecs.RunTaskInput {
	return &ecs.RunTaskInput{
		TaskDefinition: aws.String("f"), LaunchType: types.LaunchTypeFargate, ClientToken: aws.String(run), StartedBy: aws.String("faber/pool"),
		NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-a"}}},
		Overrides: &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{
			Name: aws.String("prefect"), Environment: []types.KeyValuePair{{Name: aws.String("PREFECT__FLOW_RUN_ID"), Value: &run}},
		}}},
	}
}

// run starts a task for a flow run and returns its ARN.
func (s *sdkStack) run(t *testing.T, run string) string {
	t.Helper()
	out, err := s.ecs.RunTask(t.Context(), runInput(run))
	if err != nil || len(out.Tasks) != 1 {
		t.Fatalf("run %s: %v %v", run, out, err)
	}
	return *out.Tasks[0].TaskArn
}

// describe returns the task, or nil when it is MISSING.
func (s *sdkStack) describe(t *testing.T, arn string) *types.Task {
	t.Helper()
	out, err := s.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: []string{arn}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Tasks) == 1 && len(out.Failures) == 0 {
		return &out.Tasks[0]
	}
	if len(out.Tasks) != 0 || len(out.Failures) != 1 || aws.ToString(out.Failures[0].Reason) != "MISSING" || aws.ToString(out.Failures[0].Arn) != arn {
		t.Fatalf("describe %s: %+v", arn, out)
	}
	return nil
}

func (s *sdkStack) listed(t *testing.T) []string {
	t.Helper()
	out, err := s.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{})
	if err != nil {
		t.Fatal(err)
	}
	return out.TaskArns
}

// receive makes one call, as a worker does, and leaves the messages in flight.
func (s *sdkStack) receive(t *testing.T, wait int32) []sqstypes.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := s.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &s.queue, MaxNumberOfMessages: 10, WaitTimeSeconds: wait})
	if err != nil {
		t.Fatal(err)
	}
	return out.Messages
}

func (s *sdkStack) calls(q front.Query) []front.Call { return s.front.Ledger().Calls(q) }

// awaitStop waits until the upstream is asked to stop a task.
func (s *sdkStack) awaitStop(t *testing.T) <-chan struct{} {
	t.Helper()
	asked := make(chan struct{}, 10)
	s.aws.Hook(func(c fakeaws.Call) {
		if c.Op == "StopTask" {
			asked <- struct{}{}
		}
	})
	return asked
}
