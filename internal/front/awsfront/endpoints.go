package awsfront

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// vpcParts remembers what ministack loses of VPC endpoints and of flow logs.
type vpcParts struct {
	mu        sync.Mutex
	endpoints map[string]*vpcEndpoint
	flowLogs  map[string]flowLog
}

// vpcEndpoint is what ministack loses of an endpoint.
type vpcEndpoint struct {
	kind, vpc, service string
	groups             []string
	privateDNS         bool
	policy             string
}

// flowLog is what ministack loses of a flow log.
type flowLog struct{ role, interval, format string }

func newVPCParts() *vpcParts {
	return &vpcParts{endpoints: map[string]*vpcEndpoint{}, flowLogs: map[string]flowLog{}}
}

// fullAccess is the policy of an endpoint for which none was given: "If this
// parameter is not specified, we attach a default policy that allows full access
// to the service" (CreateVpcEndpoint).
const fullAccess = `{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}`

func (f *Front) createVPCEndpoint(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return nil, err
	}
	e := &vpcEndpoint{
		kind: form.Get("VpcEndpointType"), vpc: form.Get("VpcId"), service: form.Get("ServiceName"),
		groups: formList(form, "SecurityGroupId."), policy: form.Get("PolicyDocument"),
		privateDNS: form.Get("PrivateDnsEnabled") == "true",
	}
	if e.policy == "" {
		e.policy = fullAccess
	}
	if e.kind == "Interface" {
		// "Default: true" (PrivateDnsEnabled).
		e.privateDNS = form.Get("PrivateDnsEnabled") != "false"
		if refused := f.refusePrivateDNS(x, e); refused != nil {
			return nil, refused
		}
	}
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	if found := endpointID.FindSubmatch(a.body); found != nil {
		f.parts.mu.Lock()
		f.parts.endpoints[x.scope.key(string(found[1]))] = e
		f.parts.mu.Unlock()
	}
	return f.tellEndpoints(x, a), nil
}

// refusePrivateDNS holds an endpoint to AWS's rules on private names: the VPC
// resolves names and gives them to hosts ("To use a private hosted zone, you must
// set the following VPC attributes to true: enableDnsHostnames and
// enableDnsSupport"), and no other endpoint has the name in that VPC.
func (f *Front) refusePrivateDNS(x *exchange, e *vpcEndpoint) error {
	if !e.privateDNS {
		return nil
	}
	for _, attribute := range []string{"enableDnsSupport", "enableDnsHostnames"} {
		ask := url.Values{"Action": {"DescribeVpcAttribute"}, "Version": {ec2Version}, "VpcId": {e.vpc}, "Attribute": {attribute}}
		a, err := x.send([]byte(ask.Encode()))
		if err != nil {
			return err
		}
		if a.ok() && strings.Contains(strings.Join(strings.Fields(string(a.body)), ""), "<"+attribute+"><value>false<") {
			return &refusal{
				code:    "InvalidParameter",
				message: "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for " + e.vpc,
			}
		}
	}
	f.parts.mu.Lock()
	defer f.parts.mu.Unlock()
	for _, other := range f.parts.endpoints {
		if other != e && other.privateDNS && other.vpc == e.vpc && other.service == e.service {
			return &refusal{
				code:    "InvalidParameter",
				message: fmt.Sprintf("private-dns-enabled cannot be set because there is already a conflicting DNS domain for %s in the VPC %s", e.service, e.vpc),
			}
		}
	}
	return nil
}

func (f *Front) modifyVPCEndpoint(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return nil, err
	}
	key := x.scope.key(form.Get("VpcEndpointId"))
	f.parts.mu.Lock()
	e := f.parts.endpoints[key]
	var changed vpcEndpoint
	if e != nil {
		changed = *e
	}
	f.parts.mu.Unlock()
	if e == nil {
		return x.forward()
	}
	removed := formList(form, "RemoveSecurityGroupId.")
	changed.groups = slices.DeleteFunc(slices.Clone(changed.groups), func(id string) bool { return slices.Contains(removed, id) })
	changed.groups = append(changed.groups, formList(form, "AddSecurityGroupId.")...)
	if form.Get("ResetPolicy") == "true" {
		changed.policy = fullAccess
	}
	if policy := form.Get("PolicyDocument"); policy != "" {
		changed.policy = policy
	}
	if dns := form.Get("PrivateDnsEnabled"); dns != "" {
		changed.privateDNS = dns == "true"
	}
	if changed.privateDNS && !e.privateDNS {
		if refused := f.refusePrivateDNS(x, &changed); refused != nil {
			return nil, refused
		}
	}
	a, err := x.forward()
	if err == nil && a.ok() {
		f.parts.mu.Lock()
		*e = changed
		f.parts.mu.Unlock()
	}
	return a, err
}

func (f *Front) describeVPCEndpoints(x *exchange) (*answer, error) {
	a, err := x.filtered(endpointLookup())
	if err != nil {
		return nil, err
	}
	return f.tellEndpoints(x, a), nil
}

func (f *Front) deleteVPCEndpoints(x *exchange) (*answer, error) {
	return f.deleteParts(x, "VpcEndpointId.", func(key string) { delete(f.parts.endpoints, key) })
}

var endpointID = regexp.MustCompile(`<vpcEndpointId>([^<]+)</vpcEndpointId>`)

// tellEndpoints adds to each endpoint what ministack leaves out.
func (f *Front) tellEndpoints(x *exchange, a *answer) *answer {
	f.parts.mu.Lock()
	defer f.parts.mu.Unlock()
	body := endpointID.ReplaceAllFunc(a.body, func(element []byte) []byte {
		id := string(endpointID.FindSubmatch(element)[1])
		e := f.parts.endpoints[x.scope.key(id)]
		if e == nil {
			return element
		}
		var b strings.Builder
		b.Write(element)
		fmt.Fprintf(&b, "<policyDocument>%s</policyDocument><privateDnsEnabled>%t</privateDnsEnabled><requesterManaged>false</requesterManaged><groupSet>", escaped(e.policy), e.privateDNS)
		for _, group := range e.groups {
			fmt.Fprintf(&b, "<item><groupId>%s</groupId></item>", escaped(group))
		}
		b.WriteString("</groupSet>")
		if e.kind == "Interface" {
			b.WriteString("<ipAddressType>ipv4</ipAddressType><dnsOptions><dnsRecordIpType>ipv4</dnsRecordIpType></dnsOptions>")
			fmt.Fprintf(&b, "<dnsEntrySet><item><dnsName>%s.%s.vpce.amazonaws.com</dnsName><hostedZoneId>Z7HUB22UULQXV</hostedZoneId></item></dnsEntrySet>", escaped(id), escaped(serviceAndRegion(e.service)))
		}
		return []byte(b.String())
	})
	return &answer{status: a.status, header: a.header, body: body}
}

// serviceAndRegion turns com.amazonaws.us-east-1.ecr.api into ecr.api.us-east-1.
func serviceAndRegion(name string) string {
	part := strings.SplitN(name, ".", 4)
	if len(part) < 4 {
		return name
	}
	return part[3] + "." + part[2]
}

var subnetSize = regexp.MustCompile(`(<cidrBlock>[^<]*/)(\d+)(</cidrBlock>\s*<availableIpAddressCount>)\d+(<)`)

// tellSubnets gives each subnet the number of addresses that its size leaves:
// "the first four IP addresses and the last IP address in each subnet CIDR block
// are not available" (VPC user guide, Subnet CIDR blocks). ministack tells 251 of
// all of them.
func (f *Front) tellSubnets(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	body := subnetSize.ReplaceAllFunc(a.body, func(found []byte) []byte {
		part := subnetSize.FindSubmatch(found)
		bits, err := strconv.Atoi(string(part[2]))
		if err != nil || bits < 16 || bits > 28 {
			return found // no subnet of AWS's is larger or smaller
		}
		return fmt.Appendf(nil, "%s%s%s%d%s", part[1], part[2], part[3], 1<<(32-bits)-5, part[4])
	})
	return &answer{status: a.status, header: a.header, body: body}, nil
}

// usualFormat is the format of a flow log for which none was given (CreateFlowLogs,
// LogFormat; the fields are those of version 2).
const usualFormat = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"

func (f *Front) createFlowLogs(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return nil, err
	}
	// ministack has another name for the kind, and loses tags of this one.
	for i := 1; form.Has(fmt.Sprintf("TagSpecification.%d.ResourceType", i)); i++ {
		form.Set(fmt.Sprintf("TagSpecification.%d.ResourceType", i), "flow-log")
	}
	a, err := x.send([]byte(form.Encode()))
	if err != nil || !a.ok() {
		return a, err
	}
	l := flowLog{role: form.Get("DeliverLogsPermissionArn"), interval: form.Get("MaxAggregationInterval"), format: form.Get("LogFormat")}
	if l.interval == "" {
		l.interval = "600" // "Default: 600"
	}
	if l.format == "" {
		l.format = usualFormat
	}
	var made struct {
		IDs []string `xml:"flowLogIdSet>item"`
	}
	if err := xml.Unmarshal(a.body, &made); err != nil {
		return nil, fmt.Errorf("read the ids of flow logs: %w", err)
	}
	f.parts.mu.Lock()
	defer f.parts.mu.Unlock()
	for _, id := range made.IDs {
		f.parts.flowLogs[x.scope.key(id)] = l
	}
	return a, nil
}

var flowLogID = regexp.MustCompile(`<flowLogId>([^<]+)</flowLogId>`)

func (f *Front) describeFlowLogs(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	f.parts.mu.Lock()
	defer f.parts.mu.Unlock()
	body := flowLogID.ReplaceAllFunc(a.body, func(element []byte) []byte {
		l, ok := f.parts.flowLogs[x.scope.key(string(flowLogID.FindSubmatch(element)[1]))]
		if !ok {
			return element
		}
		return fmt.Appendf(nil, "%s<deliverLogsPermissionArn>%s</deliverLogsPermissionArn><maxAggregationInterval>%s</maxAggregationInterval><logFormat>%s</logFormat><deliverLogsStatus>SUCCESS</deliverLogsStatus>",
			element, escaped(l.role), escaped(l.interval), escaped(l.format))
	})
	return &answer{status: a.status, header: a.header, body: body}, nil
}

func (f *Front) deleteFlowLogs(x *exchange) (*answer, error) {
	return f.deleteParts(x, "FlowLogId.", func(key string) { delete(f.parts.flowLogs, key) })
}

// deleteParts forgets what a call that went well has deleted, by the ids in a list
// of its parameters.
func (f *Front) deleteParts(x *exchange, list string, forget func(key string)) (*answer, error) {
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	form, err := x.form()
	if err != nil {
		return a, nil //nolint:nilerr // the emulator understood it, and has answered
	}
	f.parts.mu.Lock()
	defer f.parts.mu.Unlock()
	for _, id := range formList(form, list) {
		forget(x.scope.key(id))
	}
	return a, nil
}
