package awsfront

import (
	"encoding/json"
	"fmt"
)

// newBuildProjects remembers of each CodeBuild project what ministack loses.
func newBuildProjects() *memory {
	return newMemory(
		"autoRetryLimit", "buildBatchConfig", "cache", "concurrentBuildLimit", "fileSystemLocations", "logsConfig",
		"queuedTimeoutInMinutes", "secondaryArtifacts", "secondarySources", "secondarySourceVersions", "vpcConfig",
	)
}

// changeBuildProject remembers what was sent and shows it in the answer.
func (f *Front) changeBuildProject(fresh bool) patch {
	return func(x *exchange) (*answer, error) {
		sent := map[string]json.RawMessage{}
		if err := x.decode(&sent); err != nil {
			return nil, err
		}
		a, err := x.forward()
		if err != nil || !a.ok() {
			return a, err
		}
		f.builds.remember(x.scope.key(text(sent["name"])), sent, fresh)
		return a.edit(func(v map[string]any) { f.tellBuildProject(x.scope, object(v, "project")) }), nil
	}
}

func (f *Front) batchGetProjects(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		for _, project := range objects(v["projects"]) {
			f.tellBuildProject(x.scope, project)
		}
	}), nil
}

// deleteBuildProject takes a project's ARN for its name, as AWS does and
// ministack does not; Terraform's provider sends the ARN.
func (f *Front) deleteBuildProject(x *exchange) (*answer, error) {
	in := map[string]any{}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	in["name"] = lastPart(str(in["name"]))
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	a, err := x.send(body)
	if err == nil && a.ok() {
		f.builds.forget(x.scope.key(str(in["name"])))
	}
	return a, err
}

// tellBuildProject makes of ministack's project what AWS would tell of it. The
// defaults are those of the Project, ProjectArtifacts, ProjectEnvironment and
// EnvironmentVariable pages of the CodeBuild API reference.
func (f *Front) tellBuildProject(s scope, project map[string]any) {
	name := str(project["name"])
	if name == "" {
		return
	}
	f.builds.merge(s.key(name), project)
	// "The default is 8 hours", "an integer between 5 and 480".
	preset(project, "queuedTimeoutInMinutes", 480)
	preset(project, "cache", map[string]any{"type": "NO_CACHE"})
	// Logs go to CloudWatch unless they are turned off.
	preset(project, "logsConfig", map[string]any{
		"cloudWatchLogs": map[string]any{"status": "ENABLED"},
		"s3Logs":         map[string]any{"status": "DISABLED", "encryptionDisabled": false},
	})
	preset(project, "projectVisibility", "PRIVATE")
	// Without a key, "CodeBuild uses the managed CMK for Amazon S3"; ministack
	// names one that does not exist.
	ownKey := fmt.Sprintf("arn:aws:kms:%s:%s:alias/aws/codebuild", s.region, f.account(s))
	if project["encryptionKey"] == ownKey {
		project["encryptionKey"] = fmt.Sprintf("arn:aws:kms:%s:%s:alias/aws/s3", s.region, f.account(s))
	}
	// A limit of -1 removes the limit (UpdateProject).
	if limit, ok := project["concurrentBuildLimit"].(json.RawMessage); ok && string(limit) == "-1" {
		delete(project, "concurrentBuildLimit")
	}
	// "If vpcConfig is {}", the project leaves its VPC.
	if vpc, ok := project["vpcConfig"].(json.RawMessage); ok && len(decoded(vpc)) == 0 {
		delete(project, "vpcConfig")
	}
	if artifacts, ok := project["artifacts"].(map[string]any); ok && artifacts["type"] == "CODEPIPELINE" {
		// What CodePipeline manages is named after the project, and not packaged.
		preset(artifacts, "name", name)
		preset(artifacts, "packaging", "NONE")
		preset(artifacts, "encryptionDisabled", false)
	}
	environment := object(project, "environment")
	preset(environment, "imagePullCredentialsType", "CODEBUILD")
	preset(environment, "privilegedMode", false)
	for _, variable := range objects(environment["environmentVariables"]) {
		preset(variable, "type", "PLAINTEXT")
	}
}
