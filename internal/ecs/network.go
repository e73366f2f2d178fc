package ecs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// network is a VPC's subnets, as of a moment ago.
type network struct {
	subnets []string
	readAt  time.Time
}

// networkLasts is how long subnets are taken for known: long enough that a
// burst of runs asks once, short enough that a new subnet is soon used.
const networkLasts = 5 * time.Minute

// configError is something that the configuration or the account must change
// before a launch can succeed.
type configError struct{ message, hint string }

func (e *configError) Error() string { return e.message }

// addNetwork puts the network into a request for a task with its own address.
func (l *Launcher) addNetwork(ctx context.Context, on *clients, c *configuration, d *definition, request map[string]any) error {
	if d.networkMode != "awsvpc" {
		return nil
	}
	custom := len(c.network) > 0
	if !custom && !empty(request["networkConfiguration"]) {
		return nil
	}
	subnets, err := l.subnets(ctx, on, c.vpcID)
	if err != nil {
		return err
	}
	if custom {
		if err := checkSubnets(c, subnets); err != nil {
			return err
		}
		request["networkConfiguration"] = map[string]any{"awsvpcConfiguration": c.network}
		return nil
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

func checkSubnets(c *configuration, subnets []string) error {
	configured, _ := c.network["subnets"].([]any)
	var names []string
	known := true
	for _, item := range configured {
		name := text(item)
		names = append(names, name)
		known = known && slices.Contains(subnets, name)
	}
	if known {
		return nil
	}
	return &configError{
		fmt.Sprintf("Subnets %s not found within VPC with ID %s. Please check that VPC is associated with supplied subnets.", quoteNames(names), c.vpcID),
		fmt.Sprintf("The VPC has %s: correct network_configuration or vpc_id of the work pool.", quoteNames(subnets)),
	}
}

func networkKey(on *clients, vpcID string) string { return on.key + " " + vpcID }

// subnets lists a VPC's subnets; "" is the account's default VPC.
func (l *Launcher) subnets(ctx context.Context, on *clients, vpcID string) ([]string, error) {
	key := networkKey(on, vpcID)
	unlock, err := l.lookups.lock(ctx, "network "+key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if known, ok := l.networks.get(key); ok && time.Since(known.readAt) < networkLasts {
		return known.subnets, nil
	}
	subnets, err := l.readSubnets(ctx, on, vpcID)
	if err != nil {
		return nil, err
	}
	l.networks.put(key, network{subnets, time.Now()})
	return subnets, nil
}

func (l *Launcher) readSubnets(ctx context.Context, on *clients, vpcID string) ([]string, error) {
	ask := &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{{Name: aws.String("isDefault"), Values: []string{"true"}}}}
	what, help := "the default VPC", "Pass an explicit `vpc_id` or configure a default VPC."
	if vpcID != "" {
		ask = &ec2.DescribeVpcsInput{VpcIds: []string{vpcID}}
		what, help = "VPC with ID "+vpcID, "Check that the VPC exists in the current region."
	}
	vpcs, err := call(ctx, l.governor.network, on.ec2.DescribeVpcs, ask)
	if errorCode(err) == "InvalidVpcID.NotFound" {
		vpcs, err = &ec2.DescribeVpcsOutput{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe VPCs: %w", err)
	}
	if len(vpcs.Vpcs) == 0 {
		return nil, &configError{fmt.Sprintf("Failed to find %s. Network configuration cannot be inferred. %s", what, help), "Set vpc_id on the work pool, and network_configuration to choose its subnets."}
	}
	pages := ec2.NewDescribeSubnetsPaginator(on.ec2, &ec2.DescribeSubnetsInput{
		Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{aws.ToString(vpcs.Vpcs[0].VpcId)}}},
	})
	var subnets []string
	for pages.HasMorePages() {
		if err := takeTurn(ctx, l.governor.network); err != nil {
			return nil, err
		}
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe subnets: %w", err)
		}
		for _, subnet := range page.Subnets {
			subnets = append(subnets, aws.ToString(subnet.SubnetId))
		}
	}
	if len(subnets) == 0 {
		return nil, &configError{fmt.Sprintf("Failed to find subnets for %s. Network configuration cannot be inferred.", what), "Create a subnet in the VPC, or set another vpc_id on the work pool."}
	}
	return subnets, nil
}
