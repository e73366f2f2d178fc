package awsfront

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/emulator"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

const (
	account = "123456789012"
	region  = "us-east-1"
)

// stack is the front before real emulators, with clients as the product has.
type stack struct {
	front *Front
	url   string
	ecs   *ecs.Client
	sqs   *sqs.Client
}

// startStack starts ministack and moto. Without a container engine ministack
// only marks tasks as running, which is all that is needed here.
func startStack(t *testing.T, duplicateEvery int) *stack {
	t.Helper()
	python := os.Getenv("FABER_TEST_MINISTACK")
	if python == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("FABER_TEST_MINISTACK must name a python that has ministack and moto")
		}
		t.Skip("FABER_TEST_MINISTACK does not name a python that has ministack and moto")
	}
	ministackURL, motoURL := emulator.Ministack(t, python, time.Minute), emulator.Moto(t, python, time.Minute)
	f := New(Options{Ministack: ministackURL, Moto: motoURL, AccountID: account, Region: region, DuplicateEvery: duplicateEvery})
	srv := httptest.NewServer(f.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		srv.Close()
		f.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	creds := credentials.NewStaticCredentialsProvider(account, "test", "")
	return &stack{
		front: f, url: srv.URL,
		ecs: ecs.New(ecs.Options{Region: region, Credentials: creds, BaseEndpoint: &srv.URL, HTTPClient: client, RetryMaxAttempts: 1}),
		sqs: sqs.New(sqs.Options{Region: region, Credentials: creds, BaseEndpoint: &srv.URL, HTTPClient: client}),
	}
}

func eventually(t *testing.T, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not in %s: %s", limit, what)
		}
	}
}

// rule makes a rule from ECS task events of a cluster to a new queue.
func (s *stack) rule(t *testing.T, cluster string) (queueURL string) {
	t.Helper()
	queue, err := s.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("events-" + cluster)})
	if err != nil {
		t.Fatal(err)
	}
	pattern := fmt.Sprintf(`{"source":["aws.ecs"],"detail-type":["ECS Task State Change"],"detail":{"clusterArn":["arn:aws:ecs:%s:%s:cluster/%s"]}}`, region, account, cluster)
	s.call(t, "events", "AWSEvents.PutRule", map[string]any{"Name": "r-" + cluster, "EventPattern": pattern, "State": "ENABLED"})
	s.call(t, "events", "AWSEvents.PutTargets", map[string]any{"Rule": "r-" + cluster, "Targets": []any{
		map[string]any{"Id": "q", "Arn": fmt.Sprintf("arn:aws:sqs:%s:%s:events-%s", region, account, cluster)},
	}})
	return *queue.QueueUrl
}

// call makes a call through the front, for services without a client here.
func (s *stack) call(t *testing.T, service, target string, in any) map[string]any {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := s.front.call(t.Context(), u, service, target, in, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// receive reads so many events from a queue.
func (s *stack) receive(t *testing.T, queueURL string, n int) []event {
	t.Helper()
	var events []event
	eventually(t, fmt.Sprintf("%d events", n), 20*time.Second, func() bool {
		out, err := s.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queueURL, MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Messages {
			var e event
			if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
				t.Fatalf("%v in %s", err, *m.Body)
			}
			events = append(events, e)
			if _, err := s.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &queueURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
		return len(events) >= n
	})
	return events
}

func (s *stack) definition(t *testing.T) string {
	t.Helper()
	out, err := s.ecs.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("f"), Cpu: aws.String("256"), Memory: aws.String("512"),
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, NetworkMode: types.NetworkModeAwsvpc,
		ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("prefect"), Image: aws.String("busybox"), Essential: aws.Bool(true)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.TaskDefinition.TaskDefinitionArn
}

func (s *stack) runInput(t *testing.T, cluster, token string) *ecs.RunTaskInput {
	in := &ecs.RunTaskInput{
		Cluster: &cluster, TaskDefinition: aws.String(s.definition(t)), LaunchType: types.LaunchTypeFargate, StartedBy: aws.String("faber/p"),
		Tags:      []types.Tag{{Key: aws.String("prefect.io/flow-run-id"), Value: aws.String("x")}},
		Overrides: &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{Name: aws.String("prefect"), Command: []string{"true"}}}},
	}
	if token != "" {
		in.ClientToken = &token
	}
	return in
}

func TestRealTaskEvents(t *testing.T) {
	s := startStack(t, 3)
	if _, err := s.ecs.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("c")}); err != nil {
		t.Fatal(err)
	}
	queueURL := s.rule(t, "c")
	run, err := s.ecs.RunTask(t.Context(), s.runInput(t, "c", ""))
	if err != nil {
		t.Fatal(err)
	}
	arn := *run.Tasks[0].TaskArn
	running := s.receive(t, queueURL, 1)[0]
	if _, err := s.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("c"), Task: &arn, Reason: aws.String("enough")}); err != nil {
		t.Fatal(err)
	}
	stopped := s.receive(t, queueURL, 1)[0]

	for _, e := range []event{running, stopped} {
		if e.Version != "0" || e.Source != "aws.ecs" || e.DetailType != "ECS Task State Change" || e.Account != account || e.Region != region || !slices.Equal(e.Resources, []string{arn}) {
			t.Errorf("envelope: %+v", e)
		}
		if _, tagged := e.Detail["tags"]; tagged {
			t.Error("event carries tags")
		}
		for _, name := range []string{"createdAt", "updatedAt"} {
			if _, err := time.Parse("2006-01-02T15:04:05.000Z", str(e.Detail[name])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if running.Detail["lastStatus"] != "RUNNING" || running.Detail["startedBy"] != "faber/p" || running.Detail["launchType"] != "FARGATE" {
		t.Errorf("running: %v", running.Detail)
	}
	container := stopped.Detail["containers"].([]any)[0].(map[string]any)
	if stopped.Detail["lastStatus"] != "STOPPED" || stopped.Detail["stopCode"] != "UserInitiated" || stopped.Detail["stoppedReason"] != "enough" ||
		container["name"] != "prefect" || container["lastStatus"] != "STOPPED" || container["exitCode"] == nil {
		t.Errorf("stopped: %v", stopped.Detail)
	}
	if integer(stopped.Detail["version"]) <= integer(running.Detail["version"]) {
		t.Errorf("version %v does not rise above %v", stopped.Detail["version"], running.Detail["version"])
	}

	t.Run("every third comes twice", func(t *testing.T) {
		if _, err := s.ecs.RunTask(t.Context(), s.runInput(t, "c", "")); err != nil {
			t.Fatal(err)
		}
		twice := s.receive(t, queueURL, 2)
		if twice[0].ID != twice[1].ID {
			t.Errorf("two events: %v", twice)
		}
	})
	t.Run("a short life is told in full", func(t *testing.T) {
		// Nobody looks between start and stop.
		run, err := s.ecs.RunTask(t.Context(), s.runInput(t, "c", ""))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("c"), Task: run.Tasks[0].TaskArn}); err != nil {
			t.Fatal(err)
		}
		events := s.receive(t, queueURL, 2)
		if events[0].Detail["lastStatus"] != "RUNNING" || events[1].Detail["lastStatus"] != "STOPPED" {
			t.Errorf("got %v then %v", events[0].Detail["lastStatus"], events[1].Detail["lastStatus"])
		}
	})
}

func TestRealClientToken(t *testing.T) {
	s := startStack(t, 0)
	token := strings.Repeat("a", 64)
	in := s.runInput(t, "c", token)
	first, err := s.ecs.RunTask(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.ecs.RunTask(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if *again.Tasks[0].TaskArn != *first.Tasks[0].TaskArn {
		t.Error("the same token started another task")
	}
	other := *in
	other.StartedBy = aws.String("faber/other")
	_, err = s.ecs.RunTask(t.Context(), &other)
	var conflict *types.ConflictException
	if !errors.As(err, &conflict) || !slices.Equal(conflict.ResourceIds, []string{*first.Tasks[0].TaskArn}) {
		t.Errorf("other parameters: %v", err)
	}
	elsewhere := *in
	elsewhere.Cluster = aws.String("d")
	if out, err := s.ecs.RunTask(t.Context(), &elsewhere); err != nil || *out.Tasks[0].TaskArn == *first.Tasks[0].TaskArn {
		t.Errorf("another cluster is another scope: %v %v", out, err)
	}
	list, err := s.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("c")})
	if err != nil || len(list.TaskArns) != 1 {
		t.Errorf("tasks in the cluster: %v %v", list, err)
	}
}

func TestRealServiceAndScaling(t *testing.T) {
	s := startStack(t, 0)
	ctx := t.Context()
	if _, err := s.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: aws.String("c")}); err != nil {
		t.Fatal(err)
	}
	_, err := s.ecs.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: aws.String("c"), ServiceName: aws.String("w"), TaskDefinition: aws.String(s.definition(t)), DesiredCount: aws.Int32(0),
		CapacityProviderStrategy:    []types.CapacityProviderStrategyItem{{CapacityProvider: aws.String("FARGATE"), Weight: 1}},
		AvailabilityZoneRebalancing: types.AvailabilityZoneRebalancingEnabled, PropagateTags: types.PropagateTagsService,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ecs.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: aws.String("c"), Service: aws.String("w"), EnableECSManagedTags: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	out, err := s.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: aws.String("c"), Services: []string{"w"}})
	if err != nil {
		t.Fatal(err)
	}
	if w := out.Services[0]; w.AvailabilityZoneRebalancing != types.AvailabilityZoneRebalancingEnabled || !w.EnableECSManagedTags || w.PropagateTags != types.PropagateTagsService ||
		w.LaunchType != "" || len(w.CapacityProviderStrategy) != 1 {
		t.Errorf("service: %+v", w)
	}

	target := map[string]any{"ServiceNamespace": "ecs", "ResourceId": "service/c/w", "ScalableDimension": "ecs:service:DesiredCount"}
	register := map[string]any{"MinCapacity": 1, "MaxCapacity": 3, "Tags": map[string]any{"a": "b"}}
	maps.Copy(register, target)
	arn := s.call(t, "application-autoscaling", "AnyScaleFrontendService.RegisterScalableTarget", register)["ScalableTargetARN"]
	s.call(t, "application-autoscaling", "AnyScaleFrontendService.TagResource", map[string]any{"ResourceARN": arn, "Tags": map[string]any{"c": "d"}})
	s.call(t, "application-autoscaling", "AnyScaleFrontendService.UntagResource", map[string]any{"ResourceARN": arn, "TagKeys": []string{"a"}})
	tags := s.call(t, "application-autoscaling", "AnyScaleFrontendService.ListTagsForResource", map[string]any{"ResourceARN": arn})["Tags"]
	if fmt.Sprint(tags) != "map[c:d]" {
		t.Errorf("tags: %v", tags)
	}
	s.call(t, "application-autoscaling", "AnyScaleFrontendService.PutScalingPolicy", map[string]any{
		"PolicyName": "cpu", "PolicyType": "TargetTrackingScaling", "ServiceNamespace": "ecs", "ResourceId": "service/c/w", "ScalableDimension": "ecs:service:DesiredCount",
		"TargetTrackingScalingPolicyConfiguration": map[string]any{"TargetValue": 60, "PredefinedMetricSpecification": map[string]any{"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}},
	})
	s.call(t, "application-autoscaling", "AnyScaleFrontendService.DeregisterScalableTarget", target)
}
