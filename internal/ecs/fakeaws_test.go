package ecs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"faber/internal/launch/launchtest"
)

const (
	region  = "eu-central-1"
	account = "123456789012"
)

// fakeAWS is a server that speaks the wire forms of ECS, SQS and CloudWatch
// Logs (JSON 1.1), EC2 and STS (query and XML). It is faked on the wire, so
// that a misspelt field cannot agree with itself.
type fakeAWS struct {
	server *httptest.Server

	mu          sync.Mutex
	calls       []fakeCall
	faults      map[string][]fault
	clusters    map[string]bool
	definitions map[string][]*fakeDefinition // by family
	tasks       map[string]*fakeTask         // by ARN
	tokens      map[string]fakeToken
	scripts     map[string]launchtest.Script // by flow run
	subnets     map[string][]string          // by VPC; the first VPC is the default one
	defaultVPC  string
	logs        map[string][]string // by group and stream
	queues      map[string][]fakeMessage
	arrived     chan struct{} // closed and replaced when a message arrives
	failures    []map[string]any
}

type fakeCall struct {
	op     string // e.g. RunTask
	body   map[string]any
	header http.Header
}

type fakeDefinition struct {
	arn    string
	status string
	body   map[string]any
	tags   any
}

type fakeTask struct {
	arn, cluster, definition string
	request                  map[string]any
	script                   launchtest.Script
	seen                     int
	state                    map[string]any // laid over what DescribeTasks answers
}

type fakeToken struct{ parameters, task string }

type fakeMessage struct{ id, body string }

// fault replaces or follows an answer.
type fault struct {
	status  int
	code    string
	message string
	lost    bool // the call has its effect, and the connection breaks
}

func newFakeAWS(t testing.TB) *fakeAWS {
	f := &fakeAWS{
		faults:      map[string][]fault{},
		clusters:    map[string]bool{"default": true, "blue": true},
		definitions: map[string][]*fakeDefinition{},
		tasks:       map[string]*fakeTask{},
		tokens:      map[string]fakeToken{},
		scripts:     map[string]launchtest.Script{},
		subnets:     map[string][]string{"vpc-1": {"subnet-a", "subnet-b"}, "vpc-2": {"subnet-c"}},
		defaultVPC:  "vpc-1",
		logs:        map[string][]string{},
		queues:      map[string][]fakeMessage{},
		arrived:     make(chan struct{}),
	}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(func() {
		f.server.CloseClientConnections()
		f.server.Close()
	})
	return f
}

// load is a machine's configuration that points at the server.
func (f *fakeAWS) load(ctx context.Context, options ...func(*config.LoadOptions) error) (aws.Config, error) {
	options = append([]func(*config.LoadOptions) error{
		config.WithRegion(region),
		config.WithSharedConfigFiles(nil),
		config.WithSharedCredentialsFiles(nil),
		config.WithCredentialsProvider(sdkcredentials.NewStaticCredentialsProvider("machine", "secret", "")),
		config.WithBaseEndpoint(f.server.URL),
	}, options...)
	return config.LoadDefaultConfig(ctx, options...)
}

func (f *fakeAWS) fail(op string, faults ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[op] = append(f.faults[op], faults...)
}

// made returns the bodies of the calls of one operation.
func (f *fakeAWS) made(op string) []map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []map[string]any
	for _, c := range f.calls {
		if c.op == op {
			out = append(out, c.body)
		}
	}
	return out
}

func (f *fakeAWS) lastHeader(op string) http.Header {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range slices.Backward(f.calls) {
		if c.op == op {
			return c.header
		}
	}
	return nil
}

func (f *fakeAWS) serve(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	target := r.Header.Get("X-Amz-Target")
	op := target[strings.LastIndex(target, ".")+1:]
	body := map[string]any{}
	query := target == ""
	if query {
		form, _ := url.ParseQuery(string(raw))
		op = form.Get("Action")
		for key := range form {
			body[key] = form.Get(key)
		}
	} else {
		_ = json.Unmarshal(raw, &body)
	}

	f.mu.Lock()
	f.calls = append(f.calls, fakeCall{op, body, r.Header})
	var injected *fault
	if waiting := f.faults[op]; len(waiting) > 0 {
		injected, f.faults[op] = &waiting[0], waiting[1:]
	}
	if injected != nil && !injected.lost {
		f.mu.Unlock()
		writeFault(w, query, *injected)
		return
	}
	if op == "ReceiveMessage" {
		f.mu.Unlock()
		f.receive(w, r, body)
		return
	}
	answer, refusal := f.answer(op, body)
	f.mu.Unlock()
	switch {
	case injected != nil:
		panic(http.ErrAbortHandler)
	case refusal != nil:
		writeFault(w, query, *refusal)
	case query:
		fmt.Fprint(w, answer)
	default:
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func writeFault(w http.ResponseWriter, query bool, f fault) {
	status := f.status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if query {
		w.WriteHeader(status)
		fmt.Fprintf(w, `<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>r</RequestID></Response>`, f.code, f.message)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	body := map[string]any{"__type": f.code, "message": f.message}
	if f.code == "ConflictException" {
		body["resourceIds"] = []string{f.message}
	}
	_ = json.NewEncoder(w).Encode(body)
}

// answer performs a call; f.mu is held.
func (f *fakeAWS) answer(op string, body map[string]any) (any, *fault) {
	switch op {
	case "RegisterTaskDefinition":
		return f.register(body)
	case "DeregisterTaskDefinition":
		d := f.findDefinition(stringField(body, "taskDefinition"))
		d.status = "INACTIVE"
		return map[string]any{"taskDefinition": d.answer()}, nil
	case "DescribeTaskDefinition":
		d := f.findDefinition(stringField(body, "taskDefinition"))
		if d == nil {
			return nil, &fault{code: "ClientException", message: "Unable to describe task definition."}
		}
		return map[string]any{"taskDefinition": d.answer(), "tags": d.tags}, nil
	case "RunTask":
		return f.runTask(body)
	case "DescribeTasks":
		return f.describeTasks(body)
	case "ListTasks":
		return f.listTasks(body)
	case "StopTask":
		task := f.tasks[stringField(body, "task")]
		if task == nil {
			return nil, &fault{code: "InvalidParameterException", message: "The referenced task was not found."}
		}
		if task.state == nil {
			task.state = stopped("UserInitiated", stringField(body, "reason"), 143)
		}
		return map[string]any{"task": task.answer()}, nil
	case "DescribeVpcs", "DescribeSubnets", "AssumeRole":
		return f.query(op, body)
	case "GetLogEvents":
		return f.getLogEvents(body)
	case "GetQueueUrl":
		name := stringField(body, "QueueName")
		if _, ok := f.queues[name]; !ok {
			return nil, &fault{code: "com.amazonaws.sqs#QueueDoesNotExist", message: "The specified queue does not exist."}
		}
		return map[string]any{"QueueUrl": f.server.URL + "/" + account + "/" + name}, nil
	case "DeleteMessageBatch":
		return f.deleteMessages(body)
	}
	return nil, &fault{status: http.StatusNotImplemented, code: "Unknown", message: op}
}

func (f *fakeAWS) register(body map[string]any) (any, *fault) {
	name := stringField(body, "family")
	d := &fakeDefinition{
		arn:    fmt.Sprintf("arn:aws:ecs:%s:%s:task-definition/%s:%d", region, account, name, len(f.definitions[name])+1),
		status: "ACTIVE", body: body, tags: body["tags"],
	}
	f.definitions[name] = append(f.definitions[name], d)
	return map[string]any{"taskDefinition": d.answer()}, nil
}

func (d *fakeDefinition) answer() map[string]any {
	out := copyObject(d.body)
	delete(out, "tags")
	out["taskDefinitionArn"], out["status"] = d.arn, d.status
	return out
}

// findDefinition looks up an ARN, or the latest active revision of a family.
func (f *fakeAWS) findDefinition(name string) *fakeDefinition {
	for family, revisions := range f.definitions {
		for _, d := range slices.Backward(revisions) {
			if d.arn == name || strings.HasSuffix(d.arn, "/"+name) || family == name && d.status == "ACTIVE" {
				return d
			}
		}
	}
	return nil
}

func (f *fakeAWS) runTask(body map[string]any) (any, *fault) {
	cluster := clusterName(orDefault(stringField(body, "cluster")))
	if !f.clusters[cluster] {
		return nil, &fault{code: "ClusterNotFoundException", message: "Cluster not found."}
	}
	token := cluster + " " + stringField(body, "clientToken")
	encoded, _ := json.Marshal(body)
	if known, ok := f.tokens[token]; ok {
		if known.parameters != string(encoded) {
			return nil, &fault{code: "ConflictException", message: known.task}
		}
		return map[string]any{"tasks": []any{f.tasks[known.task].answer()}, "failures": []any{}}, nil
	}
	d := f.findDefinition(stringField(body, "taskDefinition"))
	if d == nil {
		return nil, &fault{code: "ClientException", message: "TaskDefinition not found."}
	}
	if d.status != "ACTIVE" {
		return nil, &fault{code: "ClientException", message: "TaskDefinition is inactive"}
	}
	if len(f.failures) > 0 {
		return map[string]any{"tasks": []any{}, "failures": f.failures}, nil
	}
	task := &fakeTask{
		arn:     fmt.Sprintf("arn:aws:ecs:%s:%s:task/%s/%032x", region, account, cluster, len(f.tasks)+1),
		cluster: fmt.Sprintf("arn:aws:ecs:%s:%s:cluster/%s", region, account, cluster), definition: d.arn, request: body,
	}
	task.script = f.scripts[overriddenRun(body)]
	f.tasks[task.arn] = task
	f.tokens[token] = fakeToken{string(encoded), task.arn}
	f.writeLog(d, task)
	return map[string]any{"tasks": []any{task.answer()}, "failures": []any{}}, nil
}

func overriddenRun(request map[string]any) string {
	overrides, _ := request["overrides"].(map[string]any)
	for _, container := range objects(overrides["containerOverrides"]) {
		for _, variable := range objects(container["environment"]) {
			if variable["name"] == envFlowRunID {
				return stringField(variable, "value")
			}
		}
	}
	return ""
}

func (f *fakeAWS) writeLog(d *fakeDefinition, task *fakeTask) {
	for _, container := range objects(d.body["containerDefinitions"]) {
		logs, _ := container["logConfiguration"].(map[string]any)
		options, _ := logs["options"].(map[string]any)
		if options == nil {
			continue
		}
		id := task.arn[strings.LastIndex(task.arn, "/")+1:]
		stream := fmt.Sprintf("%s %s/%s/%s", options["awslogs-group"], options["awslogs-stream-prefix"], container["name"], id)
		f.logs[stream] = task.script.Lines
	}
}

// answer is the task as DescribeTasks shows it, one step further in its life
// each time.
func (t *fakeTask) answer() map[string]any {
	now := float64(time.Now().Unix())
	out := map[string]any{
		"taskArn": t.arn, "clusterArn": t.cluster, "taskDefinitionArn": t.definition, "createdAt": now, "lastStatus": "PROVISIONING", "desiredStatus": "RUNNING",
		"overrides": t.request["overrides"], "tags": t.request["tags"], "startedBy": t.request["startedBy"], "memory": "2048",
		"containers": []any{map[string]any{"name": "prefect", "lastStatus": "PENDING"}},
	}
	state := t.state
	switch {
	case state != nil:
	case t.seen == 1, t.script.Hold && t.seen > 1:
		state = map[string]any{"lastStatus": "RUNNING", "startedAt": now}
	case t.seen > 1:
		t.state = stopped("EssentialContainerExited", "Essential container in task exited", t.script.Code)
		state = t.state
	}
	maps.Copy(out, state)
	return out
}

func stopped(code, reason string, exit int) map[string]any {
	now := float64(time.Now().Unix())
	return map[string]any{
		"lastStatus": "STOPPED", "desiredStatus": "STOPPED", "stopCode": code, "stoppedReason": reason, "startedAt": now, "stoppedAt": now,
		"containers": []any{map[string]any{"name": "prefect", "exitCode": exit, "lastStatus": "STOPPED"}},
	}
}

func (f *fakeAWS) describeTasks(body map[string]any) (any, *fault) {
	if !f.clusters[clusterName(stringField(body, "cluster"))] {
		return nil, &fault{code: "ClusterNotFoundException", message: "Cluster not found."}
	}
	asked, _ := body["tasks"].([]any)
	if len(asked) > 100 {
		return nil, &fault{code: "InvalidParameterException", message: "Tasks cannot be more than 100."}
	}
	tasks, failures := []any{}, []any{}
	for _, arn := range asked {
		if strings.Contains(arn.(string), "bad_id") {
			return nil, &fault{code: "InvalidParameterException", message: "taskId length should be one of [32,36]"}
		}
		task := f.tasks[arn.(string)]
		if task == nil {
			failures = append(failures, map[string]any{"arn": arn, "reason": "MISSING"})
			continue
		}
		tasks = append(tasks, task.answer())
		task.seen++
	}
	return map[string]any{"tasks": tasks, "failures": failures}, nil
}

// listTasks answers two at a time, to make callers page.
func (f *fakeAWS) listTasks(body map[string]any) (any, *fault) {
	cluster := clusterName(stringField(body, "cluster"))
	if !f.clusters[cluster] {
		return nil, &fault{code: "ClusterNotFoundException", message: "Cluster not found."}
	}
	var arns []string
	for _, arn := range sortedKeys(f.tasks) {
		task := f.tasks[arn]
		matches := body["startedBy"] == nil || task.request["startedBy"] == body["startedBy"]
		if matches && clusterName(task.cluster) == cluster && task.state["lastStatus"] != "STOPPED" && arn > stringField(body, "nextToken") {
			arns = append(arns, arn)
		}
	}
	if len(arns) > 2 {
		return map[string]any{"taskArns": arns[:2], "nextToken": arns[1]}, nil
	}
	return map[string]any{"taskArns": arns}, nil
}

func (f *fakeAWS) query(op string, form map[string]any) (any, *fault) {
	var b strings.Builder
	switch op {
	case "AssumeRole":
		expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		fmt.Fprintf(&b, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>assumed</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>token</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`, expires)
	case "DescribeVpcs":
		vpc := stringField(form, "VpcId.1")
		if vpc == "" {
			vpc = f.defaultVPC
		} else if f.subnets[vpc] == nil {
			return nil, &fault{code: "InvalidVpcID.NotFound", message: "The vpc ID '" + vpc + "' does not exist"}
		}
		b.WriteString("<DescribeVpcsResponse><vpcSet>")
		if vpc != "" {
			fmt.Fprintf(&b, "<item><vpcId>%s</vpcId></item>", vpc)
		}
		b.WriteString("</vpcSet></DescribeVpcsResponse>")
	case "DescribeSubnets":
		b.WriteString("<DescribeSubnetsResponse><subnetSet>")
		for _, subnet := range f.subnets[stringField(form, "Filter.1.Value.1")] {
			fmt.Fprintf(&b, "<item><subnetId>%s</subnetId></item>", subnet)
		}
		b.WriteString("</subnetSet></DescribeSubnetsResponse>")
	}
	return b.String(), nil
}

func (f *fakeAWS) getLogEvents(body map[string]any) (any, *fault) {
	lines, ok := f.logs[stringField(body, "logGroupName")+" "+stringField(body, "logStreamName")]
	if !ok {
		return nil, &fault{code: "ResourceNotFoundException", message: "The specified log stream does not exist."}
	}
	limit, _ := wholeNumber(body["limit"])
	lines = lines[max(0, len(lines)-int(limit)):]
	var events []any
	for i, line := range lines {
		events = append(events, map[string]any{"timestamp": 1_700_000_000_000 + i, "message": line})
	}
	return map[string]any{"events": events}, nil
}

func (f *fakeAWS) addQueue(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queues[name] = []fakeMessage{}
}

func (f *fakeAWS) send(queue string, bodies ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, body := range bodies {
		f.queues[queue] = append(f.queues[queue], fakeMessage{fmt.Sprintf("m%d-%d", len(f.queues[queue]), i), body})
	}
	close(f.arrived)
	f.arrived = make(chan struct{})
}

func (f *fakeAWS) queued(queue string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.queues[queue])
}

// receive polls until a message is there, or the caller goes.
func (f *fakeAWS) receive(w http.ResponseWriter, r *http.Request, body map[string]any) {
	u := stringField(body, "QueueUrl")
	name := u[strings.LastIndex(u, "/")+1:]
	for {
		f.mu.Lock()
		waiting, exists := f.queues[name]
		arrived := f.arrived
		f.mu.Unlock()
		if !exists {
			writeFault(w, false, fault{code: "com.amazonaws.sqs#QueueDoesNotExist", message: "The specified queue does not exist."})
			return
		}
		if len(waiting) > 0 {
			var messages []any
			limit, _ := wholeNumber(body["MaxNumberOfMessages"])
			for _, m := range waiting[:min(len(waiting), int(limit))] {
				messages = append(messages, map[string]any{"MessageId": m.id, "ReceiptHandle": m.id, "Body": m.body})
			}
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			_ = json.NewEncoder(w).Encode(map[string]any{"Messages": messages})
			return
		}
		select {
		case <-arrived:
		case <-r.Context().Done():
			return
		}
	}
}

func (f *fakeAWS) deleteMessages(body map[string]any) (any, *fault) {
	u := stringField(body, "QueueUrl")
	name := u[strings.LastIndex(u, "/")+1:]
	var deleted []any
	for _, entry := range objects(body["Entries"]) {
		f.queues[name] = slices.DeleteFunc(f.queues[name], func(m fakeMessage) bool { return m.id == entry["ReceiptHandle"] })
		deleted = append(deleted, map[string]any{"Id": entry["Id"]})
	}
	return map[string]any{"Successful": deleted, "Failed": []any{}}, nil
}
