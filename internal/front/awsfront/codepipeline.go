package awsfront

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// createPipeline shows moto the role meanwhile: it refuses a pipeline whose role
// it does not know, and the roles are ministack's. Whether CodePipeline may
// assume the role is judged by ministack's, as AWS does.
func (f *Front) createPipeline(x *exchange) (*answer, error) {
	var in struct{ Pipeline struct{ RoleArn string } }
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	if !f.trustsPipelines(x.scope, in.Pipeline.RoleArn) {
		return nil, &refusal{code: "InvalidStructureException", message: "CodePipeline is not authorized to perform AssumeRole on role " + in.Pipeline.RoleArn}
	}
	remove, err := f.mirrorRole(x.scope, in.Pipeline.RoleArn)
	if err != nil {
		return nil, err
	}
	defer remove()
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) { pipelineDefaults(object(v, "pipeline")) }), nil
}

// updatePipeline holds a new role to the same rule.
func (f *Front) updatePipeline(x *exchange) (*answer, error) {
	var in struct{ Pipeline struct{ RoleArn string } }
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	if !f.trustsPipelines(x.scope, in.Pipeline.RoleArn) {
		return nil, &refusal{code: "InvalidStructureException", message: "CodePipeline is not authorized to perform AssumeRole on role " + in.Pipeline.RoleArn}
	}
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) { pipelineDefaults(object(v, "pipeline")) }), nil
}

// getPipeline turns the times in the metadata into the seconds that the protocol
// wants: moto sends ISO texts, and the SDK then refuses the answer.
func (f *Front) getPipeline(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		pipelineDefaults(object(v, "pipeline"))
		secondsOf(object(v, "metadata"))
	}), nil
}

func (f *Front) listPipelines(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		for _, pipeline := range objects(v["pipelines"]) {
			secondsOf(pipeline)
		}
	}), nil
}

func secondsOf(v map[string]any) {
	for _, name := range []string{"created", "updated"} {
		if t, err := time.Parse(time.RFC3339, str(v[name])); err == nil {
			v[name] = json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
		}
	}
}

// pipelineDefaults are what AWS tells of what nobody set.
func pipelineDefaults(pipeline map[string]any) {
	if pipeline["name"] == nil {
		return
	}
	// "The default mode is SUPERSEDED" (PipelineDeclaration).
	preset(pipeline, "executionMode", "SUPERSEDED")
	preset(pipeline, "pipelineType", "V1")
	if pipeline["pipelineType"] == "V2" && len(objects(pipeline["triggers"])) == 0 {
		if triggers := defaultTriggers(pipeline); len(triggers) > 0 {
			pipeline["triggers"] = triggers
		}
	}
}

// defaultTriggers are those that AWS makes for a source that is reached by a
// connection. Its DetectChanges starts the pipeline on a push to its branch: "If
// unspecified, the default value is true" (action reference,
// CodeStarSourceConnection). A pipeline of type V2 then shows that as a trigger.
func defaultTriggers(pipeline map[string]any) []any {
	var triggers []any
	for _, stage := range objects(pipeline["stages"]) {
		for _, action := range objects(stage["actions"]) {
			configuration := object(action, "configuration")
			if object(action, "actionTypeId")["provider"] != "CodeStarSourceConnection" || configuration["DetectChanges"] == "false" {
				continue
			}
			triggers = append(triggers, map[string]any{
				"providerType": "CodeStarSourceConnection",
				"gitConfiguration": map[string]any{
					"sourceActionName": action["name"],
					"push":             []any{map[string]any{"branches": map[string]any{"includes": []any{configuration["BranchName"]}}}},
				},
			})
		}
	}
	return triggers
}

// trustsPipelines asks ministack whether a role exists and lets CodePipeline in.
func (f *Front) trustsPipelines(s scope, arn string) bool {
	form := url.Values{"Action": {"GetRole"}, "Version": {iamVersion}, "RoleName": {lastPart(arn)}}
	a, err := f.query(context.Background(), s, f.o.Ministack, "iam", form)
	if err != nil || !a.ok() {
		return false
	}
	var role struct {
		ARN    string `xml:"GetRoleResult>Role>Arn"`
		Policy string `xml:"GetRoleResult>Role>AssumeRolePolicyDocument"`
	}
	if err := xml.Unmarshal(a.body, &role); err != nil || role.ARN != arn {
		return false
	}
	if plain, err := url.PathUnescape(role.Policy); err == nil {
		role.Policy = plain
	}
	var policy struct {
		Statement []struct {
			Effect    string
			Principal struct{ Service any }
		}
	}
	if err := json.Unmarshal([]byte(role.Policy), &policy); err != nil {
		return false
	}
	for _, statement := range policy.Statement {
		services, _ := statement.Principal.Service.([]any)
		if statement.Effect == "Allow" && slices.Contains(append(services, statement.Principal.Service), any("codepipeline.amazonaws.com")) {
			return true
		}
	}
	return false
}

const iamVersion = "2010-05-08"

// mirrorRole makes a role of that name in moto. What it returns takes it away.
func (f *Front) mirrorRole(s scope, arn string) (remove func(), err error) {
	f.roles.Lock()
	path := "/"
	if i := len("arn:aws:iam::000000000000:role"); len(arn) > i {
		path = arn[i : len(arn)-len(lastPart(arn))]
	}
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"codepipeline.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	create := url.Values{"Action": {"CreateRole"}, "Version": {iamVersion}, "RoleName": {lastPart(arn)}, "Path": {path}, "AssumeRolePolicyDocument": {trust}}
	a, err := f.query(context.Background(), s, f.o.Moto, "iam", create)
	if err == nil && !a.ok() {
		err = errors.New("moto refuses the role: " + string(a.body))
	}
	if err != nil {
		f.roles.Unlock()
		return nil, err
	}
	return func() {
		defer f.roles.Unlock()
		form := url.Values{"Action": {"DeleteRole"}, "Version": {iamVersion}, "RoleName": {lastPart(arn)}}
		if a, err := f.query(context.Background(), s, f.o.Moto, "iam", form); err != nil || !a.ok() {
			f.log.Warn("take the copy of a role away", "role", arn, "error", err)
		}
	}, nil
}
