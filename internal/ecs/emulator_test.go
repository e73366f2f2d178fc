package ecs

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"faber/internal/fake/emulator"
	"faber/internal/launch"
)

// part returns what a variable names of this machine. A test without its part is
// skipped for a user, and fails where all parts are expected.
func part(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" && os.Getenv("CI") == "true" {
		t.Fatalf("%s is not set", variable)
	}
	if value == "" {
		t.Skipf("SKIP %s is not set", variable)
	}
	return value
}

// TestAgainstEmulator runs the life of a task against a server that others
// wrote. FABER_TEST_MINISTACK names a Python that has ministack.
func TestAgainstEmulator(t *testing.T) {
	endpoint := emulator.Ministack(t, part(t, "FABER_TEST_MINISTACK"), time.Minute).String()
	load := func(ctx context.Context, options ...func(*config.LoadOptions) error) (aws.Config, error) {
		return config.LoadDefaultConfig(ctx, append([]func(*config.LoadOptions) error{
			config.WithRegion("us-east-1"), config.WithBaseEndpoint(endpoint),
			config.WithCredentialsProvider(sdkcredentials.NewStaticCredentialsProvider("test", "test", "")),
		}, options...)...)
	}
	machine, err := load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	machine.HTTPClient = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	cluster, queue := "c-"+uuid.NewString()[:8], "q-"+uuid.NewString()[:8]
	if _, err := awsecs.NewFromConfig(machine).CreateCluster(t.Context(), &awsecs.CreateClusterInput{ClusterName: &cluster}); err != nil {
		t.Fatal(err)
	}
	l, err := New(Options{LoadConfig: load, Queue: queue, queueWait: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(0) })

	queueClient := sqs.NewFromConfig(machine)
	created, err := queueClient.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &queue})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := queueClient.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: created.QueueUrl, MessageBody: aws.String(taskEventBody("run-1"))}); err != nil {
		t.Fatal(err)
	}
	if hint := nextHint(t, l); hint.FlowRunID != "run-1" {
		t.Errorf("hint %+v", hint)
	}

	job := testJob(withLogs, set(cluster, "cluster"), set(cluster, "task_run_request", "cluster"))
	job.FlowRunID, job.ClaimID, job.Pool.ID = uuid.NewString(), uuid.NewString(), uuid.NewString()
	job.Env = []launch.EnvVar{{Name: envFlowRunID, Value: job.FlowRunID}, {Name: envWorkerName, Value: "w1"}}
	job.Labels[tagFlowRunID] = job.FlowRunID
	if err := l.Check(job); err != nil {
		t.Fatal(err)
	}
	handle := mustLaunch(t, l, job)
	t.Logf("launched %s", handle.PID)

	seen, err := l.Describe(t.Context(), []launch.Handle{handle, {PID: cluster + "::arn:aws:ecs:us-east-1:000000000000:task/" + cluster + "/00000000000000000000000000000000"}})
	if err != nil || len(seen) != 2 {
		t.Fatalf("%v, %v", seen, err)
	}
	for _, o := range seen {
		if missing := o.Handle.PID != handle.PID; missing != (o.Phase == launch.PhaseMissing) {
			t.Errorf("%s is %s", o.Handle.PID, o.Phase)
		}
	}
	pool := job.Pool
	pool.Configuration = map[string]any{"cluster": cluster}
	found, err := l.Find(t.Context(), pool)
	if err != nil || len(found) != 1 || found[0].PID != handle.PID || found[0].FlowRunID != job.FlowRunID || found[0].ClaimID != job.ClaimID {
		t.Errorf("found %+v, %v", found, err)
	}
	if _, err := l.Tail(t.Context(), handle, 10); err != nil {
		t.Errorf("tail: %v", err)
	}
	if err := l.Stop(t.Context(), handle, "", 0); err != nil {
		t.Fatal(err)
	}
	seen, err = l.Describe(t.Context(), []launch.Handle{handle})
	if err != nil || len(seen) != 1 || seen[0].Phase != launch.PhaseStopped {
		t.Errorf("after the stop: %+v, %v", seen, err)
	} else {
		t.Logf("exit %+v", *seen[0].Exit)
	}
	job.ClaimID = uuid.NewString()
	second, err := newWith(t, load).Launch(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	definitions, err := awsecs.NewFromConfig(machine).ListTaskDefinitions(t.Context(), &awsecs.ListTaskDefinitionsInput{FamilyPrefix: aws.String(family("", job))})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("second %s, definitions %v", second.PID, definitions.TaskDefinitionArns)
	if len(definitions.TaskDefinitionArns) != 1 {
		t.Errorf("%d revisions, want 1: a restart uses the latest again", len(definitions.TaskDefinitionArns))
	}
}

func newWith(t *testing.T, load LoadConfig) *Launcher {
	t.Helper()
	l, err := New(Options{LoadConfig: load})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(0) })
	return l
}
