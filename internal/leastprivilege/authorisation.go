package leastprivilege

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"faber/internal/front"
)

// World is what has to be known beside a call to say what AWS authorises.
type World struct {
	Partition, Region, Account string
	// RolesOf returns the roles that a task definition names, ARN by ARN. ECS asks
	// for iam:PassRole on them whenever a task is run from it.
	RolesOf func(taskDefinition string) ([]string, error)
	// KeyOf returns the customer managed key of a queue or secret, or "".
	KeyOf func(arn string) string
}

func (w World) arn(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", w.Partition, service, w.Region, w.Account, resource)
}

// reference is where AWS lists actions, resource types and condition keys.
const reference = "https://docs.aws.amazon.com/service-authorization/latest/reference/"

// row is one line of the authorisation table: an operation of an API, and what
// AWS asks of its caller.
type row struct {
	service, operation string // as the ledger has them
	// source is the page of the Service Authorization Reference, and what stands
	// there of the operation: action, resource types (* required), condition keys.
	source, says string
	requests     func(World, body) ([]Request, error)
}

// table is AWS's Service Authorization Reference for the operations that faber's
// own processes call.
var table = []row{
	{
		"ecs", "RunTask", "list_ecs.html",
		"ecs:RunTask on task-definition*, keys ecs:cluster, ecs:enable-execute-command, ecs:capacity-provider; ecs:TagResource if tagged; iam:PassRole with iam:PassedToService ecs-tasks.amazonaws.com",
		runTask,
	},
	{
		"ecs", "RegisterTaskDefinition", "list_ecs.html",
		"ecs:RegisterTaskDefinition on task-definition*, keys ecs:privileged, ecs:task-cpu, ecs:task-memory; ecs:TagResource if tagged; iam:PassRole with iam:PassedToService ecs-tasks.amazonaws.com",
		registerTaskDefinition,
	},
	{"ecs", "StopTask", "list_ecs.html", "ecs:StopTask on task*, key ecs:cluster", func(w World, b body) ([]Request, error) {
		return w.tasks("ecs:StopTask", b, []string{b.text("task")})
	}},
	{"ecs", "DescribeTasks", "list_ecs.html", "ecs:DescribeTasks on task*, key ecs:cluster", func(w World, b body) ([]Request, error) {
		return w.tasks("ecs:DescribeTasks", b, b.texts("tasks"))
	}},
	// Without a container instance, which Fargate has none of, there is no resource to name.
	{"ecs", "ListTasks", "list_ecs.html", "ecs:ListTasks on container-instance*, key ecs:cluster", func(w World, b body) ([]Request, error) {
		return []Request{{Action: "ecs:ListTasks", Resource: "*", Context: Context{"ecs:cluster": {w.cluster(b)}}}}, nil
	}},
	{"ecs", "DeregisterTaskDefinition", "list_ecs.html", "ecs:DeregisterTaskDefinition on no resource", onNothing("ecs:DeregisterTaskDefinition")},
	{"ecs", "DescribeTaskDefinition", "list_ecs.html", "ecs:DescribeTaskDefinition on no resource", onNothing("ecs:DescribeTaskDefinition")},
	{"ecs", "ListTaskDefinitions", "list_ecs.html", "ecs:ListTaskDefinitions on no resource", onNothing("ecs:ListTaskDefinitions")},
	{"ec2", "DescribeSubnets", "list_ec2.html", "ec2:DescribeSubnets on no resource", onNothing("ec2:DescribeSubnets")},
	{"ec2", "DescribeVpcs", "list_ec2.html", "ec2:DescribeVpcs on no resource", onNothing("ec2:DescribeVpcs")},
	{"logs", "GetLogEvents", "list_logs.html", "logs:GetLogEvents on log-stream*", func(w World, b body) ([]Request, error) {
		group, stream := b.text("logGroupName"), b.text("logStreamName")
		if group == "" || stream == "" {
			return nil, errors.New("no log group, or no stream")
		}
		return []Request{{Action: "logs:GetLogEvents", Resource: w.arn("logs", "log-group:"+group+":log-stream:"+stream)}}, nil
	}},
	{"sqs", "GetQueueUrl", "list_sqs.html", "sqs:GetQueueUrl on queue*", func(w World, b body) ([]Request, error) {
		return []Request{{Action: "sqs:GetQueueUrl", Resource: w.arn("sqs", b.text("QueueName"))}}, nil
	}},
	// An encrypted queue asks for kms:Decrypt too
	// (docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html).
	{"sqs", "ReceiveMessage", "list_sqs.html", "sqs:ReceiveMessage on queue*; kms:Decrypt if encrypted with a customer managed key", func(w World, b body) ([]Request, error) {
		queue, err := w.queue(b)
		return w.encrypted([]Request{{Action: "sqs:ReceiveMessage", Resource: queue}}, queue, "kms:EncryptionContext:aws:sqs:arn", "sqs"), err
	}},
	{"sqs", "DeleteMessageBatch", "list_sqs.html", "sqs:DeleteMessage on queue*", onQueue("sqs:DeleteMessage")},
	{"sqs", "ChangeMessageVisibilityBatch", "list_sqs.html", "sqs:ChangeMessageVisibility on queue*", onQueue("sqs:ChangeMessageVisibility")},
	// docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html has the encryption context.
	{"secretsmanager", "GetSecretValue", "list_secretsmanager.html", "secretsmanager:GetSecretValue on Secret*; kms:Decrypt if encrypted with a customer managed key", func(w World, b body) ([]Request, error) {
		secret := b.text("SecretId")
		if !strings.HasPrefix(secret, "arn:") {
			return nil, fmt.Errorf("the secret %q is named, which leaves its ARN unknown", secret)
		}
		return w.encrypted([]Request{{Action: "secretsmanager:GetSecretValue", Resource: secret}}, secret, "kms:EncryptionContext:SecretARN", "secretsmanager"), nil
	}},
	{"monitoring", "PutMetricData", "list_cloudwatch.html", "cloudwatch:PutMetricData on no resource, key cloudwatch:namespace", func(_ World, b body) ([]Request, error) {
		namespace := b.text("Namespace")
		if namespace == "" {
			return nil, errors.New("no namespace")
		}
		return []Request{{Action: "cloudwatch:PutMetricData", Resource: "*", Context: Context{"cloudwatch:namespace": {namespace}}}}, nil
	}},
}

// Authorised says what AWS authorises when a call is made. A call that is not in
// the table is an error: it has to be looked up.
func (w World) Authorised(c front.Call) ([]Request, error) {
	i := slices.IndexFunc(table, func(r row) bool { return r.service == c.Service && r.operation == c.Operation })
	if i < 0 {
		return nil, fmt.Errorf("%s %s is not in the authorisation table: look it up in %s", c.Service, c.Operation, reference)
	}
	b, err := readBody(c)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", c.Service, c.Operation, err)
	}
	requests, err := table[i].requests(w, b)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", c.Service, c.Operation, err)
	}
	return requests, nil
}

func onNothing(action string) func(World, body) ([]Request, error) {
	return func(World, body) ([]Request, error) { return []Request{{Action: action, Resource: "*"}}, nil }
}

func onQueue(action string) func(World, body) ([]Request, error) {
	return func(w World, b body) ([]Request, error) {
		queue, err := w.queue(b)
		return []Request{{Action: action, Resource: queue}}, err
	}
}

// someID stands for the random id of a task, and someRevision for the number of a
// revision, that do not exist yet when AWS authorises their making.
const (
	someID       = "0123456789abcdef0123456789abcdef"
	someRevision = ":1"
)

func runTask(w World, b body) ([]Request, error) {
	definition, cluster := b.text("taskDefinition"), w.cluster(b)
	if definition == "" {
		return nil, errors.New("no task definition")
	}
	family := strings.TrimPrefix(definition, w.arn("ecs", "task-definition/"))
	if !strings.Contains(family, ":") {
		family += someRevision // the newest: which that is decides no policy of ours
	}
	context := Context{"ecs:cluster": {cluster}, "ecs:enable-execute-command": {fmt.Sprint(b.flag("enableExecuteCommand"))}}
	requests := []Request{{Action: "ecs:RunTask", Resource: w.arn("ecs", "task-definition/"+family), Context: context}}
	task := w.arn("ecs", "task/"+path.Base(cluster)+"/"+someID)
	requests = append(requests, w.tagging(b, task, "RunTask")...)
	roles, err := w.RolesOf(definition)
	if err != nil {
		return nil, err
	}
	overrides := b.object("overrides")
	// An override takes the place of the definition's role; both are passed as far as
	// AWS's documentation says.
	return append(requests, w.passing(append(roles, overrides.text("taskRoleArn"), overrides.text("executionRoleArn")))...), nil
}

func registerTaskDefinition(w World, b body) ([]Request, error) {
	family := b.text("family")
	if family == "" {
		return nil, errors.New("no family")
	}
	privileged := slices.ContainsFunc(b.objects("containerDefinitions"), func(c body) bool { return c.flag("privileged") })
	context := Context{"ecs:privileged": {fmt.Sprint(privileged)}}
	for key, field := range map[string]string{"ecs:task-cpu": "cpu", "ecs:task-memory": "memory"} {
		if value := b.text(field); value != "" {
			context[key] = []string{value}
		}
	}
	var requests []Request
	// The reference names the resource, not whether the revision that is yet to be
	// numbered is part of it: both forms are asked for.
	for _, form := range []string{family, family + someRevision} {
		definition := w.arn("ecs", "task-definition/"+form)
		requests = append(requests, Request{Action: "ecs:RegisterTaskDefinition", Resource: definition, Context: context})
		requests = append(requests, w.tagging(b, definition, "RegisterTaskDefinition")...)
	}
	return append(requests, w.passing([]string{b.text("taskRoleArn"), b.text("executionRoleArn")})...), nil
}

// tagging is what tags in a call that makes something ask for, also those that
// ECS takes over from elsewhere
// (docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html).
func (w World) tagging(b body, resource, by string) []Request {
	tags := b.objects("tags")
	propagated := b.text("propagateTags")
	if len(tags) == 0 && (propagated == "" || propagated == "NONE") && !b.flag("enableECSManagedTags") {
		return nil
	}
	context := Context{"ecs:CreateAction": {by}}
	for _, tag := range tags {
		context["aws:TagKeys"] = append(context["aws:TagKeys"], tag.text("key"))
		context["aws:RequestTag/"+tag.text("key")] = []string{tag.text("value")}
	}
	return []Request{{Action: "ecs:TagResource", Resource: resource, Context: context}}
}

// passing asks once for each role that ECS is handed.
func (w World) passing(roles []string) (requests []Request) {
	roles = slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return role == "" })
	slices.Sort(roles)
	for _, role := range slices.Compact(roles) {
		if !strings.HasPrefix(role, "arn:") {
			role = fmt.Sprintf("arn:%s:iam::%s:role/%s", w.Partition, w.Account, role)
		}
		requests = append(requests, Request{Action: "iam:PassRole", Resource: role, Context: Context{"iam:PassedToService": {"ecs-tasks.amazonaws.com"}}})
	}
	return requests
}

// encrypted adds what a customer managed key asks for: the service decrypts as the caller.
func (w World) encrypted(requests []Request, resource, key, service string) []Request {
	if arn := w.KeyOf(resource); arn != "" {
		requests = append(requests, Request{Action: "kms:Decrypt", Resource: arn, Context: Context{
			key: {resource}, "kms:ViaService": {service + "." + w.Region + ".amazonaws.com"},
		}})
	}
	return requests
}

// tasks asks once for each task of a call.
func (w World) tasks(action string, b body, tasks []string) ([]Request, error) {
	cluster := w.cluster(b)
	var requests []Request
	for _, task := range tasks {
		if task == "" {
			return nil, errors.New("no task")
		}
		if !strings.HasPrefix(task, "arn:") {
			task = w.arn("ecs", "task/"+path.Base(cluster)+"/"+task)
		}
		requests = append(requests, Request{Action: action, Resource: task, Context: Context{"ecs:cluster": {cluster}}})
	}
	return requests, nil
}

// cluster is the ARN of a call's cluster; without one ECS takes the default.
func (w World) cluster(b body) string {
	name := b.text("cluster")
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	if name == "" {
		name = "default"
	}
	return w.arn("ecs", "cluster/"+name)
}

// queue is the ARN behind a queue's URL, whose path is /account/name.
func (w World) queue(b body) (string, error) {
	u, err := url.Parse(b.text("QueueUrl"))
	if err != nil {
		return "", err
	}
	if path.Base(u.Path) == "." || path.Base(u.Path) == "/" {
		return "", fmt.Errorf("no queue in the URL %q", b.text("QueueUrl"))
	}
	return w.arn("sqs", path.Base(u.Path)), nil
}

// body is a request's body.
type body map[string]any

// readBody reads the two protocols that the calls in the table come in.
func readBody(c front.Call) (body, error) {
	var b body
	if json.Unmarshal(c.Request, &b) == nil {
		return b, nil
	}
	var text string
	if json.Unmarshal(c.Request, &text) == nil {
		if form, err := url.ParseQuery(text); err == nil && form.Get("Action") == c.Operation {
			b = body{}
			for name := range form {
				b[name] = form.Get(name)
			}
			return b, nil
		}
	}
	return nil, fmt.Errorf("its body cannot be read: %.200s", c.Request)
}

func (b body) text(name string) string {
	switch v := b[name].(type) {
	case string:
		return v
	case float64:
		return fmt.Sprint(v)
	}
	return ""
}

func (b body) flag(name string) bool { v, _ := b[name].(bool); return v }

func (b body) object(name string) body { v, _ := b[name].(map[string]any); return v }

func (b body) texts(name string) (all []string) {
	list, _ := b[name].([]any)
	for _, item := range list {
		text, _ := item.(string)
		all = append(all, text)
	}
	return all
}

func (b body) objects(name string) (all []body) {
	list, _ := b[name].([]any)
	for _, item := range list {
		if object, ok := item.(map[string]any); ok {
			all = append(all, object)
		}
	}
	return all
}
