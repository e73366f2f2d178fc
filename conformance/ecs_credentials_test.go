//go:build conformance

package conformance

import (
	"net/http"
	"regexp"
	"slices"
	"testing"

	"faber/internal/fake/fakeaws"

	"github.com/google/uuid"
)

// credentialsBlock makes a block of the type that prefect-aws registers, and
// returns its name and a reference to it, as job variables have it.
func (e *ecsBench) credentialsBlock(data object) (name string, reference object) {
	e.Helper()
	var typ, schema, document object
	if status, _ := e.try("POST", "/block_types/", object{"name": "AWS Credentials", "slug": "aws-credentials"}); status >= http.StatusInternalServerError {
		e.Fatalf("the block type cannot be made: %d", status)
	}
	e.call("GET", "/block_types/slug/aws-credentials", nil, &typ)
	e.call("POST", "/block_schemas/", object{"block_type_id": typ["id"], "capabilities": []string{}, "fields": object{
		"title": "AwsCredentials", "type": "object", "block_type_slug": "aws-credentials", "secret_fields": []string{"aws_secret_access_key"},
		"properties": object{"aws_access_key_id": object{"type": "string"}, "aws_secret_access_key": object{"type": "string", "format": "password"}},
	}}, &schema)
	name = "keys-" + uuid.NewString()[:8]
	e.call("POST", "/block_documents/", object{"name": name, "block_type_id": typ["id"], "block_schema_id": schema["id"], "data": data}, &document)
	return name, object{"$ref": object{"block_document_id": document["id"]}}
}

// signers are the access keys and regions by which calls of these operations
// were signed, each once.
func (e *ecsBench) signers(operations ...string) []string {
	var out []string
	for _, call := range e.cloud.Calls(operations...) {
		if signer := call.AccessKey + " in " + call.Region; !slices.Contains(out, signer) {
			out = append(out, signer)
		}
	}
	return out
}

// templateWithCredentials leaves it to the job variables in which form they name
// credentials: that of the type itself allows its own fields alone.
func templateWithCredentials() object {
	return object{
		"job_configuration": object{
			"env": "{{ env }}", "labels": "{{ labels }}", "aws_credentials": "{{ aws_credentials }}",
			"task_definition": object{"containerDefinitions": []object{{"image": "own/image", "name": "prefect"}}},
			"task_run_request": object{
				"launchType": "FARGATE", "tags": "{{ labels }}",
				"overrides": object{"containerOverrides": []object{{"name": "prefect", "environment": "{{ env }}"}}},
			},
		},
		"variables": object{"type": "object", "properties": object{
			"env": object{"type": "object"}, "labels": object{"type": "object"}, "aws_credentials": object{},
		}},
	}
}

const queueNameSetting = "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME"

func Test094CredentialsBlock(t *testing.T) {
	b := newBench(t, "94", "the AWS credentials block signs ECS and EC2 calls, the environment's credentials those of SQS")
	e := &ecsBench{bench: b, cloud: fakeaws.New(t)}
	b.createPool("ecs", templateWithCredentials())
	e.cloud.AddQueue("events")
	e.start(withEnv(queueNameSetting, "events"))
	name, reference := e.credentialsBlock(object{
		"aws_access_key_id": "AKIABLOCK", "aws_secret_access_key": "block-secret", "region_name": "us-east-2",
	})
	e.launchWith(object{"aws_credentials": reference})
	launching := []string{"RegisterTaskDefinition", "DescribeVpcs", "DescribeSubnets", "RunTask"}
	for _, operation := range launching {
		if got := e.signers(operation); !slices.Equal(got, []string{"AKIABLOCK in us-east-2"}) {
			t.Errorf("%s was signed by %q", operation, got)
		}
	}
	before := len(e.cloud.Calls("RunTask"))
	e.launchWith(object{"aws_credentials": "{{ prefect.blocks.aws-credentials." + name + " }}"})
	e.launchWith(nil)
	if got, want := e.signersOf(before), []string{"AKIABLOCK in us-east-2", "AKIAMACHINE in " + fakeaws.Region}; !slices.Equal(got, want) {
		t.Errorf("a block by its name, and none: RunTask was signed by %q", got)
	}
	e.cloud.WaitCalls(t, shortly, 1, "ReceiveMessage")
	if got := e.signers("GetQueueUrl", "ReceiveMessage"); !slices.Equal(got, []string{"AKIAMACHINE in " + fakeaws.Region}) {
		t.Errorf("SQS was signed by %q", got)
	}
	e.saw("by reference and by name: %v %s; without a block and SQS: %s", launching, e.signers("RegisterTaskDefinition")[0], e.signers("ReceiveMessage")[0])
}

// signersOf are who signed the RunTask calls after the first so many, in order.
func (e *ecsBench) signersOf(after int) []string {
	var out []string
	for _, call := range e.cloud.Calls("RunTask")[after:] {
		out = append(out, call.AccessKey+" in "+call.Region)
	}
	return out
}

func Test095AssumedRole(t *testing.T) {
	b := newBench(t, "95", "credentials with assume_role_arn: AssumeRole is called, the session's name is prefect-session-<8 hex>")
	e := &ecsBench{bench: b, cloud: fakeaws.New(t)}
	b.createPool("ecs", templateWithCredentials())
	e.start()
	role := "arn:aws:iam::123456789012:role/launcher"
	credentials := object{
		"aws_access_key_id": "AKIABLOCK", "aws_secret_access_key": "block-secret", "region_name": fakeaws.Region, "assume_role_arn": role,
	}
	_, reference := e.credentialsBlock(credentials)
	deployment := e.variables(object{"aws_credentials": reference})
	e.launch(deployment)
	e.launch(deployment)
	assumed := e.cloud.Calls("AssumeRole")
	session, _ := assumed[0].Body["RoleSessionName"].(string)
	if !regexp.MustCompile(`^prefect-session-[0-9a-f]{8}$`).MatchString(session) {
		t.Errorf("the session's name is %q", session)
	}
	if assumed[0].Body["RoleArn"] != role || assumed[0].AccessKey != "AKIABLOCK" {
		t.Errorf("AssumeRole was called for %v by %s", assumed[0].Body["RoleArn"], assumed[0].AccessKey)
	}
	for _, operation := range []string{"RegisterTaskDefinition", "DescribeVpcs", "RunTask"} {
		if got := e.signers(operation); !slices.Equal(got, []string{fakeaws.AssumedAccessKey + " in " + fakeaws.Region}) {
			t.Errorf("%s was signed by %q", operation, got)
		}
	}
	credentials["assume_role_kwargs"] = object{"RoleSessionName": "ours", "DurationSeconds": 900, "ExternalId": "outside"}
	_, own := e.credentialsBlock(credentials)
	e.launchWith(object{"aws_credentials": own})
	all := e.cloud.Calls("AssumeRole")
	last := all[len(all)-1].Body
	if last["RoleSessionName"] != "ours" || last["DurationSeconds"] != "900" || last["ExternalId"] != "outside" {
		t.Errorf("the arguments of the block did not arrive: %v", last)
	}
	e.saw("%s by AKIABLOCK; ECS and EC2 signed by the session; own name, 900 s and external id passed on", session)
}
