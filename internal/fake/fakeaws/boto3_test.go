package fakeaws_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"faber/internal/fake/fakeaws"
)

type (
	object = map[string]any
	list   = []any
)

// boto is Python's SDK, as it is out of the box: its legacy retries included.
type boto struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

type botoAnswer struct {
	Result object
	Error  struct {
		Code, Message, Class, Text string
		Status                     int
		ResourceIDs                []string `json:"resourceIds"`
	}
}

// startBoto starts a Python that makes calls. FABER_TEST_MINISTACK names one that
// has boto3.
func startBoto(t *testing.T, s *fakeaws.Server) *boto {
	t.Helper()
	python := os.Getenv("FABER_TEST_MINISTACK")
	if python == "" && os.Getenv("CI") == "true" {
		t.Fatal("FABER_TEST_MINISTACK is not set")
	}
	if python == "" {
		t.Skip("SKIP FABER_TEST_MINISTACK is not set")
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), python, "testdata/calls.py")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_ENDPOINT_URL=" + s.URL,
		"AWS_ACCESS_KEY_ID=AKIAPY", "AWS_SECRET_ACCESS_KEY=secret", "AWS_DEFAULT_REGION=us-east-2", "AWS_EC2_METADATA_DISABLED=true",
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // that is the end of its work
		if err := cmd.Wait(); err != nil {
			t.Errorf("python: %v", err)
		}
	})
	return &boto{t, in, bufio.NewReader(out)}
}

func (b *boto) answer(service, op string, args object) botoAnswer {
	b.t.Helper()
	if args == nil {
		args = object{}
	}
	request, err := json.Marshal(object{"service": service, "op": op, "args": args})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(request, '\n')); err != nil {
		b.t.Fatal(err)
	}
	line, err := b.out.ReadBytes('\n')
	if err != nil {
		b.t.Fatalf("%s: %v", op, err)
	}
	var answer botoAnswer
	if err := json.Unmarshal(line, &answer); err != nil {
		b.t.Fatal(err)
	}
	return answer
}

// call makes a call that succeeds.
func (b *boto) call(service, op string, args object) object {
	b.t.Helper()
	answer := b.answer(service, op, args)
	if answer.Result == nil {
		b.t.Fatalf("%s: %+v", op, answer.Error)
	}
	return answer.Result
}

// refused makes a call that fails.
func (b *boto) refused(service, op string, args object, code, class, part string) {
	b.t.Helper()
	answer := b.answer(service, op, args)
	if got := answer.Error; answer.Result != nil || got.Code != code || got.Class != class || !strings.Contains(got.Text, part) {
		b.t.Errorf("%s gave %v, %+v; want %s as %s: %s", op, answer.Result, got, code, class, part)
	}
}

// at follows keys and indices into what was parsed.
func at(value any, path ...any) any {
	for _, step := range path {
		switch key := step.(type) {
		case string:
			o, _ := value.(object)
			value = o[key]
		case int:
			l, _ := value.(list)
			if key >= len(l) {
				return nil
			}
			value = l[key]
		}
	}
	return value
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

var botoDefinition = object{
	"family": "flows", "networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": list{"FARGATE"},
	"containerDefinitions": list{object{"name": "prefect", "image": "flow:1"}},
}

func botoRun(changes object) object {
	request := object{
		"taskDefinition": "flows", "launchType": "FARGATE",
		"networkConfiguration": object{"awsvpcConfiguration": object{"subnets": list{"subnet-a"}, "assignPublicIp": "ENABLED", "securityGroups": list{}}},
		"overrides":            object{"containerOverrides": list{object{"name": "prefect", "command": list{"true"}, "environment": list{object{"name": "A", "value": "1"}}}}},
		"tags":                 list{object{"key": "prefect.io/flow-run-id", "value": "run-1"}},
	}
	maps.Copy(request, changes)
	return request
}

func TestBotoDefinitions(t *testing.T) {
	s := fakeaws.New(t)
	b := startBoto(t, s)
	got := b.call("ecs", "register_task_definition", botoDefinition)
	arn := at(got, "taskDefinition", "taskDefinitionArn")
	expect(t, "arn", arn, "arn:aws:ecs:eu-central-1:123456789012:task-definition/flows:1")
	b.call("ecs", "register_task_definition", object{"family": "flows", "tags": list{object{"key": "k", "value": "v"}}, "memory": "512", "containerDefinitions": botoDefinition["containerDefinitions"]})
	got = b.call("ecs", "describe_task_definition", object{"taskDefinition": "flows:1"})
	expect(t, "status", at(got, "taskDefinition", "status"), "ACTIVE")
	expect(t, "compatibilities", at(got, "taskDefinition", "compatibilities"), list{"EC2", "FARGATE"})
	expect(t, "container", at(got, "taskDefinition", "containerDefinitions", 0), object{
		"name": "prefect", "image": "flow:1", "cpu": 0.0, "essential": true, "environment": list{}, "mountPoints": list{}, "portMappings": list{}, "systemControls": list{}, "volumesFrom": list{},
	})
	if registered, err := time.Parse(time.RFC3339, at(got, "taskDefinition", "registeredAt").(string)); err != nil || registered.IsZero() {
		t.Errorf("registered at %v: %v", registered, err)
	}
	got = b.call("ecs", "describe_task_definition", object{"taskDefinition": "flows", "include": list{"TAGS"}})
	expect(t, "revision", at(got, "taskDefinition", "revision"), 2.0)
	expect(t, "tags", got["tags"], list{object{"key": "k", "value": "v"}})
	expect(t, "list", b.call("ecs", "list_task_definitions", object{"familyPrefix": "flows", "sort": "DESC"})["taskDefinitionArns"], list{strings.TrimSuffix(arn.(string), "1") + "2", arn})
	expect(t, "deregistered", at(b.call("ecs", "deregister_task_definition", object{"taskDefinition": arn}), "taskDefinition", "status"), "INACTIVE")
	b.refused("ecs", "describe_task_definition", object{"taskDefinition": "none"}, "ClientException", "ClientException", "Unable to describe task definition.")
	b.refused("ecs", "register_task_definition", object{"family": "a b", "containerDefinitions": list{}}, "ClientException", "ClientException", "Family contains invalid characters.")
	b.refused("ecs", "run_task", botoRun(object{"taskDefinition": arn}), "ClientException", "ClientException", "An error occurred (ClientException) when calling the RunTask operation: TaskDefinition is inactive")
}

func TestBotoTasks(t *testing.T) {
	s := fakeaws.New(t)
	b := startBoto(t, s)
	b.call("ecs", "register_task_definition", botoDefinition)
	got := b.call("ecs", "run_task", botoRun(nil))
	arn, cluster := at(got, "tasks", 0, "taskArn"), at(got, "tasks", 0, "clusterArn")
	expect(t, "failures", got["failures"], list{})
	expect(t, "cluster", cluster, "arn:aws:ecs:eu-central-1:123456789012:cluster/default")
	call := s.Calls("RunTask")[0]
	if token, _ := call.Body["clientToken"].(string); len(token) != 36 || call.AccessKey != "AKIAPY" || call.Region != "us-east-2" {
		t.Errorf("call %+v", call)
	}
	task := s.Tasks()[0]
	task.Set("RUNNING")
	task.Set("STOPPED", fakeaws.Exit(3))
	got = b.call("ecs", "describe_tasks", object{"cluster": cluster, "tasks": list{arn, strings.Repeat("0", 32)}, "include": list{"TAGS"}})
	described := at(got, "tasks", 0).(object)
	expect(t, "tags", described["tags"], list{object{"key": "prefect.io/flow-run-id", "value": "run-1"}})
	expect(t, "exit code", at(described, "containers", 0, "exitCode"), 3.0)
	expect(t, "stop code", described["stopCode"], "EssentialContainerExited")
	expect(t, "missing", at(got, "failures", 0, "reason"), "MISSING")
	if stopped, err := time.Parse(time.RFC3339, described["stoppedAt"].(string)); err != nil || time.Since(stopped) > time.Hour {
		t.Errorf("stopped at %v: %v", stopped, err)
	}
	expect(t, "stopped tasks", b.call("ecs", "list_tasks", object{"family": "flows", "desiredStatus": "STOPPED"})["taskArns"], list{arn})
	expect(t, "running tasks", b.call("ecs", "list_tasks", nil)["taskArns"], list{})
	expect(t, "stopped again", at(b.call("ecs", "stop_task", object{"cluster": cluster, "task": arn, "reason": "enough"}), "task", "stoppedReason"), "Essential container in task exited")
	b.refused("ecs", "stop_task", object{"task": strings.Repeat("0", 32)}, "InvalidParameterException", "InvalidParameterException", "The referenced task was not found.")
	b.refused("ecs", "run_task", botoRun(object{"cluster": "nowhere"}), "ClusterNotFoundException", "ClusterNotFoundException", "Cluster not found.")

	b.call("ecs", "run_task", botoRun(object{"clientToken": "t"}))
	conflict := b.answer("ecs", "run_task", botoRun(object{"clientToken": "t", "startedBy": "x"})).Error
	if conflict.Class != "ConflictException" || len(conflict.ResourceIDs) != 1 || conflict.ResourceIDs[0] != s.Tasks()[1].ARN {
		t.Errorf("conflict %+v", conflict)
	}
	s.Failures(fakeaws.Failure{Reason: "RESOURCE:MEMORY"})
	expect(t, "failures", b.call("ecs", "run_task", botoRun(nil))["failures"], list{object{"reason": "RESOURCE:MEMORY"}})
}

func TestBotoRetries(t *testing.T) {
	s := fakeaws.New(t)
	b := startBoto(t, s)
	b.call("ecs", "register_task_definition", botoDefinition)
	for _, fault := range []fakeaws.Fault{
		{Status: 500, Code: "ServerException", Message: "x"},
		{Code: "ThrottlingException", Message: "Rate exceeded"},
		{Lost: true},
		{Dropped: true},
	} {
		calls, tasks := len(s.Calls("RunTask")), len(s.Tasks())
		s.Fail("RunTask", fault)
		got := b.call("ecs", "run_task", botoRun(nil))
		made := s.Calls("RunTask")[calls:]
		if got["retries"] != 1.0 || len(made) != 2 || made[0].Body["clientToken"] != made[1].Body["clientToken"] || len(s.Tasks()) != tasks+1 {
			t.Errorf("%+v: %v retries, %d calls, %d new tasks", fault, got["retries"], len(made), len(s.Tasks())-tasks)
		}
	}
	before := len(s.Calls("RunTask"))
	s.Fail("RunTask", fakeaws.Fault{Code: "AccessDeniedException", Message: "User: x is not authorized"})
	b.refused("ecs", "run_task", botoRun(nil), "AccessDeniedException", "AccessDeniedException", "not authorized")
	if made := len(s.Calls("RunTask")) - before; made != 1 {
		t.Errorf("%d calls after a refusal for good", made)
	}
}

func TestBotoQueue(t *testing.T) {
	s := fakeaws.New(t)
	b := startBoto(t, s)
	b.refused("sqs", "get_queue_url", object{"QueueName": "events"}, "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "The specified queue does not exist.")
	s.AddQueue("events")
	url := b.call("sqs", "get_queue_url", object{"QueueName": "events"})["QueueUrl"]
	expect(t, "url", url, s.URL+"/123456789012/events")
	on := func(more object) object {
		more["QueueUrl"] = url
		return more
	}
	expect(t, "nothing", b.call("sqs", "receive_message", on(object{"WaitTimeSeconds": 1}))["Messages"], nil)
	sent := b.call("sqs", "send_message", on(object{"MessageBody": "one"}))
	s.Send("events", "two", "three")
	got := b.call("sqs", "receive_message", on(object{"MaxNumberOfMessages": 3, "WaitTimeSeconds": 20, "VisibilityTimeout": 300, "AttributeNames": list{"All"}}))
	expect(t, "body", at(got, "Messages", 0, "Body"), "one")
	expect(t, "id", at(got, "Messages", 0, "MessageId"), sent["MessageId"])
	expect(t, "digest", at(got, "Messages", 0, "MD5OfBody"), sent["MD5OfMessageBody"])
	expect(t, "count", at(got, "Messages", 2, "Attributes", "ApproximateReceiveCount"), "1")
	receipt := func(i int) any { return at(got, "Messages", i, "ReceiptHandle") }
	attributes := b.call("sqs", "get_queue_attributes", on(object{"AttributeNames": list{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"}}))
	expect(t, "attributes", attributes["Attributes"], object{"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "3"})
	b.call("sqs", "delete_message", on(object{"ReceiptHandle": receipt(0)}))
	b.call("sqs", "change_message_visibility", on(object{"ReceiptHandle": receipt(1), "VisibilityTimeout": 300}))
	changed := b.call("sqs", "change_message_visibility_batch", on(object{"Entries": list{object{"Id": "a", "ReceiptHandle": receipt(1), "VisibilityTimeout": 0}}}))
	expect(t, "changed", changed["Successful"], list{object{"Id": "a"}})
	again := b.call("sqs", "receive_message", on(object{}))
	expect(t, "again", at(again, "Messages", 0, "Body"), "two")
	deleted := b.call("sqs", "delete_message_batch", on(object{"Entries": list{object{"Id": "a", "ReceiptHandle": receipt(2)}, object{"Id": "b", "ReceiptHandle": "junk"}}}))
	expect(t, "deleted", deleted["Successful"], list{object{"Id": "a"}})
	expect(t, "not deleted", at(deleted, "Failed", 0, "Code"), "ReceiptHandleIsInvalid")
	expect(t, "all deleted", s.Deleted("events"), []string{"one", "three"})
	b.refused("sqs", "delete_message", on(object{"ReceiptHandle": "junk"}), "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", "not a valid receipt handle")
	s.RemoveQueue("events")
	b.refused("sqs", "receive_message", on(object{}), "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ReceiveMessage")
	s.AddQueue("events")
	s.Fail("ReceiveMessage", fakeaws.Fault{Status: 403, Code: "AccessDeniedException", Message: "no"})
	b.refused("sqs", "receive_message", on(object{}), "AccessDenied", "ClientError", "no")
}

func TestBotoTheRest(t *testing.T) {
	s := fakeaws.New(t)
	b := startBoto(t, s)
	vpcs := b.call("ec2", "describe_vpcs", object{"Filters": list{object{"Name": "isDefault", "Values": list{"true"}}}})
	expect(t, "default VPC", at(vpcs, "Vpcs", 0, "VpcId"), "vpc-1")
	expect(t, "is default", at(vpcs, "Vpcs", 0, "IsDefault"), true)
	expect(t, "by id", at(b.call("ec2", "describe_vpcs", object{"VpcIds": list{"vpc-2"}}), "Vpcs", 0, "VpcId"), "vpc-2")
	subnets := b.call("ec2", "describe_subnets", object{"Filters": list{object{"Name": "vpc-id", "Values": list{"vpc-1"}}}})
	expect(t, "subnets", []any{at(subnets, "Subnets", 0, "SubnetId"), at(subnets, "Subnets", 1, "SubnetId"), at(subnets, "Subnets", 2)}, []any{"subnet-a", "subnet-b", nil})
	b.refused("ec2", "describe_vpcs", object{"VpcIds": list{"vpc-9"}}, "InvalidVpcID.NotFound", "ClientError", "The vpc ID 'vpc-9' does not exist")
	s.DefaultVPC("")
	expect(t, "no default VPC", b.call("ec2", "describe_vpcs", object{"Filters": list{object{"Name": "isDefault", "Values": list{"true"}}}})["Vpcs"], list{})

	expect(t, "caller", b.call("sts", "get_caller_identity", nil)["Account"], "123456789012")
	session := b.call("sts", "assume_role", object{"RoleArn": "arn:aws:iam::1:role/r", "RoleSessionName": "prefect-session-1"})
	expect(t, "access key", at(session, "Credentials", "AccessKeyId"), fakeaws.AssumedAccessKey)
	expect(t, "session", at(session, "AssumedRoleUser", "Arn"), "arn:aws:sts::123456789012:assumed-role/r/prefect-session-1")
	s.Fail("AssumeRole", fakeaws.Fault{Status: 403, Code: "AccessDenied", Message: "User: x is not authorized to perform: sts:AssumeRole"})
	b.refused("sts", "assume_role", object{"RoleArn": "arn:aws:iam::1:role/r", "RoleSessionName": "s1"}, "AccessDenied", "ClientError", "not authorized to perform: sts:AssumeRole")

	s.PutLog("flows", "p/prefect/1", "one", "two", "three")
	lines := b.call("logs", "get_log_events", object{"logGroupName": "flows", "logStreamName": "p/prefect/1", "limit": 2, "startFromHead": false})
	expect(t, "lines", []any{at(lines, "events", 0, "message"), at(lines, "events", 1, "message"), at(lines, "events", 2)}, []any{"two", "three", nil})
	earlier := b.call("logs", "get_log_events", object{"logGroupName": "flows", "logStreamName": "p/prefect/1", "nextToken": lines["nextBackwardToken"]})
	expect(t, "earlier", at(earlier, "events", 0, "message"), "one")
	b.refused("logs", "get_log_events", object{"logGroupName": "none", "logStreamName": "x"}, "ResourceNotFoundException", "ResourceNotFoundException", "The specified log group does not exist.")
	b.refused("logs", "get_log_events", object{"logGroupName": "flows", "logStreamName": "x"}, "ResourceNotFoundException", "ResourceNotFoundException", "The specified log stream does not exist.")
}
