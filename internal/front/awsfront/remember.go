package awsfront

import (
	"encoding/json"
	"maps"
	"strings"
	"sync"
)

// memory keeps, per resource, the members of a request that an emulator loses or
// changes. Without them Terraform plans a change for ever.
type memory struct {
	names []string

	mu   sync.Mutex
	sent map[string]map[string]json.RawMessage
}

func newMemory(names ...string) *memory {
	return &memory{names: names, sent: map[string]map[string]json.RawMessage{}}
}

// remember takes note of what was sent: of a new resource, or on top of what was
// sent before.
func (m *memory) remember(key string, sent map[string]json.RawMessage, fresh bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if fresh || m.sent[key] == nil {
		m.sent[key] = map[string]json.RawMessage{}
	}
	for _, name := range m.names {
		if v, ok := sent[name]; ok && string(v) != "null" {
			m.sent[key][name] = v
		}
	}
}

func (m *memory) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sent, key)
}

// of is what was sent of one resource; nil when nobody told the front of it.
func (m *memory) of(key string) map[string]json.RawMessage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.sent[key])
}

// merge puts what was sent over what the emulator tells of a resource, and says
// whether the front knows of it.
func (m *memory) merge(key string, into map[string]any) bool {
	sent := m.of(key)
	for name, value := range sent {
		into[name] = value
	}
	return sent != nil
}

// key names something of an account and a region.
func (s scope) key(parts ...string) string {
	return strings.Join(append([]string{s.accessKey, s.region}, parts...), " ")
}

// account is the account that a caller's key stands for.
func (f *Front) account(s scope) string {
	if len(s.accessKey) == 12 && strings.Trim(s.accessKey, "0123456789") == "" {
		return s.accessKey
	}
	return f.o.AccountID
}

// objects are the JSON objects in a list; what is none is left out.
func objects(v any) []map[string]any {
	list, _ := v.([]any)
	all := make([]map[string]any, 0, len(list))
	for _, item := range list {
		if o, ok := item.(map[string]any); ok {
			all = append(all, o)
		}
	}
	return all
}

// object is the JSON object under a name, and an empty one where there is none.
func object(v map[string]any, name string) map[string]any {
	if o, ok := v[name].(map[string]any); ok {
		return o
	}
	return map[string]any{}
}

// preset gives a member its default where it has no value. An emulator that does
// not know a member leaves it out, or tells it as "".
func preset(v map[string]any, name string, value any) {
	if v[name] == nil || v[name] == "" {
		v[name] = value
	}
}

// lastPart is a name without the path or the ARN before it.
func lastPart(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
