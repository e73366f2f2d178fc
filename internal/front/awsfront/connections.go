package awsfront

import (
	"fmt"
	"maps"
	"sync"

	"github.com/google/uuid"
)

// connections are those to where source code is kept, which no emulator has. The
// service has two names, CodeConnections and formerly CodeStar Connections: a
// connection has the ARN of the name by which it was made, and each finds both.
type connections struct {
	mu   sync.Mutex
	made map[string]*connection // by scope and ARN
}

type connection struct {
	name, provider, host string
	arn, owner           string
	tags                 map[string]string
}

func newConnections() *connections { return &connections{made: map[string]*connection{}} }

// connectionPatches are the calls of either name of the service.
func (f *Front) connectionPatches() map[string]patch {
	return map[string]patch{
		"CreateConnection": f.createConnection, "GetConnection": f.getConnection, "DeleteConnection": f.deleteConnection, "ListConnections": f.listConnections,
		"ListTagsForResource": f.listConnectionTags, "TagResource": f.tagConnection, "UntagResource": f.untagConnection,
	}
}

// awsTag is a tag as most JSON services write it.
type awsTag struct{ Key, Value string }

func tagMap(list []awsTag) map[string]string {
	tags := map[string]string{}
	for _, t := range list {
		tags[t.Key] = t.Value
	}
	return tags
}

func tagList(tags map[string]string) []awsTag {
	list := make([]awsTag, 0, len(tags))
	for _, k := range sortedKeys(tags) {
		list = append(list, awsTag{k, tags[k]})
	}
	return list
}

func (f *Front) createConnection(x *exchange) (*answer, error) {
	var in struct {
		ConnectionName, ProviderType, HostArn string
		Tags                                  []awsTag
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	if in.ConnectionName == "" || in.ProviderType == "" == (in.HostArn == "") {
		return nil, &refusal{code: "ValidationException", message: "a connection has a name, and either a provider type or a host"}
	}
	c := &connection{
		name: in.ConnectionName, provider: in.ProviderType, host: in.HostArn, owner: f.account(x.scope), tags: tagMap(in.Tags),
		arn: fmt.Sprintf("arn:aws:%s:%s:%s:connection/%s", x.scope.service, x.scope.region, f.account(x.scope), uuid.NewString()),
	}
	f.connections.mu.Lock()
	f.connections.made[x.scope.key(c.arn)] = c
	f.connections.mu.Unlock()
	return answerJSON(map[string]any{"ConnectionArn": c.arn, "Tags": tagList(c.tags)})
}

// tell is a connection as GetConnection shows it. "A connection created through
// the AWS CLI or AWS CloudFormation is in PENDING status by default"; a person
// makes it AVAILABLE in the console (CreateConnection, and the user guide's
// "Update a pending connection").
func (c *connection) tell() map[string]any {
	told := map[string]any{
		"ConnectionArn": c.arn, "ConnectionName": c.name, "ConnectionStatus": "PENDING", "OwnerAccountId": c.owner,
	}
	if c.provider != "" {
		told["ProviderType"] = c.provider
	}
	if c.host != "" {
		told["HostArn"] = c.host
	}
	return told
}

// withConnection lets use have the connection that a request names.
func (f *Front) withConnection(x *exchange, arn string, use func(*connection) any) (*answer, error) {
	f.connections.mu.Lock()
	defer f.connections.mu.Unlock()
	c := f.connections.made[x.scope.key(arn)]
	if c == nil {
		return nil, &refusal{code: "ResourceNotFoundException", message: "[ConnectionArn: " + arn + "] not found"}
	}
	return answerJSON(use(c))
}

func (f *Front) getConnection(x *exchange) (*answer, error) {
	var in struct{ ConnectionArn string }
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	return f.withConnection(x, in.ConnectionArn, func(c *connection) any { return map[string]any{"Connection": c.tell()} })
}

func (f *Front) deleteConnection(x *exchange) (*answer, error) {
	var in struct{ ConnectionArn string }
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	return f.withConnection(x, in.ConnectionArn, func(*connection) any {
		delete(f.connections.made, x.scope.key(in.ConnectionArn))
		return map[string]any{}
	})
}

func (f *Front) listConnections(x *exchange) (*answer, error) {
	var in struct{ ProviderTypeFilter, HostArnFilter string }
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	f.connections.mu.Lock()
	defer f.connections.mu.Unlock()
	list := []any{}
	for _, key := range sortedKeys(f.connections.made) {
		c := f.connections.made[key]
		if key == x.scope.key(c.arn) && (in.ProviderTypeFilter == "" || in.ProviderTypeFilter == c.provider) && (in.HostArnFilter == "" || in.HostArnFilter == c.host) {
			list = append(list, c.tell())
		}
	}
	return answerJSON(map[string]any{"Connections": list})
}

func (f *Front) listConnectionTags(x *exchange) (*answer, error) {
	var in struct{ ResourceArn string }
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	return f.withConnection(x, in.ResourceArn, func(c *connection) any { return map[string]any{"Tags": tagList(c.tags)} })
}

func (f *Front) tagConnection(x *exchange) (*answer, error) {
	var in struct {
		ResourceArn string
		Tags        []awsTag
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	return f.withConnection(x, in.ResourceArn, func(c *connection) any {
		maps.Copy(c.tags, tagMap(in.Tags))
		return map[string]any{}
	})
}

func (f *Front) untagConnection(x *exchange) (*answer, error) {
	var in struct {
		ResourceArn string
		TagKeys     []string
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	return f.withConnection(x, in.ResourceArn, func(c *connection) any {
		for _, k := range in.TagKeys {
			delete(c.tags, k)
		}
		return map[string]any{}
	})
}
