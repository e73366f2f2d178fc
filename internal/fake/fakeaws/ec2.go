package fakeaws

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// network is what EC2 knows.
type network struct {
	subnets    map[string][]string // by VPC
	defaultVPC string              // "" is none
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

// zoneOf is the availability zone of the first subnet in a request.
func (n *network) zoneOf(request object) string {
	config := nested(nested(request, "networkConfiguration"), "awsvpcConfiguration")
	for _, subnets := range n.subnets {
		for i, subnet := range subnets {
			if slices.Contains(texts(config["subnets"]), subnet) {
				return zone(i)
			}
		}
	}
	return zone(0)
}

func zone(i int) string { return Region + string(rune('a'+i%3)) }

func (s *Server) describeVPCs(call Call) (any, *Fault) {
	for _, id := range listed(call.Body, "VpcId.") {
		if _, ok := s.network.subnets[id]; !ok {
			return nil, &Fault{Code: "InvalidVpcID.NotFound", Message: "The vpc ID '" + id + "' does not exist"}
		}
	}
	var items strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.network.subnets)) {
		matches, refusal := filtered(call.Body, "VpcId.", id, map[string]string{
			"isDefault": fmt.Sprint(id == s.network.defaultVPC), "is-default": fmt.Sprint(id == s.network.defaultVPC),
			"vpc-id": id, "state": "available", "owner-id": Account,
		})
		if refusal != nil {
			return nil, refusal
		}
		if matches {
			items.WriteString(element("item", element("vpcId", id)+element("state", "available")+element("ownerId", Account)+
				element("cidrBlock", "10.0.0.0/16")+element("isDefault", fmt.Sprint(id == s.network.defaultVPC))))
		}
	}
	return ec2Answer("DescribeVpcs", "vpcSet", items.String()), nil
}

func (s *Server) describeSubnets(call Call) (any, *Fault) {
	for _, id := range listed(call.Body, "SubnetId.") {
		if !slices.Contains(slices.Concat(slices.Collect(maps.Values(s.network.subnets))...), id) {
			return nil, &Fault{Code: "InvalidSubnetID.NotFound", Message: "The subnet ID '" + id + "' does not exist"}
		}
	}
	var items strings.Builder
	for _, vpc := range slices.Sorted(maps.Keys(s.network.subnets)) {
		for i, id := range s.network.subnets[vpc] {
			matches, refusal := filtered(call.Body, "SubnetId.", id, map[string]string{
				"vpc-id": vpc, "subnet-id": id, "state": "available", "availability-zone": zone(i), "default-for-az": fmt.Sprint(vpc == s.network.defaultVPC),
			})
			if refusal != nil {
				return nil, refusal
			}
			if matches {
				items.WriteString(element("item", element("subnetId", id)+element("vpcId", vpc)+element("state", "available")+
					element("availabilityZone", zone(i))+element("cidrBlock", fmt.Sprintf("10.0.%d.0/24", i))+element("mapPublicIpOnLaunch", "true")))
			}
		}
	}
	return ec2Answer("DescribeSubnets", "subnetSet", items.String()), nil
}

func ec2Answer(op, set, items string) string {
	return fmt.Sprintf(`<%sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><%s>%s</%s></%[1]sResponse>`, op, set, items, set)
}

// filtered tells whether a thing is among those that a call names or filters.
func filtered(form object, ids, id string, properties map[string]string) (bool, *Fault) {
	if named := listed(form, ids); len(named) > 0 && !slices.Contains(named, id) {
		return false, nil
	}
	for n := 1; ; n++ {
		prefix := fmt.Sprintf("Filter.%d.", n)
		name := text(form, prefix+"Name")
		if name == "" {
			return true, nil
		}
		value, known := properties[name]
		if !known {
			return false, &Fault{Code: "InvalidParameterValue", Message: "The filter '" + name + "' is invalid"}
		}
		if !slices.Contains(listed(form, prefix+"Value."), value) {
			return false, nil
		}
	}
}

// listed are the numbered fields of a form that begin with prefix.
func listed(form object, prefix string) []string {
	var out []string
	for n := 1; ; n++ {
		key := fmt.Sprint(strings.TrimSuffix(prefix, "."), ".", n)
		if _, ok := form[key]; !ok {
			return out
		}
		out = append(out, text(form, key))
	}
}
