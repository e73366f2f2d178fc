//go:build integration

package infra

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestModuleNamesTrouble breaks by hand, on the emulator, each of the three links
// that a first deployment most often lacks: the way out of a private subnet, the
// trust of a role, a key of the secret. The next plan has to fail and to name the
// resource, although Terraform itself would put most of it right; and the way
// that the message tells has to work.
func TestModuleNamesTrouble(t *testing.T) {
	s, hand := onEmulator(t, "local")
	in := PlanOptions{
		Vars: Vars{
			"name": "faber-trouble", "image": "faber:test", "desired_count": 0, "enable_task_events": false,
			"prefect_cloud_api_url": "http://host.docker.internal:4300/api", "az_count": 2, "nat_mode": "per_az",
		},
		Secrets: Vars{"prefect_credentials": map[string]string{
			"prefect_api_key": canary, "prefect_account_id": "00000000-0000-0000-0000-000000000001", "prefect_workspace_id": "00000000-0000-0000-0000-000000000002",
		}},
	}
	applyPlan(t, s, in)
	t.Cleanup(func() {
		// A stack with trouble can be taken away like any other.
		if _, err := s.Destroy(context.WithoutCancel(t.Context()), in.Vars); err != nil {
			t.Error(err)
		}
	})
	planIsClean(t, s, in)
	noCanary(t, s.o.Dir)

	outputs, err := s.Outputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var subnets []string
	if err := outputs.Decode("private_subnet_ids", &subnets); err != nil {
		t.Fatal(err)
	}
	tables := []string{hand.routeTable(subnets[0]), hand.routeTable(subnets[1])}
	role := outputs.String("tasks_iam_role_arn")
	roleName := role[strings.LastIndexByte(role, '/')+1:]
	secret := outputs.String("secret_arn")

	// All at once: each is named for itself, and a plan on the emulator takes long.
	hand.deleteDefaultRoute(tables[0])
	hand.query("ec2", ec2Version, url.Values{"Action": {"DeleteNatGateway"}, "NatGatewayId": {hand.natGateway(tables[1])}})
	hand.query("iam", "2010-05-08", url.Values{"Action": {"UpdateAssumeRolePolicy"}, "RoleName": {roleName}, "PolicyDocument": {
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
	}})
	hand.json("secretsmanager", "secretsmanager.PutSecretValue", map[string]string{
		"SecretId": secret, "SecretString": `{"PREFECT_API_KEY":"` + canary + `","PREFECT_ACCOUNT_ID":""}`,
	})
	planFails(t, s, in,
		[]string{subnets[0], "no default route", tables[0]},
		[]string{subnets[1], "NAT gateway nat-", "not available"},
		[]string{role, "ecs-tasks.amazonaws.com"},
		[]string{secret, "no key PREFECT_ACCOUNT_ID"},
		[]string{secret, "no key PREFECT_WORKSPACE_ID"},
	)
	noCanary(t, s.o.Dir)

	// Who may not read the secret plans without that check, and whoever means to
	// have the rest repaired without the others.
	repair := PlanOptions{Vars: maps.Clone(in.Vars), Secrets: in.Secrets}
	repair.Vars["verify"], repair.Vars["check_secret_keys"] = false, false
	makePlan(t, s, repair)

	// The value that Terraform writes anew is looked at once it is written.
	repair.Vars["check_secret_keys"] = true
	repair.Vars["prefect_credentials_version"] = 2
	applyPlan(t, s, repair)
	in.Vars["prefect_credentials_version"] = 2
	planIsClean(t, s, in)
	noCanary(t, s.o.Dir)

	hand.query("ec2", ec2Version, url.Values{"Action": {"DisassociateRouteTable"}, "AssociationId": {hand.association(tables[0])}})
	planFails(t, s, in, []string{subnets[0], "no default route"})
	applyPlan(t, s, repair)

	t.Run("one more zone leaves the others alone", func(t *testing.T) {
		in.Vars["az_count"] = 3
		plan := makePlan(t, s, in)
		for _, change := range plan.Changes {
			switch {
			case (change.Action == "create" || change.Action == "read") && strings.Contains(change.Address, `["c"]`): // its checks look once it is there
			case change.Action == "update" && strings.HasPrefix(change.Address, "module.faber.module.service.aws_ecs_service."): // takes the new subnet in
			case change.Action == "update" && change.Address == "module.faber.module.network.aws_vpc_endpoint.s3[0]": // so does its list of route tables
			default:
				t.Errorf("one more zone would %s %s", change.Action, change.Address)
			}
		}
		if _, err := s.Apply(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		planIsClean(t, s, in)
	})

	hand.deleteDefaultRoute(tables[0])
}

// onEmulator opens an example in a directory of its own, to be applied to the
// emulator.
func onEmulator(t *testing.T, example string) (*Stack, *byHand) {
	t.Helper()
	endpoint := os.Getenv(endpointVar)
	if endpoint == "" && os.Getenv("CI") == "true" {
		t.Fatalf("%s is not set", endpointVar)
	}
	if endpoint == "" {
		t.Skipf("SKIP module on emulator: %s is not set", endpointVar)
	}
	root := t.TempDir()
	if err := Unpack(root); err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), "AWS_ENDPOINT_URL="+endpoint, "AWS_ACCESS_KEY_ID="+emulatedAccount, "AWS_SECRET_ACCESS_KEY=emulated", "AWS_EC2_METADATA_DISABLED=true")
	found, err := Find(t.Context(), FindOptions{Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: filepath.Join(root, "examples", example), Terraform: found.Path, Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, &byHand{t: t, endpoint: endpoint}
}

func makePlan(t *testing.T, s *Stack, in PlanOptions) *Plan {
	t.Helper()
	plan, err := s.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	noCanaryInArchive(t, plan.File)
	return plan
}

func applyPlan(t *testing.T, s *Stack, in PlanOptions) {
	t.Helper()
	began := time.Now()
	result, err := s.Apply(t.Context(), makePlan(t, s, in))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("applied %+v in %s", result, time.Since(began).Round(time.Second))
}

func planIsClean(t *testing.T, s *Stack, in PlanOptions) {
	t.Helper()
	for _, change := range makePlan(t, s, in).Changes {
		t.Errorf("the next plan would %s %s", change.Action, change.Address)
	}
}

// planFails wants, for each list, one message that holds all of it.
func planFails(t *testing.T, s *Stack, in PlanOptions, lists ...[]string) {
	t.Helper()
	_, err := s.Plan(t.Context(), in)
	if err == nil {
		t.Fatal("the plan went through")
	}
	t.Logf("the plan says: %v", err)
	for _, names := range lists {
		if !slices.ContainsFunc(strings.Split(err.Error(), "\n"), func(message string) bool {
			return !slices.ContainsFunc(names, func(name string) bool { return !strings.Contains(message, name) })
		}) {
			t.Errorf("no message names all of %q", names)
		}
	}
}

const ec2Version = "2016-11-15"

// emulatedAccount is a key that the emulator takes for the account's number.
const emulatedAccount = "123456789012"

// byHand is an AWS account as somebody sees it who changes things by hand. The
// calls are built here, as the SDK would: its clients for two more services are
// not worth their weight in a test.
type byHand struct {
	t        *testing.T
	endpoint string
}

func (a *byHand) query(service, version string, form url.Values) []byte {
	a.t.Helper()
	form.Set("Version", version)
	return a.send(service, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(form.Encode()))
}

func (a *byHand) json(service, target string, body any) []byte {
	a.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.send(service, http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {target}}, data)
}

func (a *byHand) send(service string, header http.Header, body []byte) []byte {
	a.t.Helper()
	ctx := a.t.Context()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.endpoint+"/", bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header = header
	sum := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: emulatedAccount, SecretAccessKey: "emulated"}
	if err := v4.NewSigner().SignHTTP(ctx, key, request, hex.EncodeToString(sum[:]), service, "us-east-1", time.Now()); err != nil {
		a.t.Fatal(err)
	}
	response, err := direct.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		a.t.Fatalf("%s answered %s: %s (%v)", service, response.Status, answer, err)
	}
	return answer
}

// routeTables is DescribeRouteTables's answer, as far as it is used.
type routeTables struct {
	Tables []struct {
		ID     string `xml:"routeTableId"`
		Routes []struct {
			Destination string `xml:"destinationCidrBlock"`
			NAT         string `xml:"natGatewayId"`
		} `xml:"routeSet>item"`
		Associations []struct {
			ID string `xml:"routeTableAssociationId"`
		} `xml:"associationSet>item"`
	} `xml:"routeTableSet>item"`
}

func (a *byHand) tables(filter, value string) routeTables {
	a.t.Helper()
	var out routeTables
	answer := a.query("ec2", ec2Version, url.Values{"Action": {"DescribeRouteTables"}, "Filter.1.Name": {filter}, "Filter.1.Value.1": {value}})
	if err := xml.Unmarshal(answer, &out); err != nil {
		a.t.Fatal(err)
	}
	return out
}

func (a *byHand) routeTable(subnet string) string {
	a.t.Helper()
	out := a.tables("association.subnet-id", subnet)
	if len(out.Tables) != 1 {
		a.t.Fatalf("subnet %s has the route tables %v", subnet, out)
	}
	return out.Tables[0].ID
}

// table reads one route table.
func (a *byHand) table(id string) routeTables {
	a.t.Helper()
	var out routeTables
	answer := a.query("ec2", ec2Version, url.Values{"Action": {"DescribeRouteTables"}, "RouteTableId.1": {id}})
	if err := xml.Unmarshal(answer, &out); err != nil || len(out.Tables) != 1 {
		a.t.Fatalf("route table %s: %v (%v)", id, out, err)
	}
	return out
}

func (a *byHand) deleteDefaultRoute(table string) {
	a.t.Helper()
	a.query("ec2", ec2Version, url.Values{"Action": {"DeleteRoute"}, "RouteTableId": {table}, "DestinationCidrBlock": {"0.0.0.0/0"}})
}

func (a *byHand) natGateway(table string) string {
	a.t.Helper()
	for _, route := range a.table(table).Tables[0].Routes {
		if route.Destination == "0.0.0.0/0" {
			return route.NAT
		}
	}
	a.t.Fatalf("route table %s has no default route", table)
	return ""
}

func (a *byHand) association(table string) string {
	a.t.Helper()
	associations := a.table(table).Tables[0].Associations
	if len(associations) != 1 {
		a.t.Fatalf("route table %s has the associations %v", table, associations)
	}
	return associations[0].ID
}
