package awsfront

import (
	"bytes"
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
	// mirror is held while moto has a copy of a service.
	mirror sync.Mutex

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

	MinCapacity, MaxCapacity *int
}

func (t scalableTarget) key(s scope) targetKey {
	return targetKey{s.region, t.ServiceNamespace, t.ResourceId, t.ScalableDimension}
}

// registerScalableTarget shows moto the ECS service meanwhile: it refuses a
// target whose service it does not know, and the services are ministack's.
func (f *Front) registerScalableTarget(x *exchange) (*answer, error) {
	var in scalableTarget
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	if in.ServiceNamespace == "ecs" {
		f.targets.mirror.Lock()
		defer f.targets.mirror.Unlock()
		remove, err := f.mirrorService(in.ResourceId)
		if err != nil {
			return nil, err
		}
		defer remove()
	}
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	var out struct{ ScalableTargetARN string }
	if err := json.Unmarshal(a.body, &out); err == nil && out.ScalableTargetARN != "" {
		f.targets.register(in.key(x.scope), out.ScalableTargetARN, in.Tags)
	}
	if err := f.intoBounds(x.scope, in); err != nil {
		f.log.Warn("bring a service inside its bounds", "service", in.ResourceId, "error", err)
	}
	return a, nil
}

// intoBounds brings a service inside the bounds that were registered:
// when its desired count is outside, Application Auto Scaling changes it (user
// guide, "Register the resource"). moto knows of no service that runs.
func (f *Front) intoBounds(s scope, target scalableTarget) error {
	part := strings.Split(target.ResourceId, "/")
	if target.ServiceNamespace != "ecs" || len(part) != 3 {
		return nil
	}
	var out struct{ Services []struct{ DesiredCount int } }
	in := map[string]any{"cluster": part[1], "services": []string{part[2]}}
	if err := f.callAs(context.Background(), s, f.o.Ministack, "ecs", ecsTarget+"DescribeServices", in, &out); err != nil || len(out.Services) != 1 {
		return err
	}
	count := out.Services[0].DesiredCount
	bounded := count
	if target.MaxCapacity != nil {
		bounded = min(bounded, *target.MaxCapacity)
	}
	if target.MinCapacity != nil {
		bounded = max(bounded, *target.MinCapacity)
	}
	if bounded == count {
		return nil
	}
	change := map[string]any{"cluster": part[1], "service": part[2], "desiredCount": bounded}
	return f.callAs(context.Background(), s, f.o.Ministack, "ecs", ecsTarget+"UpdateService", change, nil)
}

// mirrorService makes sure that moto has a service of that name, once ministack
// has: an empty one, which is enough for moto to accept a target. What it
// returns takes the service away again, so that nothing is left of it.
func (f *Front) mirrorService(resource string) (remove func(), err error) {
	part := strings.Split(resource, "/")
	if len(part) != 3 || part[0] != "service" {
		return nil, &refusal{code: "ValidationException", message: "Unsupported service namespace, resource type or scalable dimension"}
	}
	ctx, cluster, service := context.Background(), part[1], part[2]
	if !f.hasService(ctx, ministack, cluster, service) {
		return nil, &refusal{code: "ValidationException", message: "ECS service doesn't exist: " + resource}
	}
	err = f.call(ctx, f.o.Moto, "ecs", ecsTarget+"CreateCluster", map[string]any{"clusterName": cluster}, nil)
	if err != nil {
		return nil, err
	}
	if !f.hasService(ctx, moto, cluster, service) {
		err = f.call(ctx, f.o.Moto, "ecs", ecsTarget+"CreateService", map[string]any{
			"cluster": cluster, "serviceName": service, "desiredCount": 0,
			"deploymentController": map[string]any{"type": "EXTERNAL"},
		}, nil)
		if err != nil {
			return nil, err
		}
	}
	return func() {
		err := errors.Join(
			f.call(ctx, f.o.Moto, "ecs", ecsTarget+"DeleteService", map[string]any{"cluster": cluster, "service": service, "force": true}, nil),
			f.call(ctx, f.o.Moto, "ecs", ecsTarget+"DeleteCluster", map[string]any{"cluster": cluster}, nil),
		)
		if err != nil {
			f.log.Warn("take the copy of a service away", "service", resource, "error", err)
		}
	}, nil
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
	if err != nil || !a.ok() {
		return a, err
	}
	f.targets.forget(in.key(x.scope))
	if err := f.removeScaling(x.scope, in); err != nil {
		f.log.Warn("policies of a deregistered target stay", "resource", in.ResourceId, "error", err)
	}
	return a, nil
}

// removeScaling deletes the policies and the scheduled actions of a target.
// "Deregistering a scalable target deletes the scaling policies and the scheduled
// actions that are associated with it" (DeregisterScalableTarget); moto keeps
// them.
func (f *Front) removeScaling(s scope, target scalableTarget) error {
	of := map[string]any{"ServiceNamespace": target.ServiceNamespace, "ResourceId": target.ResourceId, "ScalableDimension": target.ScalableDimension}
	var errs []error
	call := func(operation string, in, out any) {
		errs = append(errs, f.callAs(context.Background(), s, f.o.Moto, "application-autoscaling", scalingTarget+operation, in, out))
	}
	var found struct {
		ScalingPolicies  []struct{ PolicyName string }
		ScheduledActions []struct{ ScheduledActionName string }
	}
	call("DescribeScalingPolicies", of, &found)
	call("DescribeScheduledActions", of, &found)
	for _, p := range found.ScalingPolicies {
		in := scalingPolicy{p.PolicyName, target.ServiceNamespace, target.ResourceId, target.ScalableDimension}
		call("DeleteScalingPolicy", in, nil)
		f.policies.mu.Lock()
		delete(f.policies.arns, in.key(s))
		f.policies.mu.Unlock()
	}
	for _, action := range found.ScheduledActions {
		in := maps.Clone(of)
		in["ScheduledActionName"] = action.ScheduledActionName
		call("DeleteScheduledAction", in, nil)
	}
	return errors.Join(errs...)
}

// describeScalableTargets tells the role that AWS makes by itself where none was
// given: "Application Auto Scaling creates a service-linked role", whose name
// the RegisterScalableTarget page of its API reference tells.
func (f *Front) describeScalableTargets(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		for _, target := range objects(v["ScalableTargets"]) {
			if target["ServiceNamespace"] == "ecs" {
				preset(target, "RoleARN", "arn:aws:iam::"+f.account(x.scope)+":role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService")
			}
		}
	}), nil
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

// policies holds the ARN that each scaling policy had at first.
type policies struct {
	mu   sync.Mutex
	arns map[string]policyARNs
}

// policyARNs are the first of a policy, which callers know, and moto's of today.
type policyARNs struct{ first, now string }

func newPolicies() *policies { return &policies{arns: map[string]policyARNs{}} }

type scalingPolicy struct {
	PolicyName        string
	ServiceNamespace  string
	ResourceId        string
	ScalableDimension string
}

func (p scalingPolicy) key(s scope) string {
	return s.key(p.ServiceNamespace, p.ResourceId, p.ScalableDimension, p.PolicyName)
}

// putScalingPolicy changes a policy in its place. moto makes a new one under the
// same name: with another ARN, which alarms then do not name any more, and with
// alarms of its own beside those of the last one, which nothing removes.
func (f *Front) putScalingPolicy(x *exchange) (*answer, error) {
	var in scalingPolicy
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	p, key := f.policies, in.key(x.scope)
	p.mu.Lock()
	defer p.mu.Unlock()
	before, known := p.arns[key]
	if known {
		// Its alarms go with it.
		err := f.callAs(context.Background(), x.scope, f.o.Moto, "application-autoscaling", scalingTarget+"DeleteScalingPolicy", in, nil)
		if err != nil {
			return nil, err
		}
	}
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	var out struct{ PolicyARN string }
	if err := json.Unmarshal(a.body, &out); err != nil || out.PolicyARN == "" {
		return a, nil //nolint:nilerr // there is no ARN to keep
	}
	if !known {
		before.first = out.PolicyARN
	}
	before.now = out.PolicyARN
	p.arns[key] = before
	return p.told(a), nil
}

// scalingTarget begins the X-Amz-Target of Application Auto Scaling.
const scalingTarget = "AnyScaleFrontendService."

// describeScalingPolicies tells the ARNs that callers know.
func (f *Front) describeScalingPolicies(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	f.policies.mu.Lock()
	defer f.policies.mu.Unlock()
	return f.policies.told(a), nil
}

func (f *Front) deleteScalingPolicy(x *exchange) (*answer, error) {
	var in scalingPolicy
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	a, err := x.forward()
	if err == nil && a.ok() {
		f.policies.mu.Lock()
		defer f.policies.mu.Unlock()
		delete(f.policies.arns, in.key(x.scope))
	}
	return a, err
}

// told is an answer with the first ARN of each policy in the place of moto's.
func (p *policies) told(a *answer) *answer {
	body := a.body
	for _, arns := range p.arns {
		body = bytes.ReplaceAll(body, []byte(arns.now), []byte(arns.first))
	}
	return &answer{status: a.status, header: a.header, body: body}
}
