package jobtemplate

import (
	"iter"
	"maps"
	"slices"
)

// object is a JSON object that keeps the order of its keys: in text, and in an
// environment, Prefect shows it. Values are shared freely between template,
// variables and result, so an object never changes once it is built; the methods
// that read take a nil object for an empty one.
type object struct {
	keys   []string
	values map[string]any
}

func newObject() *object { return &object{values: map[string]any{}} }

func (o *object) len() int {
	if o == nil {
		return 0
	}
	return len(o.keys)
}

func (o *object) get(key string) (any, bool) {
	if o == nil {
		return nil, false
	}
	value, ok := o.values[key]
	return value, ok
}

// value is the key's value, nil when there is none.
func (o *object) value(key string) any {
	value, _ := o.get(key)
	return value
}

// all goes through the object in its order.
func (o *object) all() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		if o == nil {
			return
		}
		for _, key := range o.keys {
			if !yield(key, o.values[key]) {
				return
			}
		}
	}
}

// set is for an object that is being built. A key that is known keeps its place.
func (o *object) set(key string, value any) {
	if _, known := o.values[key]; !known {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
}

func (o *object) setAll(from *object) {
	for key, value := range from.all() {
		o.set(key, value)
	}
}

// clone makes an object that may be built upon. What is inside stays shared.
func (o *object) clone() *object {
	if o == nil {
		return newObject()
	}
	return &object{keys: slices.Clone(o.keys), values: maps.Clone(o.values)}
}

// without is the object less one key.
func (o *object) without(key string) *object {
	out := newObject()
	for name, value := range o.all() {
		if name != key {
			out.set(name, value)
		}
	}
	return out
}

// deepMerge lays over onto base, object onto object; over wins.
func deepMerge(base, over *object) *object {
	out := base.clone()
	for key, value := range over.all() {
		below, isObject := out.value(key).(*object)
		above, isObjectToo := value.(*object)
		if isObject && isObjectToo {
			out.set(key, deepMerge(below, above))
		} else {
			out.set(key, value)
		}
	}
	return out
}

// setPath puts a value at the end of a path of keys, making objects on the way.
// It reports false when something that is no object stands in the way. It
// changes the objects on the way, which must be nobody else's.
func (o *object) setPath(keys []string, value any) bool {
	for _, key := range keys[:len(keys)-1] {
		next, ok := o.get(key)
		if !ok {
			next = newObject()
			o.set(key, next)
		}
		if o, ok = next.(*object); !ok {
			return false
		}
	}
	o.set(keys[len(keys)-1], value)
	return true
}
