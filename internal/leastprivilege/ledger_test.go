//go:build integration

package leastprivilege

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"faber/internal/fake/fakeprefect"
	"faber/internal/front"
)

var update = flag.Bool("update", false, "rewrite the reviewed policies")

// TestLeastPrivilege applies the module on an emulator and reads its policies back.
// The worker then goes through the days of its life, and its role has to be what
// that takes: no less, and no more. `make test-terraform` runs it.
func TestLeastPrivilege(t *testing.T) {
	s := newStage(t)
	t.Run("terraform", s.testTerraform)
	t.Run("worker", s.testWorker)
	t.Run("tick", s.testTick)
	t.Run("reviewed", s.testReviewed)
	t.Run("apply role", s.testApplyRole)
}

// notSeen are the actions of a role that the scenario does not call, each with the
// code that does and why. One that is called after all fails the test.
var notSeen = map[string]map[string]string{
	"worker": {},
	"tick":   {},
}

func (s *stage) testWorker(t *testing.T) {
	mark := s.front.Ledger().Last()
	s.live(t)
	asked := s.asked(t, mark)
	identity, documents := s.identity(t, s.outputs.String("worker_role_arn"))
	judge(t, "worker", identity, asked)
	refuses(t, identity, asked)
	t.Logf("%d requests; the worker's policy is %d characters", len(asked), len(documents["run-flows"]))
}

func (s *stage) testTick(t *testing.T) {
	mark := s.front.Ledger().Last()
	tick := s.start("tick")
	if err := tick.cmd.Wait(); err != nil {
		t.Fatalf("faber tick: %v\n%s", err, tick.out)
	}
	asked := s.asked(t, mark)
	identity, _ := s.identity(t, s.roles()["tick"])
	judge(t, "tick", identity, asked)
	for _, r := range asked {
		if other := r.with("cloudwatch:namespace", "AWS/ECS"); identity.Decide(other).Allowed {
			t.Errorf("the tick may publish to another namespace: %s", other)
		}
	}
}

// live has workers meet what their role is for: flow runs that end well, badly,
// by being cancelled, and while nobody watches; definitions that differ, and that
// are to go; an event that is none; and a key that is no longer valid.
func (s *stage) live(t *testing.T) {
	flow := s.prefect.AddFlow(fakeprefect.Flow{Name: "flow"})
	s.prefect.AddPool(fakeprefect.Pool{Name: pool, Type: "ecs", BaseJobTemplate: json.RawMessage(s.outputs.String("base_job_template"))})
	deploy := func(name, variables string) string {
		return s.prefect.AddDeployment(fakeprefect.Deployment{Name: name, FlowID: flow.ID, WorkPoolName: pool, JobVariables: json.RawMessage(variables)}).ID
	}
	run := func(deployment, variables string) string {
		id := s.prefect.AddRun(fakeprefect.FlowRun{FlowID: flow.ID, DeploymentID: &deployment, WorkPoolName: pool, JobVariables: json.RawMessage(variables)}).ID
		s.called(front.Query{Service: "ecs", Operation: "RunTask", Run: id})
		return id
	}
	plain, leaving := deploy("plain", `{}`), deploy("leaving", `{"auto_deregister_task_definition":true}`)

	worker := s.start("worker", "start", "--name", "w1")
	done := run(plain, `{}`)
	s.become(done, "RUNNING")
	s.become(done, "COMPLETED")
	s.end(done, 0)

	larger := run(plain, `{"cpu":2048,"memory":4096}`)
	s.become(larger, "RUNNING")
	s.end(larger, 1)
	s.reaches(larger, "CRASHED")

	cancelled := run(plain, `{}`)
	s.become(cancelled, "RUNNING")
	s.become(cancelled, "CANCELLING")
	s.reaches(cancelled, "CANCELLED")

	gone := run(leaving, `{}`)
	s.become(gone, "RUNNING")
	s.become(gone, "COMPLETED")
	s.end(gone, 0)
	s.called(front.Query{Service: "ecs", Operation: "DeregisterTaskDefinition"})

	s.json(t, "sqs", "AmazonSQS.SendMessage", map[string]any{"QueueUrl": s.outputs.String("events_queue_url"), "MessageBody": "no event"}, nil)
	s.called(front.Query{Service: "sqs", Operation: "ChangeMessageVisibilityBatch"})
	s.called(front.Query{Service: "sqs", Operation: "DeleteMessageBatch"})

	orphan := run(plain, `{}`)
	s.become(orphan, "RUNNING")
	worker.kill()
	mark := s.front.Ledger().Last()
	s.start("worker", "start", "--name", "w1")
	s.called(front.Query{Service: "ecs", Operation: "ListTasks", Since: mark})
	s.end(orphan, 1)
	s.reaches(orphan, "CRASHED")

	s.rotate()
	s.called(front.Query{Service: "secretsmanager", Operation: "GetSecretValue", Since: mark})
	run(plain, `{}`) // with the new key
	s.called(front.Query{Service: "monitoring", Operation: "PutMetricData", Since: mark})
}

// asked is what AWS would have been asked to allow since a mark, each request once.
func (s *stage) asked(t *testing.T, mark int64) []Request {
	t.Helper()
	key := s.outputs.String("kms_key_arn")
	if key == "" {
		t.Fatal("the stack has no key: the statements for it would not be tried")
	}
	world := World{
		Partition: "aws", Region: region, Account: account,
		RolesOf: func(definition string) ([]string, error) {
			_, roles := s.definition(definition)
			return roles, nil
		},
		KeyOf: func(string) string { return key },
	}
	unique := map[string]Request{}
	for _, c := range s.front.Ledger().Calls(front.Query{Since: mark}) {
		if c.Service == "events" && c.Operation == "Deliver" {
			continue // EventBridge itself, which the front plays
		}
		requests, err := world.Authorised(c)
		if err != nil {
			t.Errorf("call %d: %v", c.ID, err)
		}
		for _, r := range requests {
			unique[r.String()] = r.with("aws:RequestedRegion", region) // every request has it
		}
	}
	var asked []Request
	for _, name := range slices.Sorted(maps.Keys(unique)) {
		asked = append(asked, unique[name])
	}
	return asked
}

// judge holds a role to what was asked for: all of it is allowed, nothing else is
// without a reason, and no statement can go.
func judge(t *testing.T, role string, identity Identity, asked []Request) {
	t.Helper()
	if len(asked) == 0 {
		t.Fatal("nothing was asked for")
	}
	seen := map[string]bool{}
	for _, r := range asked {
		seen[strings.ToLower(r.Action)] = true
		d := identity.Decide(r)
		if !d.Allowed {
			t.Errorf("%s is refused: %s", role, r)
		}
		t.Logf("%-60s %s", strings.Join(d.Sids, " "), r)
	}
	for _, p := range identity.Policies {
		for i, statement := range p.Statements {
			for _, action := range statement.Actions {
				reason, listed := notSeen[role][action]
				switch recorded := seen[strings.ToLower(action)]; {
				case strings.ContainsAny(action, "*?"):
					t.Errorf("%s: %s allows %s, which names no action", role, statement.Sid, action)
				case !recorded && reason == "":
					t.Errorf("%s: %s allows %s, which nobody called: take it away, or say in notSeen which code calls it and why", role, statement.Sid, action)
				case recorded && listed:
					t.Errorf("%s: %s was called, but notSeen says it is not", role, action)
				}
			}
			less := Identity{Policies: []Policy{p.Without(i)}, Boundary: identity.Boundary}
			for _, other := range identity.Policies {
				if cmp.Diff(other, p) != "" {
					less.Policies = append(less.Policies, other)
				}
			}
			refused := slices.ContainsFunc(asked, func(r Request) bool { return !less.Decide(r).Allowed })
			unseen := !slices.ContainsFunc(statement.Actions, func(action string) bool { return notSeen[role][action] == "" })
			if !refused && !unseen {
				t.Errorf("%s: without the statement %s everything that was asked for is still allowed", role, statement.Sid)
			}
		}
	}
}

// refuses asks for what belongs to somebody else, in the place of each thing that
// was asked for.
func refuses(t *testing.T, identity Identity, asked []Request) {
	t.Helper()
	foreign := []struct {
		what    string
		change  func(Request) Request
		concern func(Request) bool
	}{
		{"account", func(r Request) Request { return replaced(r, account, "999999999999") }, named},
		{"region", func(r Request) Request { return replaced(r, region, "eu-west-1") }, named},
		{"cluster", func(r Request) Request {
			return replaced(replaced(r, "cluster/lp", "cluster/other"), "task/lp/", "task/other/")
		}, func(r Request) bool {
			return len(r.Context["ecs:cluster"]) > 0 || strings.Contains(r.Resource, ":task/")
		}},
		{"family", func(r Request) Request {
			return replaced(r, "task-definition/prefect_fargate_", "task-definition/prefect_other_")
		}, func(r Request) bool {
			return strings.Contains(r.Resource, "task-definition/")
		}},
		{"family of the worker itself", func(r Request) Request {
			r.Resource = "arn:aws:ecs:us-east-1:123456789012:task-definition/lp-worker:1"
			return r
		}, func(r Request) bool {
			return strings.Contains(r.Resource, "task-definition/")
		}},
		{"role", func(r Request) Request { r.Resource = "arn:aws:iam::123456789012:role/admin"; return r }, passes},
		{"its own role", func(r Request) Request { r.Resource = "arn:aws:iam::123456789012:role/lp-worker-20260101"; return r }, passes},
		{"service for a role", func(r Request) Request {
			r = r.with("iam:PassedToService", "lambda.amazonaws.com")
			return r
		}, passes},
		{"time to tag", func(r Request) Request { r.Context = without(r.Context, "ecs:CreateAction"); return r }, func(r Request) bool { return r.Action == "ecs:TagResource" }},
		{"queue", func(r Request) Request { return replaced(r, "lp-task-events", "other-task-events") }, func(r Request) bool { return strings.Contains(r.String(), "lp-task-events") }},
		{"secret", func(r Request) Request { return replaced(r, "secret:lp-", "secret:other-") }, func(r Request) bool { return strings.Contains(r.String(), "secret:lp-") }},
		{"key", func(r Request) Request { r.Resource += "0"; return r }, func(r Request) bool { return strings.HasPrefix(r.Action, "kms:") }},
		{"log group", func(r Request) Request { return replaced(r, "/faber/lp/flow-runs", "/faber/lp/worker") }, func(r Request) bool { return strings.HasPrefix(r.Action, "logs:") }},
		{"namespace", func(r Request) Request { return r.with("cloudwatch:namespace", "AWS/ECS") }, func(r Request) bool { return r.Action == "cloudwatch:PutMetricData" }},
	}
	for _, f := range foreign {
		n := 0
		for _, r := range asked {
			if !f.concern(r) {
				continue
			}
			n++
			other := f.change(r)
			if other.String() == r.String() {
				t.Errorf("another %s is the same: %s", f.what, r)
			} else if identity.Decide(other).Allowed {
				t.Errorf("another %s is allowed: %s", f.what, other)
			}
		}
		if n == 0 {
			t.Errorf("nothing was asked for that has to do with another %s", f.what)
		}
	}
}

func named(r Request) bool {
	return strings.HasPrefix(r.Resource, "arn:aws:ecs:") || strings.HasPrefix(r.Resource, "arn:aws:sqs:")
}
func passes(r Request) bool { return r.Action == "iam:PassRole" }

// replaced is a request with another text in its resource and its keys.
func replaced(r Request, old, text string) Request {
	r.Resource = strings.ReplaceAll(r.Resource, old, text)
	context := Context{}
	for key, values := range r.Context {
		for _, value := range values {
			context[key] = append(context[key], strings.ReplaceAll(value, old, text))
		}
	}
	r.Context = context
	return r
}

// with is the request with another value of a key.
func (r Request) with(key, value string) Request {
	c := maps.Clone(r.Context)
	if c == nil {
		c = Context{}
	}
	c[key] = []string{value}
	r.Context = c
	return r
}

func without(c Context, key string) Context {
	c = maps.Clone(c)
	delete(c, key)
	return c
}

// testReviewed compares every role with what people have looked at. A difference
// is shown in the diff of a change, where it is looked at again.
func (s *stage) testReviewed(t *testing.T) {
	boundaries := map[string]json.RawMessage{}
	for role, arn := range s.roles() {
		identity, documents := s.identity(t, arn)
		documents["trust"] = s.trust(t, arn)
		if identity.Boundary == nil {
			t.Errorf("%s has no permissions boundary, though a build may change it", role)
		}
		for name, document := range documents {
			if strings.Contains(name, "-boundary-") {
				boundaries[name] = document
				delete(documents, name)
			}
		}
		s.compareReviewed(t, role, documents)
	}
	if len(boundaries) != 1 {
		t.Errorf("%d boundaries", len(boundaries))
	}
	s.compareReviewed(t, "boundary", boundaries)
}

func (s *stage) compareReviewed(t *testing.T, name string, documents map[string]json.RawMessage) {
	t.Helper()
	got := canonical(t, documents, s.roles())
	file := filepath.Join("testdata", "reviewed", name+".json")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs from what was reviewed; after a review, run with -update (-reviewed +module):\n%s", name, diff)
	}
}

// randomEnd is what Terraform puts at the end of a name that has to be unique.
var randomEnd = regexp.MustCompile(`-[0-9]{26}`)

// canonical writes documents in one form, without the random ends of names.
func canonical(t *testing.T, documents map[string]json.RawMessage, roles map[string]string) []byte {
	t.Helper()
	decoded := map[string]any{}
	for name, document := range documents {
		var v any
		if err := json.Unmarshal(document, &v); err != nil {
			t.Fatal(err)
		}
		decoded[randomEnd.ReplaceAllString(name, "")] = v
	}
	text, err := json.MarshalIndent(decoded, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for role, arn := range roles {
		text = []byte(strings.ReplaceAll(string(text), arn, fmt.Sprintf("(the %s role)", role)))
	}
	return append(text, '\n')
}

// testApplyRole asks in the place of a build that wants out of its bounds.
func (s *stage) testApplyRole(t *testing.T) {
	identity, _ := s.identity(t, s.roles()["codebuild_apply"])
	const role, boundary = "arn:aws:iam::123456789012:role/", "arn:aws:iam::123456789012:policy/all-boundary-us-east-1"
	self := s.roles()["codebuild_apply"]
	inRegion := func(c Context) Context {
		c = maps.Clone(c)
		if c == nil {
			c = Context{}
		}
		c["aws:RequestedRegion"], c["aws:PrincipalArn"] = []string{region}, []string{self}
		return c
	}
	bounded := Context{"iam:PermissionsBoundary": {boundary}}
	for _, c := range []struct {
		why, action, resource string
		context               Context
		want                  bool
	}{
		{"a role of the stack, within the boundary", "iam:CreateRole", role + "all-worker-1", bounded, true},
		{"its policy", "iam:PutRolePolicy", role + "all-worker-1", bounded, true},
		{"a role of the stack without a boundary", "iam:CreateRole", role + "all-worker-1", nil, false},
		{"one with another boundary", "iam:CreateRole", role + "all-worker-1", Context{"iam:PermissionsBoundary": {"arn:aws:iam::aws:policy/AdministratorAccess"}}, false},
		{"a role of somebody else", "iam:CreateRole", role + "other-worker-1", bounded, false},
		{"taking the boundary away", "iam:DeleteRolePermissionsBoundary", role + "all-worker-1", bounded, false},
		{"widening the boundary", "iam:CreatePolicyVersion", boundary, nil, false},
		{"its own policy", "iam:PutRolePolicy", self, bounded, false},
		{"its own trust", "iam:UpdateAssumeRolePolicy", self, nil, false},
		{"passing a role of the stack to ECS", "iam:PassRole", role + "all-worker-1", Context{"iam:PassedToService": {"ecs-tasks.amazonaws.com"}}, true},
		{"passing it to Lambda", "iam:PassRole", role + "all-worker-1", Context{"iam:PassedToService": {"lambda.amazonaws.com"}}, false},
		{"passing a role of somebody else", "iam:PassRole", role + "admin", Context{"iam:PassedToService": {"ecs-tasks.amazonaws.com"}}, false},
		{"a user", "iam:CreateUser", "arn:aws:iam::123456789012:user/all-x", nil, false},
		{"another account", "sts:AssumeRole", "arn:aws:iam::999999999999:role/admin", nil, false},
		{"the secret's value", "secretsmanager:GetSecretValue", "arn:aws:secretsmanager:us-east-1:123456789012:secret:all-prefect-AbCdEf", nil, false},
		{"the secret's settings", "secretsmanager:UpdateSecret", "arn:aws:secretsmanager:us-east-1:123456789012:secret:all-prefect-AbCdEf", nil, true},
		{"the service", "ecs:UpdateService", "arn:aws:ecs:us-east-1:123456789012:service/all/all-worker", nil, true},
		{"another service", "ecs:UpdateService", "arn:aws:ecs:us-east-1:123456789012:service/other/other-worker", nil, false},
		{"its state", "s3:PutObject", "arn:aws:s3:::states/all/terraform.tfstate", nil, true},
		{"another state", "s3:PutObject", "arn:aws:s3:::states/other/terraform.tfstate", nil, false},
		{"a subnet of the stack", "ec2:DeleteSubnet", "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-1", Context{"aws:ResourceTag/faber:stack": {"all"}}, true},
		{"a subnet of somebody else", "ec2:DeleteSubnet", "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-1", Context{"aws:ResourceTag/faber:stack": {"other"}}, false},
		{"a subnet of nobody", "ec2:DeleteSubnet", "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-1", nil, false},
		{"taking over what is there by a tag", "ec2:CreateTags", "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-1", Context{"aws:RequestTag/faber:stack": {"all"}}, false},
		{"a machine", "ec2:RunInstances", "arn:aws:ec2:us-east-1:123456789012:instance/*", Context{"aws:RequestTag/faber:stack": {"all"}}, false},
	} {
		r := Request{Action: c.action, Resource: c.resource, Context: inRegion(c.context)}
		if d := identity.Decide(r); d.Allowed != c.want {
			t.Errorf("%s: %+v for %s", c.why, d, r)
		}
	}
	other := Request{Action: "ecs:UpdateService", Resource: "arn:aws:ecs:us-east-1:123456789012:service/all/all-worker", Context: Context{"aws:RequestedRegion": {"eu-west-1"}}}
	if identity.Decide(other).Allowed {
		t.Errorf("another region is allowed: %s", other)
	}
}

// byPerson are the actions of an apply that no build makes: the first apply is a
// person's, and so is what changes keys, boundary and secret.
var byPerson = map[string]string{
	"iam:CreatePolicy":              "the boundary, and the apply role's second policy",
	"kms:CreateKey":                 "the key; its policy says who uses it",
	"kms:CreateAlias":               "with the key",
	"kms:EnableKeyRotation":         "with the key",
	"secretsmanager:GetSecretValue": "with manage_secret_value, which a pipeline does not use: it never holds the API key",
	"iam:GetUser":                   "asked for the account by the provider of this test, whose credentials are not validated; else sts:GetCallerIdentity tells",
}

// testTerraform looks at what Terraform's provider called while the stack was
// applied: what it reads the plan role may read, and what it does the apply role
// may do. By action only: both roles belong to another stack here, and the
// resources that most of these calls name do not exist before they are made.
func (s *stage) testTerraform(t *testing.T) {
	plan, _ := s.identity(t, s.roles()["codebuild_plan"])
	apply, _ := s.identity(t, s.roles()["codebuild_apply"])
	seen := map[string]bool{}
	for _, c := range s.front.Ledger().Calls(front.Query{}) {
		action, ok := actionOf(c)
		if !ok || seen[action] {
			continue
		}
		seen[action] = true
		if byPerson[action] != "" {
			continue
		}
		if reads(c.Operation) && !plan.mentions(action) {
			t.Errorf("Terraform called %s, which the plan role may not on anything", action)
		}
		if !apply.mentions(action) {
			t.Errorf("Terraform called %s, which the apply role may not on anything", action)
		}
	}
	if len(seen) < 40 {
		t.Errorf("Terraform called %d actions, which is too few to tell anything", len(seen))
	}
	t.Logf("%d actions: %s", len(seen), strings.Join(slices.Sorted(maps.Keys(seen)), " "))
}

// actionOf is the action of a call, which for these services has the operation's
// name; S3's operations are paths in the ledger, and who one is may always be asked.
func actionOf(c front.Call) (string, bool) {
	prefix := c.Service
	if prefix == "monitoring" {
		prefix = "cloudwatch"
	}
	return prefix + ":" + c.Operation, prefix != "sts" && !strings.ContainsAny(c.Operation, " /")
}

func reads(operation string) bool {
	return slices.ContainsFunc([]string{"Describe", "Get", "List", "BatchGet"}, func(verb string) bool { return strings.HasPrefix(operation, verb) })
}

// mentions says whether a role may do something to anything at all.
func (i Identity) mentions(action string) bool {
	return slices.ContainsFunc(i.Policies, func(p Policy) bool {
		return slices.ContainsFunc(p.Statements, func(st Statement) bool {
			return st.Effect == Allow && slices.ContainsFunc(st.Actions, func(a string) bool { return matchAction(a, action) })
		})
	})
}
