package awsfront

import (
	"fmt"
	"strings"
	"testing"
)

// TestFilters gives ministack's own answers, which take ids and no filters.
func TestFilters(t *testing.T) {
	s := newFakeStack(t, Options{})
	endpoints := map[string]string{
		"vpce-1": "<vpcEndpointId>vpce-1</vpcEndpointId><vpcId>vpc-1</vpcId><serviceName>com.amazonaws.us-east-1.ecs</serviceName><state>available</state>",
		"vpce-2": "<vpcEndpointId>vpce-2</vpcEndpointId><vpcId>vpc-1</vpcId><serviceName>com.amazonaws.us-east-1.sqs</serviceName><state>available</state>",
		"vpce-3": "<vpcEndpointId>vpce-3</vpcEndpointId><vpcId>vpc-2</vpcId><serviceName>com.amazonaws.us-east-1.ecs</serviceName><state>available</state>",
	}
	interfaces := map[string]string{
		"eni-1": "<networkInterfaceId>eni-1</networkInterfaceId><subnetId>subnet-1</subnetId><groupSet><item><groupId>sg-1</groupId></item><item><groupId>sg-2</groupId></item></groupSet>",
		"eni-2": "<networkInterfaceId>eni-2</networkInterfaceId><subnetId>subnet-1</subnetId><groupSet><item><groupId>sg-3</groupId></item></groupSet>",
	}
	says := func(all map[string]string, parameter string) func(map[string]any) (int, any) {
		return func(in map[string]any) (int, any) {
			var b strings.Builder
			for id, item := range all {
				if asked := in[parameter+".1"]; asked == nil || asked == id || in[parameter+".2"] == id {
					fmt.Fprintf(&b, "<item>%s</item>", item)
				}
			}
			return 200, xmlBody("<R><set>" + b.String() + "</set></R>")
		}
	}
	s.ministack.on("DescribeVpcEndpoints", says(endpoints, "VpcEndpointId"))
	s.ministack.on("DescribeNetworkInterfaces", says(interfaces, "NetworkInterfaceId"))

	contains(t, "without filters", s.formOK(t, "ec2", "DescribeVpcEndpoints"), "vpce-1", "vpce-2", "vpce-3")
	contains(t, "by id", s.formOK(t, "ec2", "DescribeVpcEndpoints", "VpcEndpointId.1=vpce-2"), "!vpce-1", "vpce-2", "!vpce-3")
	contains(t, "by VPC and service", s.formOK(t, "ec2", "DescribeVpcEndpoints", "Filter.1.Name=vpc-id", "Filter.1.Value.1=vpc-1",
		"Filter.2.Name=service-name", "Filter.2.Value.1=com.amazonaws.us-east-1.ecs", "Filter.3.Name=vpc-endpoint-state", "Filter.3.Value.1=available"), "vpce-1", "!vpce-2", "!vpce-3")
	contains(t, "by either service", s.formOK(t, "ec2", "DescribeVpcEndpoints", "Filter.1.Name=vpc-id", "Filter.1.Value.1=vpc-1",
		"Filter.2.Name=service-name", "Filter.2.Value.1=com.amazonaws.us-east-1.ecs", "Filter.2.Value.2=com.amazonaws.us-east-1.sqs"), "vpce-1", "vpce-2", "!vpce-3")
	contains(t, "none", s.formOK(t, "ec2", "DescribeVpcEndpoints", "Filter.1.Name=vpc-id", "Filter.1.Value.1=vpc-9"), "!vpce-")
	contains(t, "by group", s.formOK(t, "ec2", "DescribeNetworkInterfaces", "Filter.1.Name=subnet-id", "Filter.1.Value.1=subnet-1",
		"Filter.2.Name=group-id", "Filter.2.Value.1=sg-2", "Filter.2.Value.2=sg-00000000000000000"), "eni-1", "!eni-2")
}

// TestPrefixLists names one in a rule, of which ministack would lose it.
func TestPrefixLists(t *testing.T) {
	s := newFakeStack(t, Options{})
	var cidr string
	s.ministack.on("AuthorizeSecurityGroupEgress", func(in map[string]any) (int, any) {
		cidr = str(in["IpPermissions.1.IpRanges.1.CidrIp"])
		return 200, xmlBody("<R><item><cidrIpv4>" + cidr + "</cidrIpv4></item></R>")
	})
	s.ministack.on("DescribeSecurityGroupRules", func(map[string]any) (int, any) {
		return 200, xmlBody("<R><item><cidrIpv4>10.0.0.0/8</cidrIpv4></item><item><cidrIpv4>" + cidr + "</cidrIpv4></item></R>")
	})
	contains(t, "made", s.formOK(t, "ec2", "AuthorizeSecurityGroupEgress", "GroupId=sg-1", "IpPermissions.1.IpProtocol=tcp",
		"IpPermissions.1.PrefixListIds.1.PrefixListId=pl-1"), "<prefixListId>pl-1</prefixListId>", "!cidrIpv4")
	if !strings.HasPrefix(cidr, "24") || !strings.HasSuffix(cidr, "/32") {
		t.Errorf("the range that stands for the list is %q", cidr)
	}
	contains(t, "described", s.formOK(t, "ec2", "DescribeSecurityGroupRules"), "<cidrIpv4>10.0.0.0/8</cidrIpv4>", "<prefixListId>pl-1</prefixListId>")
}
