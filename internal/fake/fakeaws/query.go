package fakeaws

import (
	"fmt"
	"strings"
	"time"
)

// network is what EC2 knows: subnets by VPC.
type network struct {
	subnets    map[string][]string
	defaultVPC string // "" is none
}

func newNetwork() network {
	return network{map[string][]string{"vpc-1": {"subnet-a", "subnet-b"}, "vpc-2": {"subnet-c"}}, "vpc-1"}
}

// AddVPC adds a VPC, or gives it other subnets.
func (s *Server) AddVPC(id string, subnets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.network.subnets[id] = subnets
}

// DefaultVPC sets which VPC is the default one; "" is none.
func (s *Server) DefaultVPC(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.network.defaultVPC = id
}

func (s *Server) describeVPCs(form object) (any, *Fault) {
	vpc := text(form, "VpcId.1")
	if vpc == "" {
		vpc = s.network.defaultVPC
	} else if _, ok := s.network.subnets[vpc]; !ok {
		return nil, &Fault{Code: "InvalidVpcID.NotFound", Message: "The vpc ID '" + vpc + "' does not exist"}
	}
	var b strings.Builder
	b.WriteString("<DescribeVpcsResponse><vpcSet>")
	if vpc != "" {
		fmt.Fprintf(&b, "<item><vpcId>%s</vpcId></item>", vpc)
	}
	b.WriteString("</vpcSet></DescribeVpcsResponse>")
	return b.String(), nil
}

func (s *Server) describeSubnets(form object) (any, *Fault) {
	var b strings.Builder
	b.WriteString("<DescribeSubnetsResponse><subnetSet>")
	for _, subnet := range s.network.subnets[text(form, "Filter.1.Value.1")] {
		fmt.Fprintf(&b, "<item><subnetId>%s</subnetId></item>", subnet)
	}
	b.WriteString("</subnetSet></DescribeSubnetsResponse>")
	return b.String(), nil
}

func (s *Server) assumeRole(object) (any, *Fault) {
	expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	return fmt.Sprintf(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
		`<AccessKeyId>assumed</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>token</SessionToken><Expiration>%s</Expiration>`+
		`</Credentials></AssumeRoleResult></AssumeRoleResponse>`, expires), nil
}
