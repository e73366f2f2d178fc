package ecs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// network is a VPC's subnets, as of a moment ago.
type network struct {
	subnets []string
	readAt  time.Time
}

// networkLasts is how long subnets are taken for known: long enough that a
// burst of runs asks once, short enough that a new subnet is soon used.
const networkLasts = 5 * time.Minute

// addNetwork puts the network into a request for a task with its own address.
func (l *Launcher) addNetwork(ctx context.Context, on *clients, c *configuration, d *definition, request map[string]any) error {
	if d.networkMode != "awsvpc" {
		return nil
	}
	custom := len(c.network) > 0
	if !custom && !empty(request["networkConfiguration"]) {
		return nil
	}
	if custom {
		request["networkConfiguration"] = map[string]any{"awsvpcConfiguration": c.network}
		return l.checkSubnets(ctx, on, c)
	}
	subnets, err := l.subnets(ctx, on, c, false)
	if err != nil {
		return err
	}
	if l.warned.first("public " + networkKey(on, c.vpcID)) {
		l.logger.Warn("tasks get public addresses and the VPC's default security group, in any of its subnets: that is Prefect's way when nothing is said about the network",
			"vpc", orDefault(c.vpcID), "hint", "set vpc_id and network_configuration on the work pool to choose subnets, security groups and assignPublicIp")
	}
	list := make([]any, len(subnets))
	for i, subnet := range subnets {
		list[i] = subnet
	}
	request["networkConfiguration"] = map[string]any{"awsvpcConfiguration": map[string]any{
		"subnets":        list,
		"assignPublicIp": "ENABLED",
		"securityGroups": []any{},
	}}
	return nil
}

// checkNetwork finds what ECS would not take of the user's own network.
func (c *configuration) checkNetwork() error {
	return decodeInto(copyObject(c.network), &types.AwsVpcConfiguration{}, "job_configuration.network_configuration")
}

// checkSubnets refuses subnets of another VPC. Before that it looks anew: one of
// them may be younger than what is remembered.
func (l *Launcher) checkSubnets(ctx context.Context, on *clients, c *configuration) error {
	configured, _ := c.network["subnets"].([]any)
	var names []string
	for _, item := range configured {
		names = append(names, text(item))
	}
	var subnets []string
	for _, anew := range []bool{false, true} {
		var err error
		if subnets, err = l.subnets(ctx, on, c, anew); err != nil {
			return err
		}
		if !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(subnets, name) }) {
			return nil
		}
	}
	return &configError{ // the words are Prefect's, with its missing blank
		message: fmt.Sprintf("Subnets %s not found within VPC with ID %s.Please check that VPC is associated with supplied subnets.", quoteNames(names), c.vpcID),
		hint:    fmt.Sprintf("The VPC has %s: correct network_configuration or vpc_id of the work pool.", quoteNames(subnets)),
	}
}

func networkKey(on *clients, vpcID string) string { return on.key + " " + vpcID }

// subnets lists a VPC's subnets, as they were a moment ago unless asked for
// anew; "" is the account's default VPC.
func (l *Launcher) subnets(ctx context.Context, on *clients, c *configuration, anew bool) ([]string, error) {
	key := networkKey(on, c.vpcID)
	unlock, err := l.lookups.lock(ctx, "network "+key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if known, ok := l.networks.get(key); ok && !anew && time.Since(known.readAt) < networkLasts {
		return known.subnets, nil
	}
	subnets, err := l.readSubnets(ctx, on, c)
	if err != nil {
		return nil, err
	}
	l.networks.put(key, network{subnets, time.Now()})
	return subnets, nil
}

func (l *Launcher) readSubnets(ctx context.Context, on *clients, c *configuration) ([]string, error) {
	ask := &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{{Name: aws.String("isDefault"), Values: []string{"true"}}}}
	what, help := "the default VPC", "Pass an explicit `vpc_id` or configure a default VPC."
	if c.vpcID != "" {
		ask = &ec2.DescribeVpcsInput{VpcIds: []string{c.vpcID}}
		what, help = "VPC with ID "+c.vpcID, "Check that the VPC exists in the current region."
	}
	if len(c.network) > 0 {
		help = "Pass an explicit `vpc_id`."
	}
	vpcs, err := on.ec2.DescribeVpcs(ctx, ask)
	if errorCode(err) == "InvalidVpcID.NotFound" {
		return nil, &configError{
			message: describe(err), class: clientError,
			hint: "Set vpc_id on the work pool to a VPC of this account and region.",
		}
	}
	if err != nil {
		return nil, fmt.Errorf("describe VPCs: %w", err)
	}
	if len(vpcs.Vpcs) == 0 {
		return nil, &configError{
			message: fmt.Sprintf("Failed to find %s. Network configuration cannot be inferred. %s", what, help),
			hint:    "Set vpc_id on the work pool, and network_configuration to choose its subnets.",
		}
	}
	pages := ec2.NewDescribeSubnetsPaginator(on.ec2, &ec2.DescribeSubnetsInput{
		Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{aws.ToString(vpcs.Vpcs[0].VpcId)}}},
	})
	var subnets []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe subnets: %w", err)
		}
		for _, subnet := range page.Subnets {
			subnets = append(subnets, aws.ToString(subnet.SubnetId))
		}
	}
	if len(subnets) == 0 {
		return nil, &configError{
			message: fmt.Sprintf("Failed to find subnets for %s. Network configuration cannot be inferred.", what),
			hint:    "Create a subnet in the VPC, or set another vpc_id on the work pool.",
		}
	}
	return subnets, nil
}
