package ecs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/google/go-cmp/cmp"
)

// recorder takes the bodies of requests, and answers none of them.
type recorder struct{ bodies [][]byte }

func (r *recorder) Do(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	r.bodies = append(r.bodies, body)
	return nil, fmt.Errorf("not sent")
}

// sent is what the SDK itself would send to ECS.
func sent(t *testing.T, input any) map[string]any {
	t.Helper()
	r := &recorder{}
	client := awsecs.New(awsecs.Options{
		Region: "eu-central-1", HTTPClient: r, Retryer: aws.NopRetryer{}, Credentials: sdkcredentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	var err error
	switch input := input.(type) {
	case *awsecs.RunTaskInput:
		_, err = client.RunTask(context.Background(), input)
	case *awsecs.RegisterTaskDefinitionInput:
		_, err = client.RegisterTaskDefinition(context.Background(), input)
	}
	if len(r.bodies) != 1 {
		t.Fatalf("nothing was sent: %v", err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(r.bodies[0], &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// fill sets everything that can be set, all the way down.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for field, inner := range v.Fields() {
			if field.IsExported() {
				fill(inner)
			}
		}
	case reflect.Interface:
		members := unions(v.Type())
		if len(members) == 0 {
			panic("no members of " + v.Type().Name())
		}
		made := reflect.New(members[0])
		fill(made.Elem())
		v.Set(made)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value)
		v.SetMapIndex(reflect.ValueOf("key"), value)
	case reflect.String:
		v.SetString("text")
	case reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic("no value for a " + v.Kind().String())
	}
}

func everyField[T any]() *T {
	value := new(T)
	fill(reflect.ValueOf(value).Elem())
	return value
}

// visit calls f with every object in a value.
func visit(value any, path string, f func(path string, object map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		f(path, value)
		for _, key := range sortedKeys(value) {
			visit(value[key], path+"."+key, f)
		}
	case []any:
		for i, item := range value {
			visit(item, fmt.Sprintf("%s[%d]", path, i), f)
		}
	}
}

// TestEveryFieldPasses sends every field that the SDK knows through the decoder:
// what comes out is what the SDK would have sent of itself.
func TestEveryFieldPasses(t *testing.T) {
	for _, test := range []struct {
		name   string
		input  any
		empty  func() any
		fields int
	}{
		{"RunTask", everyField[awsecs.RunTaskInput](), func() any { return &awsecs.RunTaskInput{} }, 60},
		{"RegisterTaskDefinition", everyField[awsecs.RegisterTaskDefinitionInput](), func() any { return &awsecs.RegisterTaskDefinitionInput{} }, 150},
	} {
		t.Run(test.name, func(t *testing.T) {
			written := sent(t, test.input)
			fields := 0
			visit(written, "", func(_ string, object map[string]any) { fields += len(object) })
			if fields < test.fields {
				t.Errorf("only %d fields were written", fields)
			}
			into := test.empty()
			if err := decodeInto(copyObject(written), into, "request"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(written, sent(t, into)); diff != "" {
				t.Errorf("(-written +passed):\n%s", diff)
			}
		})
	}
}

// TestEveryUnknownFieldIsNamed puts a field that ECS does not have into every
// object of a request.
func TestEveryUnknownFieldIsNamed(t *testing.T) {
	for _, input := range []any{everyField[awsecs.RunTaskInput](), everyField[awsecs.RegisterTaskDefinitionInput]()} {
		whole, tried := sent(t, input), 0
		visit(whole, "request", func(path string, object map[string]any) {
			if path == "request.containerDefinitions[0].dockerLabels" || strings.HasSuffix(path, "options") || strings.HasSuffix(path, "Opts") || strings.HasSuffix(path, ".labels") {
				return // of the user's own making
			}
			tried++
			object["notAField"] = "x"
			err := decodeInto(copyObject(whole), reflect.New(reflect.TypeOf(input).Elem()).Interface(), "request")
			delete(object, "notAField")
			within := strings.TrimPrefix(strings.TrimPrefix(path, "request"), ".")
			want := fmt.Sprintf("Parameter validation failed:\nUnknown parameter in %s: \"notAField\" (%s.notAField: is no field that ECS knows)", firstOf(within, "input"), path)
			if strings.HasSuffix(path, "sharingStrategy") {
				want = fmt.Sprintf("Parameter validation failed:\nInvalid type for parameter %s (%s: must have exactly one of its members)", within, path)
			}
			if err == nil || err.Error() != want {
				t.Errorf("said %v, want %s", err, want)
			}
		})
		if tried < 15 {
			t.Errorf("only %d objects in %T", tried, input)
		}
	}
}

func TestForms(t *testing.T) {
	object := map[string]any{
		"family": "f", "cpu": 256.0, "memory": json.Number("512"), "ephemeralStorage": map[string]any{"sizeInGiB": "21"}, "taskRoleArn": nil,
		"containerDefinitions": []any{nil, map[string]any{"cpu": "10", "essential": true, "dockerLabels": map[string]any{"n": 1.0, "none": nil}, "command": []any{"a", 1.0}}},
	}
	input := &awsecs.RegisterTaskDefinitionInput{}
	if err := decodeInto(object, input, "d"); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"family": "f", "cpu": "256", "memory": "512", "ephemeralStorage": map[string]any{"sizeInGiB": 21.0},
		"containerDefinitions": []any{map[string]any{"cpu": 10.0, "essential": true, "dockerLabels": map[string]any{"n": "1"}, "command": []any{"a", "1"}}},
	}
	if diff := cmp.Diff(want, sent(t, input)); diff != "" {
		t.Error(diff)
	}
	err := decodeInto(map[string]any{
		"Family": "f", "task_role_arn": "r", "cpu": []any{}, "volumes": "v", "enableFaultInjection": "no",
		"containerDefinitions": []any{map[string]any{"memory": 1.5, "stopTimeout": 5e9, "dockerLabels": 1.0, "healthCheck": 2.0}},
	}, input, "d")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{
		"d.Family (family?): is no field", "d.task_role_arn (taskRoleArn?): is no", "d.cpu: must be a string", "d.volumes: must be a list",
		"d.enableFaultInjection: must be true or false, not no", "d.containerDefinitions[0].memory: must be a whole number, not 1.5",
		"d.containerDefinitions[0].stopTimeout: must be a whole", "d.containerDefinitions[0].dockerLabels: must be an object", "d.containerDefinitions[0].healthCheck: must be an object",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("misses %q in:\n%v", part, err)
		}
	}
}

// TestUsersFieldsPassUnchanged has a template with every field of both requests:
// what the launcher does not shape itself is sent as it stands.
func TestUsersFieldsPassUnchanged(t *testing.T) {
	request := sent(t, everyField[awsecs.RunTaskInput]())
	delete(request, "taskDefinition")
	request["launchType"] = "EC2"
	delete(request, "capacityProviderStrategy")
	definition := sent(t, everyField[awsecs.RegisterTaskDefinitionInput]())
	job := testJob(set(request, "task_run_request"), set(definition, "task_definition"), set("text", "container_name"))
	preview, err := newLauncher(t, newFakeAWS(t)).Preview(job)
	if err != nil {
		t.Fatal(err)
	}
	var shown struct {
		TaskDefinition map[string]any `json:"task_definition"`
		RunTask        map[string]any `json:"run_task"`
	}
	encoded, err := json.Marshal(preview)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(encoded, &shown); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(definition, shown.TaskDefinition); diff != "" {
		t.Errorf("definition (-written +sent):\n%s", diff)
	}
	override := func(request map[string]any) map[string]any {
		return objects(request["overrides"].(map[string]any)["containerOverrides"])[0]
	}
	for _, key := range []string{"command", "environment"} { // the job's
		delete(override(request), key)
		delete(override(shown.RunTask), key)
	}
	for _, key := range []string{"taskDefinition", "clientToken", "tags"} {
		delete(request, key)
		delete(shown.RunTask, key)
	}
	if diff := cmp.Diff(request, shown.RunTask); diff != "" {
		t.Errorf("request (-written +sent):\n%s", diff)
	}
}
