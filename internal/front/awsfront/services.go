package awsfront

import (
	"encoding/json"
	"maps"
	"strings"
)

// newServices remembers of each ECS service what ministack loses, or changes, on
// create or on update.
func newServices() *memory {
	return newMemory(
		"availabilityZoneRebalancing", "capacityProviderStrategy", "enableExecuteCommand", "enableECSManagedTags",
		"propagateTags", "healthCheckGracePeriodSeconds", "deploymentConfiguration", "platformVersion", "networkConfiguration",
	)
}

// createService remembers what was sent and shows it in the answer.
func (f *Front) createService(x *exchange) (*answer, error) {
	return f.changeService(x, "serviceName", true)
}

// updateService remembers what was sent on top of what was sent before.
//
// AWS refuses another capacity provider strategy unless a new deployment is
// forced; Terraform's provider knows, and replaces the service instead unless
// force_new_deployment is set, so the refusal is met by other callers.
func (f *Front) updateService(x *exchange) (*answer, error) {
	sent := map[string]json.RawMessage{}
	if err := x.decode(&sent); err != nil {
		return nil, err
	}
	had := f.services.of(serviceKey(x.scope, text(sent["cluster"]), text(sent["service"])))
	strategy, named := sent["capacityProviderStrategy"]
	if named && had != nil && string(sent["forceNewDeployment"]) != "true" && !sameJSON(strategy, had["capacityProviderStrategy"]) {
		return nil, &refusal{
			code: "InvalidParameterException",
			message: "When switching from launch type to capacity provider strategy on an existing service, or making a change to a capacity provider strategy " +
				"on a service that is already using one, you must force a new deployment.",
		}
	}
	// What an update leaves out of the deployment's configuration stays: Terraform's
	// provider sends the percentages alone when they alone change.
	if part, ok := sent["deploymentConfiguration"]; ok && had != nil {
		whole := decoded(had["deploymentConfiguration"])
		maps.Copy(whole, decoded(part))
		var err error
		if sent["deploymentConfiguration"], err = json.Marshal(whole); err != nil {
			return nil, err
		}
		if x.body, err = json.Marshal(sent); err != nil {
			return nil, err
		}
	}
	return f.changeService(x, "service", false)
}

func (f *Front) changeService(x *exchange, nameField string, fresh bool) (*answer, error) {
	sent := map[string]json.RawMessage{}
	if err := x.decode(&sent); err != nil {
		return nil, err
	}
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	key := serviceKey(x.scope, text(sent["cluster"]), text(sent[nameField]))
	f.services.remember(key, sent, fresh)
	return a.edit(func(v map[string]any) {
		if s, ok := v["service"].(map[string]any); ok {
			f.tellService(key, s)
		}
	}), nil
}

// describeServices merges what was sent into what ministack tells.
func (f *Front) describeServices(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		for _, s := range objects(v["services"]) {
			f.tellService(serviceKey(x.scope, str(s["clusterArn"]), str(s["serviceName"])), s)
		}
	}), nil
}

// deleteService forgets, so that a later service of the same name starts anew.
func (f *Front) deleteService(x *exchange) (*answer, error) {
	var in struct{ Cluster, Service string }
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	a, err := x.forward()
	if err == nil && a.ok() {
		f.services.forget(serviceKey(x.scope, in.Cluster, in.Service))
		return a.edit(func(v map[string]any) {
			service, _ := v["service"].(map[string]any)
			f.forgetECSTags(str(service["serviceArn"]))
		}), nil
	}
	return a, err
}

func serviceKey(s scope, cluster, service string) string {
	return s.key(clusterName(cluster), lastPart(service))
}

// tellService makes of ministack's service what AWS would tell of it.
func (f *Front) tellService(key string, service map[string]any) {
	if !f.services.merge(key, service) {
		return
	}
	// A service with a strategy has no launch type.
	strategy := items(service["capacityProviderStrategy"])
	if len(strategy) > 0 {
		delete(service, "launchType")
	}
	serviceDefaults(service, strategy)
}

// serviceDefaults are what AWS tells of what nobody set, by the CreateService and
// Service pages of the ECS API reference.
func serviceDefaults(service map[string]any, strategy []any) {
	fargate := str(service["launchType"]) == "FARGATE"
	for _, item := range strategy {
		provider, _ := item.(map[string]any)
		fargate = fargate || strings.HasPrefix(str(provider["capacityProvider"]), "FARGATE")
	}
	if fargate {
		// "If one isn't specified, the LATEST platform version is used."
		preset(service, "platformVersion", "LATEST")
		preset(service, "platformFamily", "Linux")
	}
	// "For create service requests, when no value is specified for
	// AvailabilityZoneRebalancing, Amazon ECS defaults the value to ENABLED."
	preset(service, "availabilityZoneRebalancing", "ENABLED")
	// Rolling update: 200 and 100 percent; the circuit breaker is off.
	deployment := decoded(service["deploymentConfiguration"])
	preset(deployment, "maximumPercent", 200)
	preset(deployment, "minimumHealthyPercent", 100)
	preset(deployment, "deploymentCircuitBreaker", map[string]any{"enable": false, "rollback": false})
	service["deploymentConfiguration"] = deployment
	network := decoded(service["networkConfiguration"])
	if vpc, ok := network["awsvpcConfiguration"].(map[string]any); ok {
		// "When you use create-service or update-service, the default is DISABLED."
		preset(vpc, "assignPublicIp", "DISABLED")
		service["networkConfiguration"] = network
	}
}

// decoded is an object, whether it came from the emulator or from memory.
func decoded(v any) map[string]any {
	o := map[string]any{}
	switch v := v.(type) {
	case map[string]any:
		o = v
	case json.RawMessage:
		_ = json.Unmarshal(v, &o) // What is no object has no members.
	}
	return o
}

// items is a list, whether it came from the emulator or from memory.
func items(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case json.RawMessage:
		var list []any
		_ = json.Unmarshal(v, &list) // What is no list has no items.
		return list
	}
	return nil
}

// sameJSON compares two values, not their spelling. No value is an empty list.
func sameJSON(a, b json.RawMessage) bool {
	return canonical(a) == canonical(b)
}

func canonical(raw json.RawMessage) string {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil || v == nil {
		return "[]"
	}
	data, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(data)
}

func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s) // What is no string is none.
	return s
}

func str(v any) string {
	s, _ := v.(string)
	return s
}
