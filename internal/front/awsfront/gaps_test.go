package awsfront

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What the front answers where an emulator has a gap.

func TestServiceDefaults(t *testing.T) {
	s := newFakeStack(t, Options{})
	told := `{"serviceName":"w","clusterArn":"arn:aws:ecs:us-east-1:123456789012:cluster/c","launchType":"FARGATE","platformVersion":"","deploymentConfiguration":{},"networkConfiguration":{}}`
	s.ministack.says("CreateService", `{"service":`+told+`}`)
	created := object(s.callOK(t, "ecs", ecsTarget+"CreateService",
		`{"cluster":"c","serviceName":"w","launchType":"FARGATE","networkConfiguration":{"awsvpcConfiguration":{"subnets":["subnet-a"]}},"deploymentConfiguration":{"minimumHealthyPercent":50}}`), "service")
	data, err := json.Marshal(created)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "the service", string(data), `"platformVersion":"LATEST"`, `"platformFamily":"Linux"`, `"availabilityZoneRebalancing":"ENABLED"`,
		`"assignPublicIp":"DISABLED"`, `"subnets":["subnet-a"]`, `"minimumHealthyPercent":50`, `"maximumPercent":200`, `"deploymentCircuitBreaker":{"enable":false,"rollback":false}`)
}

func TestPartOfDeploymentConfiguration(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.says("CreateService", `{"service":{}}`)
	s.ministack.says("UpdateService", `{"service":{}}`)
	s.callOK(t, "ecs", ecsTarget+"CreateService", `{"cluster":"c","serviceName":"w","deploymentConfiguration":{"minimumHealthyPercent":100,"deploymentCircuitBreaker":{"enable":true,"rollback":true}}}`)
	updated := object(s.callOK(t, "ecs", ecsTarget+"UpdateService", `{"cluster":"c","service":"w","deploymentConfiguration":{"minimumHealthyPercent":50}}`), "service")
	const want = "map[deploymentCircuitBreaker:map[enable:true rollback:true] maximumPercent:200 minimumHealthyPercent:50]"
	if got := fmt.Sprint(updated["deploymentConfiguration"]); got != want {
		t.Errorf("told: %s", got)
	}
	if sent := object(s.ministack.last("UpdateService"), "deploymentConfiguration"); fmt.Sprint(sent["deploymentCircuitBreaker"]) != "map[enable:true rollback:true]" {
		t.Errorf("ministack was sent %v", sent)
	}
}

func TestStrategyChangeWantsDeployment(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.says("CreateService", `{"service":{}}`)
	s.ministack.says("UpdateService", `{"service":{}}`)
	s.callOK(t, "ecs", ecsTarget+"CreateService", `{"cluster":"c","serviceName":"w","capacityProviderStrategy":[{"capacityProvider":"FARGATE","weight":1}]}`)
	update := func(members string) (int, map[string]any) {
		return s.call(t, "ecs", ecsTarget+"UpdateService", `{"cluster":"c","service":"w",`+members+`}`)
	}
	if status, out := update(`"capacityProviderStrategy":[{"weight":1,"capacityProvider":"FARGATE"}]`); status != 200 {
		t.Errorf("the same strategy: %d %v", status, out)
	}
	other := `"capacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":1}]`
	if status, out := update(other); status != 400 || out["__type"] != "InvalidParameterException" || !strings.Contains(str(out["message"]), "you must force a new deployment") {
		t.Errorf("another strategy: %d %v", status, out)
	}
	if status, out := update(other + `,"forceNewDeployment":true`); status != 200 {
		t.Errorf("another strategy with a new deployment: %d %v", status, out)
	}
	if status, out := update(other); status != 200 {
		t.Errorf("the new strategy again: %d %v", status, out)
	}
}

func TestEmptySecretHasNoVersions(t *testing.T) {
	s := newFakeStack(t, Options{})
	const arn, target = `"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:s-1"`, "secretsmanager."
	s.ministack.says("CreateSecret", `{`+arn+`,"VersionId":"v1"}`)
	s.ministack.says("PutSecretValue", `{`+arn+`,"VersionId":"v2"}`)
	s.ministack.says("UpdateSecret", `{`+arn+`}`)
	s.ministack.says("DescribeSecret", `{`+arn+`,"VersionIdsToStages":{"v1":["AWSCURRENT"]}}`)
	versions := func() any {
		return s.callOK(t, "secretsmanager", target+"DescribeSecret", `{"SecretId":"s"}`)["VersionIdsToStages"]
	}
	s.callOK(t, "secretsmanager", target+"CreateSecret", `{"Name":"s"}`)
	if got := versions(); got != nil {
		t.Errorf("a secret without a value has versions: %v", got)
	}
	s.callOK(t, "secretsmanager", target+"UpdateSecret", `{"SecretId":"s","Description":"d"}`)
	if got := versions(); got != nil {
		t.Errorf("with another description it has versions: %v", got)
	}
	s.callOK(t, "secretsmanager", target+"PutSecretValue", `{"SecretId":"s","SecretString":"x"}`)
	if versions() == nil {
		t.Error("with a value it has no version")
	}
	s.callOK(t, "secretsmanager", target+"CreateSecret", `{"Name":"s","SecretString":"x"}`)
	if versions() == nil {
		t.Error("created with a value it has no version")
	}
}

func TestScalableTargets(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.says("DescribeServices", `{"services":[{"status":"ACTIVE","desiredCount":2}]}`)
	s.ministack.says("UpdateService", `{"service":{}}`)
	s.moto.says("DescribeServices", `{"services":[]}`)
	for _, operation := range []string{"CreateCluster", "CreateService", "DeleteService", "DeleteCluster", "DeregisterScalableTarget"} {
		s.moto.says(operation, `{}`)
	}
	s.moto.says("RegisterScalableTarget", `{"ScalableTargetARN":"arn:target"}`)
	target := `"ServiceNamespace":"ecs","ResourceId":"service/c/w","ScalableDimension":"ecs:service:DesiredCount"`
	s.callOK(t, "application-autoscaling", scalingTarget+"RegisterScalableTarget", `{`+target+`,"Tags":{"a":"1","b":"2"}}`)
	for _, operation := range []string{"CreateService", "DeleteService"} {
		if in := s.moto.last(operation); in["cluster"] != "c" || str(in["serviceName"])+str(in["service"]) != "w" {
			t.Errorf("%s at moto: %v", operation, in)
		}
	}
	if s.moto.count("DeleteCluster") != s.moto.count("RegisterScalableTarget") {
		t.Error("moto keeps the copy of the cluster")
	}
	if n := s.ministack.count("UpdateService"); n != 0 {
		t.Errorf("a service without bounds was changed: %d", n)
	}
	for bounds, want := range map[string]float64{`"MinCapacity":0,"MaxCapacity":1`: 1, `"MinCapacity":3,"MaxCapacity":5`: 3} {
		s.callOK(t, "application-autoscaling", scalingTarget+"RegisterScalableTarget", `{`+target+`,`+bounds+`}`)
		if in := s.ministack.last("UpdateService"); in["desiredCount"] != want || in["service"] != "w" {
			t.Errorf("%s: %v", bounds, in)
		}
	}
	n := s.ministack.count("UpdateService")
	s.callOK(t, "application-autoscaling", scalingTarget+"RegisterScalableTarget", `{`+target+`,"MinCapacity":1,"MaxCapacity":2}`)
	if s.ministack.count("UpdateService") != n {
		t.Error("a service inside its bounds was changed")
	}
	s.moto.says("DescribeScalableTargets", `{"ScalableTargets":[{"ServiceNamespace":"ecs","RoleARN":null},{"ServiceNamespace":"ecs","RoleARN":"arn:own"}]}`)
	data, err := json.Marshal(s.callOK(t, "application-autoscaling", scalingTarget+"DescribeScalableTargets", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "targets", string(data), "AWSServiceRoleForApplicationAutoScaling_ECSService", "arn:own")
	s.callOK(t, "application-autoscaling", scalingTarget+"TagResource", `{"ResourceARN":"arn:target","Tags":{"b":"3"}}`)
	s.callOK(t, "application-autoscaling", scalingTarget+"UntagResource", `{"ResourceARN":"arn:target","TagKeys":["a"]}`)
	if out := s.callOK(t, "application-autoscaling", scalingTarget+"ListTagsForResource", `{"ResourceARN":"arn:target"}`); fmt.Sprint(out["Tags"]) != "map[b:3]" {
		t.Errorf("tags: %v", out)
	}
	s.moto.says("DescribeScalingPolicies", `{"ScalingPolicies":[{"PolicyName":"p"}]}`)
	s.moto.says("DescribeScheduledActions", `{"ScheduledActions":[{"ScheduledActionName":"a"}]}`)
	s.moto.says("DeleteScalingPolicy", `{}`)
	s.moto.says("DeleteScheduledAction", `{}`)
	s.callOK(t, "application-autoscaling", scalingTarget+"DeregisterScalableTarget", `{`+target+`}`)
	if p, a := s.moto.last("DeleteScalingPolicy"), s.moto.last("DeleteScheduledAction"); p["PolicyName"] != "p" || a["ScheduledActionName"] != "a" || a["ResourceId"] != "service/c/w" {
		t.Errorf("with the target were deleted %v and %v", p, a)
	}
	if status, out := s.call(t, "application-autoscaling", scalingTarget+"ListTagsForResource", `{"ResourceARN":"arn:target"}`); status != 400 || out["__type"] != "ResourceNotFoundException" {
		t.Errorf("tags of no target: %d %v", status, out)
	}
	s.ministack.says("DescribeServices", `{"services":[]}`)
	if status, out := s.call(t, "application-autoscaling", scalingTarget+"RegisterScalableTarget", `{`+target+`}`); status != 400 || out["__type"] != "ValidationException" {
		t.Errorf("a target for no service: %d %v", status, out)
	}
}

func TestScalingPolicyKeepsItsARN(t *testing.T) {
	s := newFakeStack(t, Options{})
	n := 0
	s.moto.on("PutScalingPolicy", func(map[string]any) (int, any) {
		n++
		return 200, map[string]any{"PolicyARN": fmt.Sprintf("arn:policy-%d:", n), "Alarms": []any{}}
	})
	s.moto.on("DescribeScalingPolicies", func(map[string]any) (int, any) {
		return 200, map[string]any{"ScalingPolicies": []any{map[string]any{"PolicyARN": fmt.Sprintf("arn:policy-%d:", n)}}}
	})
	s.moto.says("DeleteScalingPolicy", `{}`)
	policy := `{"PolicyName":"p","ServiceNamespace":"ecs","ResourceId":"service/c/w","ScalableDimension":"ecs:service:DesiredCount"}`
	put := func() any {
		return s.callOK(t, "application-autoscaling", scalingTarget+"PutScalingPolicy", policy)["PolicyARN"]
	}
	first := put()
	if s.moto.count("DeleteScalingPolicy") != 0 {
		t.Error("a new policy was deleted first")
	}
	if again := put(); again != first || n != 2 {
		t.Errorf("changed: %v, want %v", again, first)
	}
	if in := s.moto.last("DeleteScalingPolicy"); in["PolicyName"] != "p" || in["ResourceId"] != "service/c/w" {
		t.Errorf("the alarms of the former policy stay: %v", in)
	}
	told := objects(s.callOK(t, "application-autoscaling", scalingTarget+"DescribeScalingPolicies", `{}`)["ScalingPolicies"])
	if told[0]["PolicyARN"] != first {
		t.Errorf("described: %v, want %v", told, first)
	}
	s.callOK(t, "application-autoscaling", scalingTarget+"DeleteScalingPolicy", policy)
	if anew := put(); anew == first {
		t.Error("a new policy has the ARN of one that was deleted")
	}
}

func TestCompositeAlarms(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.moto.saysXML("DescribeAlarms", `<DescribeAlarmsResponse><DescribeAlarmsResult><MetricAlarms><member><AlarmName>a</AlarmName></member></MetricAlarms><CompositeAlarms/></DescribeAlarmsResult></DescribeAlarmsResponse>`)
	s.moto.saysXML("DeleteAlarms", `<DeleteAlarmsResponse/>`)
	s.moto.saysXML("ListTagsForResource", `<of-moto/>`)
	put := func(rule string, more ...string) (int, string) {
		return s.form(t, "monitoring", "PutCompositeAlarm", append([]string{"AlarmName=any <one>", "AlarmRule=" + rule, "AlarmActions.member.1=arn:topic"}, more...)...)
	}
	if status, body := put(`ALARM("a") OR ALARM(b)`); status != 400 {
		t.Errorf("a rule with an alarm that is not there: %d %s", status, body)
	} else {
		contains(t, "refusal", body, "<Code>ValidationError</Code>", "Could not save the composite alarm as alarms [b] in the alarm rule do not exist")
	}
	rule := `ALARM("arn:aws:cloudwatch:us-east-1:123456789012:alarm:a")`
	if status, body := put(rule, "Tags.member.1.Key=k", "Tags.member.1.Value=v"); status != 200 {
		t.Fatalf("put: %d %s", status, body)
	}
	const arn = "ResourceARN=arn:aws:cloudwatch:us-east-1:123456789012:alarm:any <one>"
	composites := s.formOK(t, "monitoring", "DescribeAlarms", "AlarmTypes.member.1=CompositeAlarm", "AlarmNames.member.1=any <one>")
	contains(t, "composite", composites, "<AlarmName>any &lt;one&gt;</AlarmName>", "<ActionsEnabled>true</ActionsEnabled>", "<member>arn:topic</member>",
		"<AlarmRule>ALARM(&#34;arn:aws:cloudwatch:us-east-1:123456789012:alarm:a&#34;)</AlarmRule>", "<StateValue>INSUFFICIENT_DATA</StateValue>", "!<AlarmName>a<")
	both := s.formOK(t, "monitoring", "DescribeAlarms", "AlarmTypes.member.1=CompositeAlarm", "AlarmTypes.member.2=MetricAlarm")
	contains(t, "both", both, "<AlarmName>a</AlarmName>", "<AlarmName>any &lt;one&gt;</AlarmName>", "!<CompositeAlarms/>")
	contains(t, "without types", s.formOK(t, "monitoring", "DescribeAlarms"), "<AlarmName>a</AlarmName>", "!any")

	// A change: its tags are ignored.
	if status, body := put(rule, "ActionsEnabled=false", "Tags.member.1.Key=other", "Tags.member.1.Value=v"); status != 200 {
		t.Fatalf("change: %d %s", status, body)
	}
	contains(t, "changed", s.formOK(t, "monitoring", "DescribeAlarms", "AlarmTypes.member.1=CompositeAlarm"), "<ActionsEnabled>false</ActionsEnabled>")
	s.formOK(t, "monitoring", "TagResource", arn, "Tags.member.1.Key=l", "Tags.member.1.Value=w")
	s.formOK(t, "monitoring", "UntagResource", arn, "TagKeys.member.1=k")
	contains(t, "tags", s.formOK(t, "monitoring", "ListTagsForResource", arn), "<member><Key>l</Key><Value>w</Value></member>", "!other", "!<Key>k<")
	contains(t, "tags of a metric alarm", s.formOK(t, "monitoring", "ListTagsForResource", "ResourceARN=arn:a"), "<of-moto/>")

	s.formOK(t, "monitoring", "DeleteAlarms", "AlarmNames.member.1=any <one>")
	if n := s.moto.count("DeleteAlarms"); n != 0 {
		t.Errorf("moto was asked to delete what it has not: %d", n)
	}
	contains(t, "after deletion", s.formOK(t, "monitoring", "DescribeAlarms", "AlarmTypes.member.1=CompositeAlarm"), "!any")
	s.formOK(t, "monitoring", "DeleteAlarms", "AlarmNames.member.1=a")
	if n := s.moto.count("DeleteAlarms"); n != 1 {
		t.Errorf("moto was asked %d times to delete its alarm", n)
	}
}

func TestConnections(t *testing.T) {
	s := newFakeStack(t, Options{})
	for service, target := range map[string]string{
		"codestar-connections": "com.amazonaws.codestar.connections.CodeStar_connections_20191201.",
		"codeconnections":      "CodeConnections_20231201.",
	} {
		made := s.callOK(t, service, target+"CreateConnection", `{"ConnectionName":"n","ProviderType":"GitHub","Tags":[{"Key":"a","Value":"1"}]}`)
		arn := str(made["ConnectionArn"])
		if !strings.HasPrefix(arn, "arn:aws:"+service+":us-east-1:123456789012:connection/") {
			t.Errorf("ARN %s", arn)
		}
		if status, out := s.call(t, service, target+"CreateConnection", `{"ConnectionName":"n"}`); status != 400 {
			t.Errorf("a connection to nowhere: %d %v", status, out)
		}
		byARN, resource := `{"ConnectionArn":"`+arn+`"}`, `"ResourceArn":"`+arn+`"`
		got := object(s.callOK(t, service, target+"GetConnection", byARN), "Connection")
		if got["ConnectionStatus"] != "PENDING" || got["ProviderType"] != "GitHub" || got["OwnerAccountId"] != "123456789012" || got["ConnectionName"] != "n" {
			t.Errorf("connection: %v", got)
		}
		s.callOK(t, service, target+"TagResource", `{`+resource+`,"Tags":[{"Key":"b","Value":"2"}]}`)
		s.callOK(t, service, target+"UntagResource", `{`+resource+`,"TagKeys":["a"]}`)
		if tags := s.callOK(t, service, target+"ListTagsForResource", `{`+resource+`}`)["Tags"]; fmt.Sprint(tags) != "[map[Key:b Value:2]]" {
			t.Errorf("tags: %v", tags)
		}
		if list := objects(s.callOK(t, service, target+"ListConnections", `{"ProviderTypeFilter":"GitHub"}`)["Connections"]); len(list) != 1 {
			t.Errorf("list: %v", list)
		}
		if list := objects(s.callOK(t, service, target+"ListConnections", `{"ProviderTypeFilter":"Bitbucket"}`)["Connections"]); len(list) != 0 {
			t.Errorf("list of others: %v", list)
		}
		s.callOK(t, service, target+"DeleteConnection", byARN)
		if status, out := s.call(t, service, target+"GetConnection", byARN); status != 400 || out["__type"] != "ResourceNotFoundException" {
			t.Errorf("after deletion: %d %v", status, out)
		}
	}
}

func TestCostTags(t *testing.T) {
	s := newFakeStack(t, Options{})
	const ce = "AWSInsightsIndexService."
	s.callOK(t, "ce", ce+"UpdateCostAllocationTagsStatus", `{"CostAllocationTagsStatus":[{"TagKey":"a","Status":"Active"},{"TagKey":"b","Status":"Inactive"}]}`)
	list := func(filter string) string {
		return fmt.Sprint(s.callOK(t, "ce", ce+"ListCostAllocationTags", filter)["CostAllocationTags"])
	}
	contains(t, "tag a", list(`{"TagKeys":["a"]}`), "TagKey:a", "Status:Active", "Type:UserDefined", "!TagKey:b")
	contains(t, "inactive", list(`{"Status":"Inactive"}`), "TagKey:b", "!TagKey:a")
	contains(t, "made by AWS", list(`{"Type":"AWSGenerated"}`), "!TagKey")
	if status, out := s.call(t, "ce", ce+"UpdateCostAllocationTagsStatus", `{"CostAllocationTagsStatus":[]}`); status != 400 {
		t.Errorf("no tags: %d %v", status, out)
	}
}

func TestBuildProjects(t *testing.T) {
	s := newFakeStack(t, Options{})
	told := `{"name":"p","artifacts":{"type":"CODEPIPELINE"},"environment":{"image":"i","environmentVariables":[{"name":"A","value":"b"}]},"encryptionKey":"arn:aws:kms:us-east-1:123456789012:alias/aws/codebuild"}`
	for _, operation := range []string{"CreateProject", "UpdateProject"} {
		s.ministack.says(operation, `{"project":`+told+`}`)
	}
	s.ministack.says("BatchGetProjects", `{"projects":[`+told+`],"projectsNotFound":[]}`)
	s.ministack.says("DeleteProject", `{}`)
	const cb = "CodeBuild_20161006."
	get := func() string {
		t.Helper()
		data, err := json.Marshal(objects(s.callOK(t, "codebuild", cb+"BatchGetProjects", `{"names":["p"]}`)["projects"])[0])
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	contains(t, "nothing set", get(), `"queuedTimeoutInMinutes":480`, `"cache":{"type":"NO_CACHE"}`, `"cloudWatchLogs":{"status":"ENABLED"}`, `"imagePullCredentialsType":"CODEBUILD"`,
		`"type":"PLAINTEXT"`, `"packaging":"NONE"`, `alias/aws/s3`, `"projectVisibility":"PRIVATE"`)
	created := s.callOK(t, "codebuild", cb+"CreateProject", `{"name":"p","queuedTimeoutInMinutes":60,"concurrentBuildLimit":1,"vpcConfig":{"vpcId":"vpc-1"},"logsConfig":{"cloudWatchLogs":{"status":"ENABLED","groupName":"g"}}}`)
	if project := object(created, "project"); project["queuedTimeoutInMinutes"] != 60.0 {
		t.Errorf("created: %v", project)
	}
	contains(t, "created", get(), `"queuedTimeoutInMinutes":60`, `"concurrentBuildLimit":1`, `"vpcId":"vpc-1"`, `"groupName":"g"`)
	s.callOK(t, "codebuild", cb+"UpdateProject", `{"name":"p","concurrentBuildLimit":-1,"vpcConfig":{}}`)
	contains(t, "changed", get(), `"queuedTimeoutInMinutes":60`, `!concurrentBuildLimit`, `!vpcConfig`, `"groupName":"g"`)
	s.callOK(t, "codebuild", cb+"DeleteProject", `{"name":"arn:aws:codebuild:us-east-1:123456789012:project/p"}`)
	if in := s.ministack.last("DeleteProject"); in["name"] != "p" {
		t.Errorf("deleted %v", in)
	}
	contains(t, "deleted", get(), `"queuedTimeoutInMinutes":480`)
}

func TestPipelines(t *testing.T) {
	s := newFakeStack(t, Options{})
	const role = "arn:aws:iam::123456789012:role/faber/pipeline"
	trust := func(service string) {
		s.ministack.saysXML("GetRole", `<GetRoleResponse><GetRoleResult><Role><Arn>`+role+`</Arn><AssumeRolePolicyDocument>`+
			`%7B%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22Service%22%3A%5B%22x%22%2C%22`+service+`%22%5D%7D%7D%5D%7D`+
			`</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>`)
	}
	s.moto.saysXML("CreateRole", `<CreateRoleResponse/>`)
	s.moto.saysXML("DeleteRole", `<DeleteRoleResponse/>`)
	source := `{"name":"S","actions":[{"name":"Get","actionTypeId":{"provider":"CodeStarSourceConnection"},"configuration":{"BranchName":"main"%s}}]}`
	pipeline := func(detect string) string {
		return `{"pipeline":{"name":"p","pipelineType":"V2","roleArn":"` + role + `","stages":[` + fmt.Sprintf(source, detect) + `]},"metadata":{"created":"2026-01-02T03:04:05.678Z","updated":"never"}}`
	}
	for _, operation := range []string{"CreatePipeline", "UpdatePipeline", "GetPipeline"} {
		s.moto.says(operation, pipeline(""))
	}
	const cp = "CodePipeline_20150709."
	trust("ec2.amazonaws.com")
	for _, operation := range []string{"CreatePipeline", "UpdatePipeline"} {
		if status, out := s.call(t, "codepipeline", cp+operation, pipeline("")); status != 400 || out["__type"] != "InvalidStructureException" || !strings.Contains(str(out["message"]), "not authorized to perform AssumeRole") {
			t.Errorf("%s with a role that CodePipeline cannot assume: %d %v", operation, status, out)
		}
	}
	trust("codepipeline.amazonaws.com")
	s.callOK(t, "codepipeline", cp+"CreatePipeline", pipeline(""))
	if in := s.moto.last("CreateRole"); in["RoleName"] != "pipeline" || in["Path"] != "/faber/" || s.moto.count("DeleteRole") != 1 {
		t.Errorf("moto was shown the role %v and keeps it: %d", in, s.moto.count("DeleteRole"))
	}
	s.callOK(t, "codepipeline", cp+"UpdatePipeline", pipeline(""))
	out := s.callOK(t, "codepipeline", cp+"GetPipeline", `{"name":"p"}`)
	if meta := object(out, "metadata"); meta["created"] != 1767323045.678 || meta["updated"] != "never" {
		t.Errorf("metadata: %v", meta)
	}
	got := object(out, "pipeline")
	if got["executionMode"] != "SUPERSEDED" {
		t.Errorf("mode: %v", got)
	}
	if want := "[map[gitConfiguration:map[push:[map[branches:map[includes:[main]]]] sourceActionName:Get] providerType:CodeStarSourceConnection]]"; fmt.Sprint(got["triggers"]) != want {
		t.Errorf("triggers: %v", got["triggers"])
	}
	s.moto.says("GetPipeline", pipeline(`,"DetectChanges":"false"`))
	if got := object(s.callOK(t, "codepipeline", cp+"GetPipeline", `{"name":"p"}`), "pipeline"); got["triggers"] != nil {
		t.Errorf("triggers of a source that detects no changes: %v", got["triggers"])
	}
	s.moto.says("ListPipelines", `{"pipelines":[{"name":"p","created":"2026-01-02T03:04:05.678Z"}]}`)
	if list := objects(s.callOK(t, "codepipeline", cp+"ListPipelines", `{}`)["pipelines"]); list[0]["created"] != 1767323045.678 {
		t.Errorf("list: %v", list)
	}
}

func TestEndpoints(t *testing.T) {
	s := newFakeStack(t, Options{})
	dns := "true"
	s.ministack.on("DescribeVpcAttribute", func(in map[string]any) (int, any) {
		name := str(in["Attribute"])
		return 200, xmlBody("<R><" + name + ">\n <value>" + dns + "</value></" + name + "></R>")
	})
	n := 0
	s.ministack.on("CreateVpcEndpoint", func(map[string]any) (int, any) {
		n++
		return 200, xmlBody(fmt.Sprintf("<R><vpcEndpoint><vpcEndpointId>vpce-%d</vpcEndpointId></vpcEndpoint></R>", n))
	})
	s.ministack.on("DescribeVpcEndpoints", func(map[string]any) (int, any) {
		var b strings.Builder
		for i := range n + 1 {
			fmt.Fprintf(&b, "<item><vpcEndpointId>vpce-%d</vpcEndpointId></item>", i)
		}
		return 200, xmlBody(b.String())
	})
	s.ministack.saysXML("ModifyVpcEndpoint", "<R/>")
	s.ministack.saysXML("DeleteVpcEndpoints", "<R/>")
	create := []string{"VpcId=vpc-1", "VpcEndpointType=Interface", "ServiceName=com.amazonaws.us-east-1.ecr.api", "SecurityGroupId.1=sg-1"}
	created := s.formOK(t, "ec2", "CreateVpcEndpoint", create...)
	contains(t, "created", created, "<groupId>sg-1</groupId>", "<privateDnsEnabled>true</privateDnsEnabled>", "&#34;Action&#34;:&#34;*&#34;", "vpce-1.ecr.api.us-east-1.vpce.amazonaws.com")
	if status, body := s.form(t, "ec2", "CreateVpcEndpoint", create...); status != 400 || !strings.Contains(body, "conflicting DNS domain") {
		t.Errorf("a second one of that name: %d %s", status, body)
	}
	s.formOK(t, "ec2", "CreateVpcEndpoint", "VpcId=vpc-1", "VpcEndpointType=Gateway", "ServiceName=com.amazonaws.us-east-1.s3", "PolicyDocument={}")
	s.formOK(t, "ec2", "ModifyVpcEndpoint", "VpcEndpointId=vpce-1", "AddSecurityGroupId.1=sg-2", "RemoveSecurityGroupId.1=sg-1", "PrivateDnsEnabled=false", "PolicyDocument={\"a\":1}")
	described := s.formOK(t, "ec2", "DescribeVpcEndpoints")
	contains(t, "changed", described, "<groupId>sg-2</groupId>", "!<groupId>sg-1</groupId>", "{&#34;a&#34;:1}", "!<privateDnsEnabled>true", "<item><vpcEndpointId>vpce-0</vpcEndpointId></item>")
	dns = "false"
	if status, body := s.form(t, "ec2", "ModifyVpcEndpoint", "VpcEndpointId=vpce-1", "PrivateDnsEnabled=true"); status != 400 || !strings.Contains(body, "enableDnsHostnames VPC attributes set to true") {
		t.Errorf("private names in a VPC without names: %d %s", status, body)
	}
	s.formOK(t, "ec2", "ModifyVpcEndpoint", "VpcEndpointId=vpce-1", "ResetPolicy=true")
	contains(t, "reset", s.formOK(t, "ec2", "DescribeVpcEndpoints"), "&#34;Action&#34;:&#34;*&#34;")
	s.formOK(t, "ec2", "DeleteVpcEndpoints", "VpcEndpointId.1=vpce-1")
	contains(t, "deleted", s.formOK(t, "ec2", "DescribeVpcEndpoints"), "<item><vpcEndpointId>vpce-1</vpcEndpointId></item>")
}

func TestFlowLogs(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.saysXML("CreateFlowLogs", "<R><flowLogIdSet><item>fl-1</item></flowLogIdSet></R>")
	s.ministack.saysXML("DescribeFlowLogs", "<R><item><flowLogId>fl-1</flowLogId><creationTime>now</creationTime></item></R>")
	s.ministack.saysXML("DeleteFlowLogs", "<R/>")
	s.formOK(t, "ec2", "CreateFlowLogs", "DeliverLogsPermissionArn=arn:role", "ResourceId.1=vpc-1", "TagSpecification.1.ResourceType=vpc-flow-log", "TagSpecification.1.Tag.1.Key=k")
	if in := s.ministack.last("CreateFlowLogs"); in["TagSpecification.1.ResourceType"] != "flow-log" || in["TagSpecification.1.Tag.1.Key"] != "k" {
		t.Errorf("ministack loses the tags: %v", in)
	}
	contains(t, "flow log", s.formOK(t, "ec2", "DescribeFlowLogs"), "<creationTime>now</creationTime></item>", "<deliverLogsPermissionArn>arn:role<", "<maxAggregationInterval>600<", "${srcaddr}")
	s.formOK(t, "ec2", "CreateFlowLogs", "MaxAggregationInterval=60", "LogFormat=f")
	contains(t, "another", s.formOK(t, "ec2", "DescribeFlowLogs"), "<maxAggregationInterval>60<", "<logFormat>f<")
	s.formOK(t, "ec2", "DeleteFlowLogs", "FlowLogId.1=fl-1")
	contains(t, "deleted", s.formOK(t, "ec2", "DescribeFlowLogs"), "<flowLogId>fl-1</flowLogId>", "!logFormat")
}

func TestPendingSubscriptions(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.on("Subscribe", func(in map[string]any) (int, any) {
		return 200, xmlBody("<SubscribeResponse><SubscribeResult><SubscriptionArn>arn:" + str(in["Endpoint"]) + "</SubscriptionArn></SubscribeResult></SubscribeResponse>")
	})
	s.ministack.saysXML("GetSubscriptionAttributes", "<entry><key>PendingConfirmation</key><value>false</value></entry><entry><key>ConfirmationWasAuthenticated</key><value>true</value></entry>")
	s.ministack.saysXML("ListSubscriptionsByTopic", "<SubscriptionArn>arn:mail</SubscriptionArn><SubscriptionArn>arn:queue</SubscriptionArn>")
	s.ministack.saysXML("Unsubscribe", "<R/>")
	contains(t, "subscribed", s.formOK(t, "sns", "Subscribe", "Protocol=email", "Endpoint=mail"), "pending confirmation", "!arn:mail")
	contains(t, "subscribed, ARN wanted", s.formOK(t, "sns", "Subscribe", "Protocol=email", "Endpoint=mail", "ReturnSubscriptionArn=true"), "arn:mail")
	s.formOK(t, "sns", "Subscribe", "Protocol=sqs", "Endpoint=queue")
	contains(t, "by mail", s.formOK(t, "sns", "GetSubscriptionAttributes", "SubscriptionArn=arn:mail"),
		"<key>PendingConfirmation</key><value>true</value>", "<key>ConfirmationWasAuthenticated</key><value>false</value>")
	contains(t, "by queue", s.formOK(t, "sns", "GetSubscriptionAttributes", "SubscriptionArn=arn:queue"), "<key>PendingConfirmation</key><value>false</value>")
	contains(t, "list", s.formOK(t, "sns", "ListSubscriptionsByTopic"), "<SubscriptionArn>PendingConfirmation</SubscriptionArn>", "arn:queue", "!arn:mail")
	if status, body := s.form(t, "sns", "Unsubscribe", "SubscriptionArn=arn:mail"); status != 400 || !strings.Contains(body, "Cannot unsubscribe a subscription that is pending confirmation") {
		t.Errorf("unsubscribe what is pending: %d %s", status, body)
	}
	s.formOK(t, "sns", "Unsubscribe", "SubscriptionArn=arn:queue")
}

func TestSubnetSizes(t *testing.T) {
	s := newFakeStack(t, Options{})
	s.ministack.saysXML("DescribeSubnets", "<item><cidrBlock>10.0.0.0/28</cidrBlock>\n <availableIpAddressCount>251</availableIpAddressCount></item>"+
		"<item><cidrBlock>10.0.16.0/20</cidrBlock><availableIpAddressCount>251</availableIpAddressCount></item>")
	contains(t, "subnets", s.formOK(t, "ec2", "DescribeSubnets"), ">11<", ">4091<", "!251")
}

func TestIdentityProviders(t *testing.T) {
	s := newFakeStack(t, Options{})
	const arn = "arn:aws:iam::123456789012:oidc-provider/example.com"
	s.ministack.saysXML("CreateOpenIDConnectProvider", "<R><OpenIDConnectProviderArn>"+arn+"</OpenIDConnectProviderArn></R>")
	s.ministack.saysXML("GetOpenIDConnectProvider", "<R><Url>https://example.com</Url><ClientIDList><member>a</member></ClientIDList><ThumbprintList></ThumbprintList><Tags></Tags></R>")
	s.ministack.saysXML("DeleteOpenIDConnectProvider", "<R/>")
	const which = "OpenIDConnectProviderArn=" + arn
	get := func() string { t.Helper(); return s.formOK(t, "iam", "GetOpenIDConnectProvider", which) }
	s.formOK(t, "iam", "CreateOpenIDConnectProvider", "Url=https://example.com", "ClientIDList.member.1=a", "Tags.member.1.Key=k", "Tags.member.1.Value=v")
	contains(t, "created", get(), "<Url>example.com</Url>", "<ClientIDList><member>a</member></ClientIDList>", "<member>"+foundThumbprint+"</member>", "<Key>k</Key><Value>v</Value>")
	s.formOK(t, "iam", "TagOpenIDConnectProvider", which, "Tags.member.1.Key=l", "Tags.member.1.Value=w")
	s.formOK(t, "iam", "UntagOpenIDConnectProvider", which, "TagKeys.member.1=k")
	s.formOK(t, "iam", "UpdateOpenIDConnectProviderThumbprint", which, "ThumbprintList.member.1=t")
	s.formOK(t, "iam", "AddClientIDToOpenIDConnectProvider", which, "ClientID=b")
	s.formOK(t, "iam", "RemoveClientIDFromOpenIDConnectProvider", which, "ClientID=a")
	contains(t, "changed", get(), "<ClientIDList><member>b</member></ClientIDList>", "<ThumbprintList><member>t</member></ThumbprintList>", "<Tags><member><Key>l</Key><Value>w</Value></member></Tags>")
	s.formOK(t, "iam", "DeleteOpenIDConnectProvider", which)
	if status, body := s.form(t, "iam", "TagOpenIDConnectProvider", which); status != 400 || !strings.Contains(body, "NoSuchEntity") {
		t.Errorf("tag what was deleted: %d %s", status, body)
	}
}
