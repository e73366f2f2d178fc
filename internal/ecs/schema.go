package ecs

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"unicode"
)

// decodeInto turns a shaped request into the SDK's type, and brings the request
// itself to the types that are sent: numbers that a template made text become
// numbers, and the other way round. Everything that ECS would not take is
// reported, each with its path below at.
func decodeInto(object map[string]any, into any, at string) error {
	f := fitter{wireName: fieldName}
	return f.decode(object, into, at)
}

// fitter brings JSON values to the shape of one of the SDK's types. The SDK's
// own types are the list of what ECS knows; there is no second one to keep up
// to date.
type fitter struct {
	wireName func(field string) string
	problems []error
	unknown  []string // paths of the keys that the type has not
}

// fieldName is a field of the SDK as ECS's JSON calls it.
func fieldName(field string) string {
	runes := []rune(field)
	runes[0] = unicode.ToLower(runes[0])
	return string(runes)
}

func (f *fitter) decode(object map[string]any, into any, at string) error {
	f.fitStruct(object, reflect.TypeOf(into).Elem(), at)
	for _, path := range f.unknown {
		f.problem(path, "is no field that ECS knows")
	}
	if len(f.problems) > 0 {
		return errors.Join(f.problems...)
	}
	encoded, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if err := json.Unmarshal(encoded, into); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

func (f *fitter) problem(path, format string, args ...any) {
	f.problems = append(f.problems, fmt.Errorf(path+": "+format, args...))
}

// fitStruct fits the fields of an object. A null is the same as no field.
func (f *fitter) fitStruct(object map[string]any, t reflect.Type, path string) {
	fields := map[string]reflect.Type{}
	for field := range t.Fields() {
		if field.IsExported() && field.Name != "ResultMetadata" {
			fields[f.wireName(field.Name)] = field.Type
		}
	}
	for _, key := range sortedKeys(object) {
		within := path + "." + key
		field, known := fields[key]
		switch {
		case !known:
			f.unknown = append(f.unknown, within+alike(key, fields))
		case object[key] == nil:
			delete(object, key)
		default:
			object[key] = f.fit(object[key], field, within)
		}
	}
}

// alike names the field that was probably meant.
func alike(key string, fields map[string]reflect.Type) string {
	for _, name := range sortedKeys(fields) {
		if strings.EqualFold(strings.ReplaceAll(key, "_", ""), name) {
			return " (" + name + "?)"
		}
	}
	return ""
}

func (f *fitter) fit(value any, t reflect.Type, path string) any {
	switch t.Kind() {
	case reflect.Pointer:
		return f.fit(value, t.Elem(), path)
	case reflect.Struct:
		if object, ok := value.(map[string]any); ok {
			f.fitStruct(object, t, path)
			return object
		}
		f.problem(path, "must be an object")
	case reflect.Slice:
		if list, ok := value.([]any); ok {
			return f.fitList(list, t.Elem(), path)
		}
		f.problem(path, "must be a list")
	case reflect.Map:
		if object, ok := value.(map[string]any); ok {
			return f.fitMap(object, t.Elem(), path)
		}
		f.problem(path, "must be an object")
	default:
		return f.fitScalar(value, t, path)
	}
	return value
}

func (f *fitter) fitList(list []any, t reflect.Type, path string) []any {
	fitted := make([]any, 0, len(list))
	for i, item := range list {
		if item != nil {
			fitted = append(fitted, f.fit(item, t, fmt.Sprintf("%s[%d]", path, i)))
		}
	}
	return fitted
}

func (f *fitter) fitMap(object map[string]any, t reflect.Type, path string) map[string]any {
	for _, key := range sortedKeys(object) {
		if object[key] == nil {
			delete(object, key)
			continue
		}
		object[key] = f.fit(object[key], t, path+"."+key)
	}
	return object
}

func (f *fitter) fitScalar(value any, t reflect.Type, path string) any {
	switch t.Kind() {
	case reflect.String:
		switch value.(type) {
		case map[string]any, []any:
			f.problem(path, "must be a string")
			return value
		}
		return text(value)
	case reflect.Int32, reflect.Int64:
		n, ok := wholeNumber(value)
		if !ok || t.Kind() == reflect.Int32 && (n < math.MinInt32 || n > math.MaxInt32) {
			f.problem(path, "must be a whole number, not %v", value)
			return value
		}
		return n
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			f.problem(path, "must be true or false, not %v", value)
		}
	}
	return value
}

// wire is a value of the SDK as it would stand in ECS's JSON, without what is
// not set.
func wire(value reflect.Value) any {
	switch value.Kind() {
	case reflect.Pointer:
		if value.IsNil() {
			return nil
		}
		return wire(value.Elem())
	case reflect.Struct:
		object := map[string]any{}
		for field, of := range value.Fields() {
			if !field.IsExported() {
				continue
			}
			if inner := wire(of); inner != nil {
				object[fieldName(field.Name)] = inner
			}
		}
		return object
	case reflect.Slice:
		list := make([]any, value.Len())
		for i := range list {
			list[i] = wire(value.Index(i))
		}
		return list
	case reflect.Map:
		object := map[string]any{}
		for key, inner := range value.Seq2() {
			object[key.String()] = wire(inner)
		}
		return object
	case reflect.Int32, reflect.Int64:
		return value.Int()
	case reflect.Bool:
		return value.Bool()
	default:
		return value.String()
	}
}
