package fakeaws_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"faber/internal/fake/fakeaws"
)

func TestCalls(t *testing.T) {
	s, on := start(t)
	begun := time.Now()
	var hooked []string
	s.Hook(func(call fakeaws.Call) { hooked = append(hooked, call.Op) })
	task := run(t, s, on)
	describe(t, on, task)
	must(on.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{}))(t)
	if want := []string{"RegisterTaskDefinition", "RunTask", "DescribeTasks", "DescribeVpcs"}; !slices.Equal(s.Ops(), want) || !slices.Equal(hooked, want) {
		t.Errorf("calls %v, hooked %v", s.Ops(), hooked)
	}
	call := s.Calls("RunTask", "DescribeVpcs")[0]
	server, err := url.Parse(s.URL)
	if err != nil || call.Host != server.Host || call.AccessKey != "AKIAGO" || call.Region != "us-west-2" || call.Service != "ecs" || call.At.Before(begun) {
		t.Errorf("call %+v", call)
	}
	if call.Body["clientToken"] != "token" || !strings.Contains(call.Header.Get("User-Agent"), "aws-sdk-go-v2") || s.Bodies("RunTask")[0]["startedBy"] != "faber/pool" {
		t.Errorf("call %+v", call)
	}
	if vpcs := s.Calls("DescribeVpcs")[0]; vpcs.Service != "ec2" || vpcs.Body["Action"] != "DescribeVpcs" {
		t.Errorf("call %+v", vpcs)
	}
	if len(s.Calls()) != 4 || len(s.Calls("StopTask")) != 0 {
		t.Errorf("%d calls", len(s.Calls()))
	}
}

func TestFaults(t *testing.T) {
	s, on := start(t)
	s.AddQueue("events")
	list := func() error {
		_, err := on.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{})
		return err
	}
	s.Fail("ListTasks",
		fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded", Times: 2},
		fakeaws.Fault{Status: 500, Code: "ServerException", Message: "Service Unavailable."},
		fakeaws.Fault{Dropped: true})
	refused(t, list(), "ThrottlingException")
	refused(t, list(), "ThrottlingException")
	err := list()
	var broken *types.ServerException
	if !errors.As(err, &broken) {
		t.Errorf("got %v", err)
	}
	if err := list(); err == nil || !strings.Contains(err.Error(), "EOF") {
		t.Errorf("got %v", err)
	}
	if err := list(); err != nil {
		t.Errorf("got %v after all faults", err)
	}

	s.Fail("ListTasks", fakeaws.Fault{Code: "AccessDeniedException", Times: -1, When: func(call fakeaws.Call) bool { return call.Body["cluster"] == "blue" }})
	for range 3 {
		_, err := on.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("blue")})
		refused(t, err, "AccessDeniedException")
	}
	if err := list(); err != nil {
		t.Errorf("another cluster: %v", err)
	}
	s.Heal("ListTasks")
	if _, err := on.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("blue")}); err != nil {
		t.Errorf("healed: %v", err)
	}

	s.Fail("DescribeVpcs", fakeaws.Fault{Status: 503, Code: "RequestLimitExceeded", Message: "<wait>"})
	_, err = on.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
	if refused(t, err, "RequestLimitExceeded"); err == nil || !strings.Contains(err.Error(), "<wait>") {
		t.Errorf("got %v", err)
	}
	s.Fail("AssumeRole", fakeaws.Fault{Status: 403, Code: "AccessDenied", Message: "no"})
	_, err = on.sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::1:role/r"), RoleSessionName: aws.String("s")})
	refused(t, err, "AccessDenied")
	s.Fail("GetQueueUrl", fakeaws.Fault{Status: 403, Code: "AccessDeniedException", Message: "no"})
	_, err = on.sqs.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("events")})
	refused(t, err, "AccessDenied")
}

func TestFaultsAroundRunTask(t *testing.T) {
	s, on := start(t)
	run(t, s, on)
	s.Fail("RunTask",
		fakeaws.Fault{Lost: true},
		fakeaws.Fault{Dropped: true},
		fakeaws.Fault{Answer: map[string]any{"tasks": []any{}, "failures": []any{map[string]any{"reason": "RESOURCE:CPU"}}}})
	for i, want := range []int{2, 2} {
		if _, err := on.ecs.RunTask(t.Context(), request(token(fmt.Sprint(i)))); err == nil || len(s.Tasks()) != want {
			t.Errorf("%d tasks after broken connection %d, %v", len(s.Tasks()), i, err)
		}
	}
	out := must(on.ecs.RunTask(t.Context(), request(token("answered"))))(t)
	if len(out.Failures) != 1 || *out.Failures[0].Reason != "RESOURCE:CPU" || len(s.Tasks()) != 2 {
		t.Errorf("answer %+v, %d tasks", out, len(s.Tasks()))
	}
	s.Fail("RunTask", fakeaws.Fault{Delay: 50 * time.Millisecond})
	begun := time.Now()
	run(t, s, on, token("slow"))
	if time.Since(begun) < 50*time.Millisecond {
		t.Errorf("it took %s", time.Since(begun))
	}
	s.Fail("RunTask", fakeaws.Fault{Code: "ConflictException", Fields: map[string]any{"resourceIds": []any{"short"}}})
	_, err := on.ecs.RunTask(t.Context(), request(token("conflict")))
	var conflict *types.ConflictException
	if !errors.As(err, &conflict) || !slices.Equal(conflict.ResourceIds, []string{"short"}) {
		t.Errorf("got %v", err)
	}
}

func TestWaits(t *testing.T) {
	s, on := start(t)
	url := s.AddQueue("events")
	s.Send("events", "one")
	run(t, s, on)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := on.ecs.RunTask(t.Context(), request(token("2"))); err != nil {
			t.Error(err)
		}
		out, err := on.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url})
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := on.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: out.Messages[0].ReceiptHandle}); err != nil {
			t.Error(err)
		}
	}()
	if tasks := s.WaitTasks(t, patience, 2); len(tasks) != 2 {
		t.Errorf("%d tasks", len(tasks))
	}
	if calls := s.WaitCalls(t, patience, 1, "DeleteMessage"); len(calls) != 1 {
		t.Errorf("%d calls", len(calls))
	}
	if deleted := s.WaitDeleted(t, patience, 1, "events"); !slices.Equal(deleted, []string{"one"}) {
		t.Errorf("deleted %v", deleted)
	}
	<-done
}

// failing notes that a test would have failed.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}
func (f *failing) Fatalf(format string, values ...any) {
	f.said = fmt.Sprintf(format, values...)
	panic(f)
}
func (f *failing) Errorf(format string, values ...any) { f.said = fmt.Sprintf(format, values...) }

func TestWaitEnds(t *testing.T) {
	s, _ := start(t)
	f := &failing{TB: t}
	defer func() {
		if recover() != any(f) || !strings.Contains(f.said, "RunTask is called") {
			t.Errorf("said %q", f.said)
		}
	}()
	s.WaitCalls(f, 10*time.Millisecond, 1, "RunTask")
}

func TestMistakesAreTold(t *testing.T) {
	f := &failing{TB: t}
	s := fakeaws.New(f)
	on := newSDK(s)
	if _, err := on.ecs.ListServices(t.Context(), &ecs.ListServicesInput{}); err == nil || !strings.Contains(f.said, "ListServices") {
		t.Errorf("an unknown operation: %v, said %q", err, f.said)
	}
	s.Send("none", "x")
	if !strings.Contains(f.said, "no queue none") {
		t.Errorf("said %q", f.said)
	}
	task := run(t, s, on)
	if task.Set("WALKING"); !strings.Contains(f.said, "WALKING") {
		t.Errorf("said %q", f.said)
	}
	if task.Status() != "PROVISIONING" {
		t.Errorf("it is %s", task.Status())
	}
}

func TestLogs(t *testing.T) {
	s, on := start(t)
	get := func(change func(*cloudwatchlogs.GetLogEventsInput)) (*cloudwatchlogs.GetLogEventsOutput, error) {
		in := &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("flows"), LogStreamName: aws.String("a/prefect/1"), Limit: aws.Int32(2)}
		change(in)
		return on.logs.GetLogEvents(t.Context(), in)
	}
	lines := func(out *cloudwatchlogs.GetLogEventsOutput) string {
		var list []string
		for _, event := range out.Events {
			list = append(list, *event.Message)
		}
		return strings.Join(list, " ")
	}
	s.PutLog("flows", "a/prefect/1", "1", "2", "3")
	s.PutLog("flows", "a/prefect/1", "4", "5")
	newest := must(get(func(*cloudwatchlogs.GetLogEventsInput) {}))(t)
	before := must(get(func(in *cloudwatchlogs.GetLogEventsInput) { in.NextToken = newest.NextBackwardToken }))(t)
	first := must(get(func(in *cloudwatchlogs.GetLogEventsInput) { in.StartFromHead = aws.Bool(true) }))(t)
	second := must(get(func(in *cloudwatchlogs.GetLogEventsInput) { in.NextToken = first.NextForwardToken }))(t)
	end := must(get(func(in *cloudwatchlogs.GetLogEventsInput) { in.NextToken = newest.NextForwardToken }))(t)
	all := must(get(func(in *cloudwatchlogs.GetLogEventsInput) { in.Limit = nil }))(t)
	for want, got := range map[string]*cloudwatchlogs.GetLogEventsOutput{"4 5": newest, "2 3": before, "1 2": first, "3 4": second, "": end, "1 2 3 4 5": all} {
		if lines(got) != want {
			t.Errorf("read %q, want %q", lines(got), want)
		}
	}
	if *end.NextForwardToken != *newest.NextForwardToken || newest.Events[0].Timestamp == nil {
		t.Errorf("at the end: %+v", end)
	}
	for _, change := range []func(*cloudwatchlogs.GetLogEventsInput){
		func(in *cloudwatchlogs.GetLogEventsInput) { in.LogGroupName = aws.String("none") },
		func(in *cloudwatchlogs.GetLogEventsInput) { in.LogStreamName = aws.String("none") },
	} {
		_, err := get(change)
		var missing *logtypes.ResourceNotFoundException
		if !errors.As(err, &missing) {
			t.Errorf("got %v", err)
		}
	}
	_, err := get(func(in *cloudwatchlogs.GetLogEventsInput) { in.Limit = aws.Int32(10_001) })
	refused(t, err, "InvalidParameterException")
}

func TestLogsOfTasks(t *testing.T) {
	s, on := start(t)
	s.Script("run-1", fakeaws.Script{Lines: []string{"hello"}})
	must(on.ecs.RegisterTaskDefinition(t.Context(), definition(func(in *ecs.RegisterTaskDefinitionInput) {
		in.ExecutionRoleArn = aws.String("arn:aws:iam::1:role/r")
		in.ContainerDefinitions[0].LogConfiguration = &types.LogConfiguration{
			LogDriver: types.LogDriverAwslogs, Options: map[string]string{"awslogs-group": "flows", "awslogs-stream-prefix": "p"},
		}
	})))(t)
	task := run(t, s, on)
	group, stream := task.LogOf("prefect")
	if group != "flows" || stream != "p/prefect/"+task.ID() {
		t.Errorf("it logs to %s %s", group, stream)
	}
	out := must(on.logs.GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{LogGroupName: &group, LogStreamName: &stream}))(t)
	if len(out.Events) != 1 || *out.Events[0].Message != "hello" {
		t.Errorf("read %+v", out.Events)
	}
	if group, stream := task.LogOf("side"); group+stream != "" {
		t.Errorf("the other container logs to %s %s", group, stream)
	}
}

func TestNetwork(t *testing.T) {
	s, on := start(t)
	s.AddVPC("vpc-3")
	filter := func(name, value string) []ec2types.Filter {
		return []ec2types.Filter{{Name: aws.String(name), Values: []string{value}}}
	}
	vpcs := func(in ec2.DescribeVpcsInput) string {
		t.Helper()
		var ids []string
		for _, vpc := range must(on.ec2.DescribeVpcs(t.Context(), &in))(t).Vpcs {
			ids = append(ids, fmt.Sprint(*vpc.VpcId, " ", *vpc.IsDefault))
		}
		return strings.Join(ids, ", ")
	}
	subnets := func(in ec2.DescribeSubnetsInput) string {
		t.Helper()
		var ids []string
		for _, subnet := range must(on.ec2.DescribeSubnets(t.Context(), &in))(t).Subnets {
			ids = append(ids, *subnet.SubnetId)
		}
		return strings.Join(ids, ", ")
	}
	for want, got := range map[string]string{
		"vpc-1 true, vpc-2 false, vpc-3 false": vpcs(ec2.DescribeVpcsInput{}),
		"vpc-1 true":                           vpcs(ec2.DescribeVpcsInput{Filters: filter("isDefault", "true")}),
		"vpc-2 false":                          vpcs(ec2.DescribeVpcsInput{VpcIds: []string{"vpc-2"}}),
		"subnet-a, subnet-b":                   subnets(ec2.DescribeSubnetsInput{Filters: filter("vpc-id", "vpc-1")}),
		"subnet-c":                             subnets(ec2.DescribeSubnetsInput{SubnetIds: []string{"subnet-c"}}),
		"":                                     subnets(ec2.DescribeSubnetsInput{Filters: filter("vpc-id", "vpc-3")}),
	} {
		if got != want {
			t.Errorf("described %s, want %s", got, want)
		}
	}
	s.DefaultVPC("")
	if got := vpcs(ec2.DescribeVpcsInput{Filters: filter("isDefault", "true")}); got != "" {
		t.Errorf("the default VPC is %s", got)
	}
	_, err := on.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-9"}})
	refused(t, err, "InvalidVpcID.NotFound")
	_, err = on.ec2.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{"subnet-z"}})
	refused(t, err, "InvalidSubnetID.NotFound")
	_, err = on.ec2.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{Filters: filter("vpcid", "vpc-1")})
	refused(t, err, "InvalidParameterValue")
}

func TestSessions(t *testing.T) {
	_, on := start(t)
	if got := must(on.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))(t); *got.Account != fakeaws.Account || !strings.HasSuffix(*got.Arn, ":user/AKIAGO") {
		t.Errorf("caller %+v", got)
	}
	out := must(on.sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::1:role/r"), RoleSessionName: aws.String("s<1>"), DurationSeconds: aws.Int32(900)}))(t)
	left := time.Until(*out.Credentials.Expiration)
	if *out.Credentials.AccessKeyId != fakeaws.AssumedAccessKey || *out.AssumedRoleUser.Arn != "arn:aws:sts::123456789012:assumed-role/r/s<1>" || left > 15*time.Minute || left < 14*time.Minute {
		t.Errorf("session %+v for %s", out, left)
	}
	_, err := on.sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::1:role/r"), RoleSessionName: aws.String("s"), DurationSeconds: aws.Int32(1)})
	refused(t, err, "ValidationError")
}

func TestStrayRequests(t *testing.T) {
	f := &failing{TB: t}
	s := fakeaws.New(f)
	res, err := http.Get(s.URL + "/favicon.ico")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if res.StatusCode != http.StatusBadRequest || f.said == "" {
		t.Errorf("%s, said %q", res.Status, f.said)
	}
}
