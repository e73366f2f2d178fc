//go:build integration

package infra

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// direct keeps no connection, so that none is left when the tests are over.
var direct = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// inventory is what an emulator holds: ids and names, each with the call that
// told of it. It comes from the emulator itself, past Terraform and its state.
type inventory map[string]bool

// since are the entries that were not there before.
func (i inventory) since(before inventory) []string {
	var more []string
	for entry := range i {
		if !before[entry] {
			more = append(more, entry)
		}
	}
	slices.Sort(more)
	return more
}

// listings are the calls that list everything of a kind, and how an entry looks
// in their answers. Deleted NAT gateways, task definitions and keys stay on AWS
// as records for a while, and are told of there as such.
var listings = []struct{ service, call, body, entry string }{
	{"ec2", "DescribeVpcs", "", `<vpcId>([^<]+)`},
	{"ec2", "DescribeSubnets", "", `<subnetId>([^<]+)`},
	{"ec2", "DescribeRouteTables", "", `<routeTableId>([^<]+)`},
	{"ec2", "DescribeInternetGateways", "", `<internetGatewayId>([^<]+)`},
	{"ec2", "DescribeNatGateways", "Filter.1.Name=state&Filter.1.Value.1=available", `<natGatewayId>([^<]+)`},
	{"ec2", "DescribeAddresses", "", `<allocationId>([^<]+)`},
	{"ec2", "DescribeSecurityGroups", "", `<groupId>([^<]+)`},
	{"ec2", "DescribeVpcEndpoints", "", `<vpcEndpointId>([^<]+)`},
	{"ec2", "DescribeFlowLogs", "", `<flowLogId>([^<]+)`},
	{"ec2", "DescribeNetworkInterfaces", "", `<networkInterfaceId>([^<]+)`},
	{"ec2", "DescribeTags", "", `<resourceId>([^<]+)`},
	{"iam", "ListRoles", "", `<RoleName>([^<]+)`},
	{"iam", "ListPolicies", "Scope=Local", `<PolicyName>([^<]+)`},
	{"iam", "ListOpenIDConnectProviders", "", `<Arn>([^<]+)`},
	{"sns", "ListTopics", "", `<TopicArn>([^<]+)`},
	{"sns", "ListSubscriptions", "", `<TopicArn>([^<]+)`},
	{"monitoring", "DescribeAlarms", "AlarmTypes.member.1=MetricAlarm&AlarmTypes.member.2=CompositeAlarm", `<AlarmName>([^<]+)`},
	{"monitoring", "ListDashboards", "", `<DashboardName>([^<]+)`},
	{"logs", "Logs_20140328.DescribeLogGroups", "{}", `"logGroupName": *"([^"]+)`},
	{"secretsmanager", "secretsmanager.ListSecrets", "{}", `"Name": *"([^"]+)`},
	{"sqs", "AmazonSQS.ListQueues", "{}", `"(http[^"]+)"`},
	{"events", "AWSEvents.ListRules", "{}", `"Name": *"([^"]+)`},
	{"ssm", "AmazonSSM.DescribeParameters", "{}", `"Name": *"([^"]+)`},
	{"kms", "TrentService.ListAliases", "{}", `"AliasName": *"([^"]+)`},
	{"ecr", "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories", "{}", `"repositoryName": *"([^"]+)`},
	{"ecs", "AmazonEC2ContainerServiceV20141113.ListClusters", "{}", `"(arn:[^"]+)`},
	{"ecs", "AmazonEC2ContainerServiceV20141113.ListTaskDefinitions", `{"status":"ACTIVE"}`, `"(arn:[^"]+)`},
	{"application-autoscaling", "AnyScaleFrontendService.DescribeScalableTargets", `{"ServiceNamespace":"ecs"}`, `"ResourceId": *"([^"]+)`},
	{"application-autoscaling", "AnyScaleFrontendService.DescribeScalingPolicies", `{"ServiceNamespace":"ecs"}`, `"PolicyName": *"([^"]+)`},
	{"application-autoscaling", "AnyScaleFrontendService.DescribeScheduledActions", `{"ServiceNamespace":"ecs"}`, `"ScheduledActionName": *"([^"]+)`},
	{"codebuild", "CodeBuild_20161006.ListProjects", "{}", `"([^"]+)"[,\]]`},
	{"codepipeline", "CodePipeline_20150709.ListPipelines", "{}", `"name": *"([^"]+)`},
	{"codestar-connections", "com.amazonaws.codestar.connections.CodeStar_connections_20191201.ListConnections", "{}", `"ConnectionArn": *"([^"]+)`},
	{"codeconnections", "com.amazonaws.codeconnections.CodeConnections_20231201.ListConnections", "{}", `"ConnectionArn": *"([^"]+)`},
	{"budgets", "AWSBudgetServiceGateway.DescribeBudgets", `{"AccountId":"` + account + `"}`, `"BudgetName": *"([^"]+)`},
	{"ce", "AWSInsightsIndexService.ListCostAllocationTags", `{"Status":"Active"}`, `"TagKey": *"([^"]+)`},
	// ministack lists what has lost its last tag as well.
	{"tagging", "ResourceGroupsTaggingAPI_20170126.GetResources", "{}", `"ResourceARN": *"([^"]+)", *"Tags": *\[\{`},
	{"scheduler", "/schedules", "", `"Arn": *"(arn:aws:scheduler[^"]+)`},
	{"scheduler", "/schedule-groups", "", `"Name": *"([^"]+)`},
	{"s3", "/", "", `<Name>([^<]+)`},
}

// recordOnly are what AWS keeps as a record after a deletion, with its tags: keys
// for the days of their deletion window, and inactive task definitions.
var recordOnly = regexp.MustCompile(`^arn:aws:(kms:.*:key/|ecs:.*:task-definition/)`)

func (e *emulator) inventory(t *testing.T) inventory {
	t.Helper()
	all := inventory{}
	for _, l := range listings {
		var status int
		var body string
		switch {
		case strings.HasPrefix(l.call, "/"):
			status, body = e.rest(t, http.MethodGet, l.call, l.service, "")
		case strings.Contains(l.call, "."):
			status, body = e.send(t, http.MethodPost, "/", l.service, l.body, http.Header{"X-Amz-Target": {l.call}, "Content-Type": {"application/x-amz-json-1.1"}})
		default:
			form := "Action=" + l.call + "&Version=" + queryVersions[l.service] + "&" + l.body
			status, body = e.send(t, http.MethodPost, "/", l.service, form, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		}
		if status != http.StatusOK {
			t.Fatalf("%s %s: %d %.300s", l.service, l.call, status, body)
		}
		for _, found := range regexp.MustCompile(l.entry).FindAllStringSubmatch(body, -1) {
			if name, err := url.QueryUnescape(found[1]); err == nil && (l.service != "tagging" || !recordOnly.MatchString(name)) {
				all[l.service+" "+l.call+": "+name] = true
			}
		}
	}
	return all
}

var queryVersions = map[string]string{"ec2": "2016-11-15", "iam": "2010-05-08", "sns": "2010-03-31", "monitoring": "2010-08-01"}

// rest makes a call of a service that goes by paths.
func (e *emulator) rest(t *testing.T, method, path, service, body string) (int, string) {
	t.Helper()
	return e.send(t, method, path, service, body, http.Header{})
}

// send makes a call at the emulator, scoped and not signed.
func (e *emulator) send(t *testing.T, method, path, service, body string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, e.endpoint+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s/us-east-1/%s/aws4_request, SignedHeaders=host, Signature=0",
		account, time.Now().UTC().Format("20060102"), service))
	// A connection that is kept would outlive the test.
	req.Close = true
	res, err := direct.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}
