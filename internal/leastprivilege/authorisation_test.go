package leastprivilege

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"faber/internal/front"
)

func testWorld() World {
	return World{
		Partition: "aws", Region: "eu-central-1", Account: "123456789012",
		RolesOf: func(definition string) ([]string, error) {
			return []string{"arn:aws:iam::123456789012:role/" + strings.TrimPrefix(definition, "arn:aws:ecs:eu-central-1:123456789012:task-definition/")[:1]}, nil
		},
		KeyOf: func(arn string) string {
			if strings.Contains(arn, "encrypted") {
				return "arn:aws:kms:eu-central-1:123456789012:key/k"
			}
			return ""
		},
	}
}

func TestAuthorised(t *testing.T) {
	const ecs, pass = "arn:aws:ecs:eu-central-1:123456789012:", " [iam:PassedToService=ecs-tasks.amazonaws.com]"
	for _, c := range []struct {
		service, operation, body string
		want                     []string
	}{
		{"ecs", "RunTask", `{"cluster":"c","taskDefinition":"` + ecs + `task-definition/f:7","overrides":{"taskRoleArn":"arn:aws:iam::123456789012:role/other"},"tags":[{"key":"a","value":"b"}]}`, []string{
			"ecs:RunTask on " + ecs + "task-definition/f:7 [ecs:cluster=" + ecs + "cluster/c ecs:enable-execute-command=false]",
			"ecs:TagResource on " + ecs + "task/c/" + someID + " [aws:RequestTag/a=b aws:TagKeys=a ecs:CreateAction=RunTask]",
			"iam:PassRole on arn:aws:iam::123456789012:role/f" + pass,
			"iam:PassRole on arn:aws:iam::123456789012:role/other" + pass,
		}},
		{"ecs", "RunTask", `{"taskDefinition":"f","propagateTags":"TASK_DEFINITION","enableExecuteCommand":true}`, []string{
			"ecs:RunTask on " + ecs + "task-definition/f:1 [ecs:cluster=" + ecs + "cluster/default ecs:enable-execute-command=true]",
			"ecs:TagResource on " + ecs + "task/default/" + someID + " [ecs:CreateAction=RunTask]",
			"iam:PassRole on arn:aws:iam::123456789012:role/f" + pass,
		}},
		{"ecs", "RegisterTaskDefinition", `{"family":"f","cpu":"256","taskRoleArn":"short","executionRoleArn":"arn:aws:iam::123456789012:role/e","containerDefinitions":[{"privileged":true}]}`, []string{
			"ecs:RegisterTaskDefinition on " + ecs + "task-definition/f [ecs:privileged=true ecs:task-cpu=256]",
			"ecs:RegisterTaskDefinition on " + ecs + "task-definition/f:1 [ecs:privileged=true ecs:task-cpu=256]",
			"iam:PassRole on arn:aws:iam::123456789012:role/e" + pass,
			"iam:PassRole on arn:aws:iam::123456789012:role/short" + pass,
		}},
		{"ecs", "DescribeTasks", `{"cluster":"` + ecs + `cluster/c","tasks":["1","` + ecs + `task/c/2"]}`, []string{
			"ecs:DescribeTasks on " + ecs + "task/c/1 [ecs:cluster=" + ecs + "cluster/c]",
			"ecs:DescribeTasks on " + ecs + "task/c/2 [ecs:cluster=" + ecs + "cluster/c]",
		}},
		{"ecs", "StopTask", `{"cluster":"c","task":"1"}`, []string{"ecs:StopTask on " + ecs + "task/c/1 [ecs:cluster=" + ecs + "cluster/c]"}},
		{"ecs", "ListTasks", `{"cluster":"c","startedBy":"faber/x"}`, []string{"ecs:ListTasks on * [ecs:cluster=" + ecs + "cluster/c]"}},
		{"ec2", "DescribeVpcs", `"Action=DescribeVpcs&Version=2016-11-15&VpcId.1=vpc-1"`, []string{"ec2:DescribeVpcs on * []"}},
		{"sqs", "ReceiveMessage", `{"QueueUrl":"http://127.0.0.1:4566/123456789012/encrypted-q"}`, []string{
			"sqs:ReceiveMessage on arn:aws:sqs:eu-central-1:123456789012:encrypted-q []",
			"kms:Decrypt on arn:aws:kms:eu-central-1:123456789012:key/k [kms:EncryptionContext:aws:sqs:arn=arn:aws:sqs:eu-central-1:123456789012:encrypted-q kms:ViaService=sqs.eu-central-1.amazonaws.com]",
		}},
		{"sqs", "DeleteMessageBatch", `{"QueueUrl":"http://127.0.0.1:4566/123456789012/q","Entries":[]}`, []string{"sqs:DeleteMessage on arn:aws:sqs:eu-central-1:123456789012:q []"}},
		{"secretsmanager", "GetSecretValue", `{"SecretId":"arn:aws:secretsmanager:eu-central-1:123456789012:secret:s-AbCdEf"}`, []string{
			"secretsmanager:GetSecretValue on arn:aws:secretsmanager:eu-central-1:123456789012:secret:s-AbCdEf []",
		}},
		{"logs", "GetLogEvents", `{"logGroupName":"/a","logStreamName":"b/c"}`, []string{"logs:GetLogEvents on arn:aws:logs:eu-central-1:123456789012:log-group:/a:log-stream:b/c []"}},
		{"monitoring", "PutMetricData", `{"Namespace":"Faber","MetricData":[]}`, []string{"cloudwatch:PutMetricData on * [cloudwatch:namespace=Faber]"}},
	} {
		requests, err := testWorld().Authorised(front.Call{Service: c.service, Operation: c.operation, Request: json.RawMessage(c.body)})
		if err != nil {
			t.Errorf("%s: %v", c.operation, err)
			continue
		}
		var got []string
		for _, r := range requests {
			got = append(got, r.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.service, c.operation, diff)
		}
	}
}

// TestAuthorisedRefuses: a call that cannot be read must not count as one that asks for nothing.
func TestAuthorisedRefuses(t *testing.T) {
	for body, want := range map[string]string{
		`ecs CreateCluster {}`:                              "not in the authorisation table",
		`ecs RunTask {}`:                                    "no task definition",
		`ecs RunTask "cut of"`:                              "cannot be read",
		`ecs RegisterTaskDefinition {}`:                     "no family",
		`ecs StopTask {"cluster":"c"}`:                      "no task",
		`monitoring PutMetricData {}`:                       "no namespace",
		`secretsmanager GetSecretValue {"SecretId":"name"}`: "unknown",
		`sqs ReceiveMessage {"QueueUrl":""}`:                "URL",
		`logs GetLogEvents {"logGroupName":"/a"}`:           "no stream",
		`ec2 DescribeVpcs "Action=DescribeSubnets"`:         "cannot be read",
	} {
		part := strings.SplitN(body, " ", 3)
		_, err := testWorld().Authorised(front.Call{Service: part[0], Operation: part[1], Request: json.RawMessage(part[2])})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

// TestTable: every line names its page, and what stands there.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range table {
		name := r.service + " " + r.operation
		if seen[name] || !strings.HasPrefix(r.source, "list_") || !strings.Contains(r.says, ":") || r.requests == nil {
			t.Errorf("%s: %+v", name, r)
		}
		seen[name] = true
	}
}
