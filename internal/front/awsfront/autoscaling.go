package awsfront

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

// scalableTargets holds the tags of scalable targets: moto has no call for them,
// and Terraform reads them after every create.
type scalableTargets struct {
	mu   sync.Mutex
	arns map[targetKey]string
	tags map[string]map[string]string
}

type targetKey struct{ region, namespace, resource, dimension string }

func newScalableTargets() *scalableTargets {
	return &scalableTargets{arns: map[targetKey]string{}, tags: map[string]map[string]string{}}
}

type scalableTarget struct {
	ServiceNamespace  string
	ResourceId        string
	ScalableDimension string
	Tags              map[string]string
}

func (t scalableTarget) key(s scope) targetKey {
	return targetKey{s.region, t.ServiceNamespace, t.ResourceId, t.ScalableDimension}
}

// registerScalableTarget gives moto the ECS service first: it refuses a target
// whose service it does not know, and the services are ministack's.
func (f *Front) registerScalableTarget(x *exchange) (*answer, error) {
	var in scalableTarget
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	if in.ServiceNamespace == "ecs" {
		if err := f.mirrorService(in.ResourceId); err != nil {
			return nil, err
		}
	}
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	var out struct{ ScalableTargetARN string }
	if err := json.Unmarshal(a.body, &out); err == nil && out.ScalableTargetARN != "" {
		f.targets.register(in.key(x.scope), out.ScalableTargetARN, in.Tags)
	}
	return a, nil
}

// mirrorService makes sure that moto has a service of that name, once ministack
// has: an empty one, which is enough for moto to accept a target.
func (f *Front) mirrorService(resource string) error {
	part := strings.Split(resource, "/")
	if len(part) != 3 || part[0] != "service" {
		return &refusal{code: "ValidationException", message: "Unsupported service namespace, resource type or scalable dimension"}
	}
	ctx, cluster, service := context.Background(), part[1], part[2]
	if !f.hasService(ctx, ministack, cluster, service) {
		return &refusal{code: "ValidationException", message: "ECS service doesn't exist: " + resource}
	}
	if f.hasService(ctx, moto, cluster, service) {
		return nil
	}
	err := f.call(ctx, f.o.Moto, "ecs", ecsTarget+"CreateCluster", map[string]any{"clusterName": cluster}, nil)
	if err != nil {
		return err
	}
	return f.call(ctx, f.o.Moto, "ecs", ecsTarget+"CreateService", map[string]any{
		"cluster": cluster, "serviceName": service, "desiredCount": 0,
		"deploymentController": map[string]any{"type": "EXTERNAL"},
	}, nil)
}

func (f *Front) hasService(ctx context.Context, at upstream, cluster, service string) bool {
	to := f.o.Ministack
	if at == moto {
		to = f.o.Moto
	}
	var out struct{ Services []struct{ Status string } }
	err := f.call(ctx, to, "ecs", ecsTarget+"DescribeServices", map[string]any{"cluster": cluster, "services": []string{service}}, &out)
	var refused *APIError
	if err != nil && !errors.As(err, &refused) {
		f.log.Warn("look for ECS service", "emulator", at, "service", service, "error", err)
	}
	return err == nil && slices.ContainsFunc(out.Services, func(s struct{ Status string }) bool { return s.Status == "ACTIVE" })
}

func (f *Front) deregisterScalableTarget(x *exchange) (*answer, error) {
	var in scalableTarget
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	a, err := x.forward()
	if err == nil && a.ok() {
		f.targets.forget(in.key(x.scope))
	}
	return a, err
}

// The tag calls, which moto answers with 500.

func (f *Front) listScalableTargetTags(x *exchange) (*answer, error) {
	var in struct{ ResourceARN string }
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	var tags map[string]string
	err := f.targets.withTags(in.ResourceARN, func(t map[string]string) { tags = maps.Clone(t) })
	if err != nil {
		return nil, err
	}
	return answerJSON(map[string]any{"Tags": tags})
}

func (f *Front) tagScalableTarget(x *exchange) (*answer, error) {
	var in struct {
		ResourceARN string
		Tags        map[string]string
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	err := f.targets.withTags(in.ResourceARN, func(t map[string]string) { maps.Copy(t, in.Tags) })
	if err != nil {
		return nil, err
	}
	return answerJSON(map[string]any{})
}

func (f *Front) untagScalableTarget(x *exchange) (*answer, error) {
	var in struct {
		ResourceARN string
		TagKeys     []string
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	err := f.targets.withTags(in.ResourceARN, func(t map[string]string) {
		for _, k := range in.TagKeys {
			delete(t, k)
		}
	})
	if err != nil {
		return nil, err
	}
	return answerJSON(map[string]any{})
}

func (t *scalableTargets) register(key targetKey, arn string, tags map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arns[key] = arn
	if t.tags[arn] == nil {
		t.tags[arn] = map[string]string{}
	}
	maps.Copy(t.tags[arn], tags)
}

func (t *scalableTargets) forget(key targetKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.tags, t.arns[key])
	delete(t.arns, key)
}

func (t *scalableTargets) withTags(arn string, use func(map[string]string)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	tags := t.tags[arn]
	if tags == nil {
		return &refusal{
			code:    "ResourceNotFoundException",
			message: "The specified resource doesn't exist.",
			extra:   map[string]any{"ResourceName": arn},
		}
	}
	use(tags)
	return nil
}
