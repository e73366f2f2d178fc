package jobtemplate

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

// SetDefaults is a base job template in which these variables have these defaults,
// and in which all else is as it was, order and numbers included. Variables that the
// template has not got are left out, and named. It is the very same document when
// every default is in place already.
func SetDefaults(base, defaults json.RawMessage) (template json.RawMessage, missing []string, err error) {
	document, err := objectIn(base, "the base job template")
	if err != nil {
		return nil, nil, err
	}
	values, err := objectIn(defaults, "the defaults")
	if err != nil {
		return nil, nil, err
	}
	variables, _ := document.value("variables").(*object)
	properties, _ := variables.value("properties").(*object)
	if properties == nil {
		return nil, nil, errors.New("the base job template has no variables.properties")
	}
	changed := properties.clone()
	same := true
	for name, value := range values.all() {
		property, ok := properties.value(name).(*object)
		if !ok {
			missing = append(missing, name)
			continue
		}
		if before, ok := property.get("default"); ok && alike(before, value) {
			continue
		}
		same = false
		property = property.clone()
		property.set("default", value)
		changed.set(name, property)
	}
	slices.Sort(missing)
	if same {
		return base, missing, nil
	}
	variables = variables.clone()
	variables.set("properties", changed)
	document = document.clone()
	document.set("variables", variables)
	return encode(document), missing, nil
}

func objectIn(text json.RawMessage, what string) (*object, error) {
	value, err := read(text)
	if err != nil {
		return nil, errors.New(what + " " + err.Error())
	}
	o, ok := value.(*object)
	if !ok {
		return nil, errors.New(what + " is no JSON object")
	}
	return o, nil
}

// alike reports that two values are the same, in whatever order their keys stand.
func alike(a, b any) bool { return bytes.Equal(encode(sorted(a)), encode(sorted(b))) }

// sorted is a value whose objects have their keys in order.
func sorted(value any) any {
	switch value := value.(type) {
	case *object:
		out := newObject()
		for _, key := range slices.Sorted(maps.Keys(value.values)) {
			out.set(key, sorted(value.values[key]))
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = sorted(item)
		}
		return out
	default:
		return value
	}
}
