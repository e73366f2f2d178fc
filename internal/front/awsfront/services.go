package awsfront

import (
	"encoding/json"
	"strings"
	"sync"
)

// services remembers what was asked of each ECS service, by account, region,
// cluster and name.
type services struct {
	mu   sync.Mutex
	sent map[string]map[string]json.RawMessage
}

func newServices() *services { return &services{sent: map[string]map[string]json.RawMessage{}} }

// echoed are the members of a service that ministack loses, or changes, on
// create or on update. Without them Terraform plans a change for ever.
func echoed() []string {
	return []string{
		"availabilityZoneRebalancing", "capacityProviderStrategy", "enableExecuteCommand", "enableECSManagedTags",
		"propagateTags", "healthCheckGracePeriodSeconds", "deploymentConfiguration", "platformVersion",
	}
}

// createService remembers what was sent and shows it in the answer.
func (f *Front) createService(x *exchange) (*answer, error) {
	return f.changeService(x, "serviceName", true)
}

// updateService remembers what was sent on top of what was sent before.
func (f *Front) updateService(x *exchange) (*answer, error) {
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
			f.services.merge(key, s)
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
		list, _ := v["services"].([]any)
		for _, item := range list {
			if s, ok := item.(map[string]any); ok {
				f.services.merge(serviceKey(x.scope, str(s["clusterArn"]), str(s["serviceName"])), s)
			}
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
	service = service[strings.LastIndexByte(service, '/')+1:]
	return strings.Join([]string{s.accessKey, s.region, clusterName(cluster), service}, " ")
}

func (s *services) remember(key string, sent map[string]json.RawMessage, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fresh || s.sent[key] == nil {
		s.sent[key] = map[string]json.RawMessage{}
	}
	for _, name := range echoed() {
		if v, ok := sent[name]; ok && string(v) != "null" {
			s.sent[key][name] = v
		}
	}
}

func (s *services) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sent, key)
}

// merge puts what was sent over what the emulator tells of a service.
func (s *services) merge(key string, service map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, value := range s.sent[key] {
		service[name] = value
	}
	// A service with a strategy has no launch type.
	if strategy, ok := s.sent[key]["capacityProviderStrategy"]; ok && string(strategy) != "[]" {
		delete(service, "launchType")
	}
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
