package awsfront

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/url"
)

// Ministack keeps the tags of what was deleted, and shows them for ever. On AWS
// tags go with their resource. What a deployment left behind is found by its
// tags, so here they go as well. The tags of a task definition go with its
// deregistration: AWS keeps the inactive definition as a record, which nobody
// can remove by destroying a deployment.

// forgetEC2Tags passes a deletion on and drops the tags of what it named.
func (f *Front) forgetEC2Tags(idParameter string) patch {
	return func(x *exchange) (*answer, error) {
		a, err := x.forward()
		if err != nil || !a.ok() {
			return a, err
		}
		form, err := url.ParseQuery(string(x.body))
		if err != nil {
			return a, nil //nolint:nilerr // the emulator understood it, and has answered
		}
		if err := f.deleteEC2Tags(x, form.Get(idParameter)); err != nil {
			f.log.Warn("tags of a deleted resource stay", "resource", form.Get(idParameter), "error", err)
		}
		return a, nil
	}
}

// deleteVPC drops the tags of the default security group as well: nobody deletes
// that one, it goes with its VPC.
func (f *Front) deleteVPC(x *exchange) (*answer, error) {
	groups := f.securityGroups(x)
	a, err := f.forgetEC2Tags("VpcId")(x)
	if err != nil || !a.ok() {
		return a, err
	}
	for _, id := range groups {
		if err := f.deleteEC2Tags(x, id); err != nil {
			f.log.Warn("tags of a deleted resource stay", "resource", id, "error", err)
		}
	}
	return a, nil
}

// securityGroups lists those of the VPC that a request names.
func (f *Front) securityGroups(x *exchange) []string {
	form, err := url.ParseQuery(string(x.body))
	if err != nil {
		return nil
	}
	list := url.Values{
		"Action": {"DescribeSecurityGroups"}, "Version": {ec2Version},
		"Filter.1.Name": {"vpc-id"}, "Filter.1.Value.1": {form.Get("VpcId")},
	}
	a, err := x.send([]byte(list.Encode()))
	if err != nil {
		return nil
	}
	var groups struct {
		IDs []string `xml:"securityGroupInfo>item>groupId"`
	}
	if err := xml.Unmarshal(a.body, &groups); err != nil {
		f.log.Warn("read security groups", "error", err)
	}
	return groups.IDs
}

// ec2Version is the version of EC2's query API.
const ec2Version = "2016-11-15"

func (f *Front) deleteEC2Tags(x *exchange, id string) error {
	list := url.Values{
		"Action": {"DescribeTags"}, "Version": {ec2Version},
		"Filter.1.Name": {"resource-id"}, "Filter.1.Value.1": {id},
	}
	a, err := x.send([]byte(list.Encode()))
	if err != nil {
		return err
	}
	var tags struct {
		Items []struct {
			Key string `xml:"key"`
		} `xml:"tagSet>item"`
	}
	if err := xml.Unmarshal(a.body, &tags); err != nil {
		return fmt.Errorf("read tags of %s: %w", id, err)
	}
	if len(tags.Items) == 0 {
		return nil
	}
	remove := url.Values{"Action": {"DeleteTags"}, "Version": {ec2Version}, "ResourceId.1": {id}}
	for i, tag := range tags.Items {
		remove.Set(fmt.Sprintf("Tag.%d.Key", i+1), tag.Key)
	}
	if a, err = x.send([]byte(remove.Encode())); err == nil && !a.ok() {
		return fmt.Errorf("delete tags of %s: status %d", id, a.status)
	}
	return err
}

// deregisterTaskDefinition passes it on and drops the definition's tags.
func (f *Front) deregisterTaskDefinition(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		definition, _ := v["taskDefinition"].(map[string]any)
		f.forgetECSTags(str(definition["taskDefinitionArn"]))
	}), nil
}

// forgetECSTags drops all tags of an ECS resource.
func (f *Front) forgetECSTags(arn string) {
	if arn == "" {
		return
	}
	ctx := context.Background() // call bounds it; what was deleted stays deleted
	var out struct{ Tags []struct{ Key string } }
	err := f.call(ctx, f.o.Ministack, "ecs", ecsTarget+"ListTagsForResource", map[string]any{"resourceArn": arn}, &out)
	if err == nil && len(out.Tags) > 0 {
		keys := make([]string, len(out.Tags))
		for i, tag := range out.Tags {
			keys[i] = tag.Key
		}
		err = f.call(ctx, f.o.Ministack, "ecs", ecsTarget+"UntagResource", map[string]any{"resourceArn": arn, "tagKeys": keys}, nil)
	}
	if err != nil {
		f.log.Warn("tags of a deleted resource stay", "resource", arn, "error", err)
	}
}
