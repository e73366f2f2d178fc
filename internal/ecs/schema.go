package ecs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// decodeInto turns a shaped request into the SDK's type, and brings the request
// itself to the forms that are sent: numbers that a template made text become
// numbers, and the other way round. Everything that ECS would not take is
// reported in botocore's words, each with its path below at.
func decodeInto(object map[string]any, into any, at string) error {
	f := fitter{wireName: fieldName}
	f.fitStruct(object, reflect.ValueOf(into).Elem(), at)
	var all refusal
	for _, u := range f.unknown {
		text := fmt.Sprintf("Unknown parameter in %s: %q (%s: is no field that ECS knows)", firstOf(parameter(u.in, at), "input"), u.key, u)
		all = append(all, problem{class: paramValidationError, text: text})
	}
	for _, p := range f.problems {
		text := fmt.Sprintf("Invalid type for parameter %s (%s: %s)", parameter(p.field, at), p.field, p.text)
		all = append(all, problem{class: paramValidationError, text: text})
	}
	return refuse(all)
}

// parameter is a path below at as botocore writes it: from the request on. A
// network of the configuration becomes a part of the request.
func parameter(path, at string) string {
	within := strings.TrimPrefix(strings.TrimPrefix(path, at), ".")
	if strings.HasSuffix(at, ".network_configuration") {
		within = strings.TrimSuffix("networkConfiguration.awsvpcConfiguration."+within, ".")
	}
	return within
}

// fitter brings JSON values to the shape of one of the SDK's types. The SDK's
// own types are the list of what ECS knows; there is no second one to keep up
// to date.
type fitter struct {
	wireName func(field string) string
	problems refusal
	unknown  []unknownField
}

// unknownField is a key that the type of its object has not.
type unknownField struct{ in, key, meant string }

func (u unknownField) String() string { return u.in + "." + u.key + u.meant }

// fieldName is a field of the SDK as ECS's JSON calls it.
func fieldName(field string) string {
	runes := []rune(field)
	runes[0] = unicode.ToLower(runes[0])
	return string(runes)
}

func (f *fitter) problem(path, format string, args ...any) {
	f.problems = append(f.problems, problem{class: paramValidationError, field: path, text: fmt.Sprintf(format, args...)})
}

// fitStruct fits the fields of an object. A null is the same as no field.
func (f *fitter) fitStruct(object map[string]any, into reflect.Value, path string) {
	fields := map[string]reflect.Value{}
	for field, value := range into.Fields() {
		if field.IsExported() {
			fields[f.wireName(field.Name)] = value
		}
	}
	for _, key := range sortedKeys(object) {
		within := path + "." + key
		field, known := fields[key]
		switch {
		case !known:
			f.unknown = append(f.unknown, unknownField{path, key, alike(key, fields)})
		case object[key] == nil:
			delete(object, key)
		default:
			object[key] = f.fit(object[key], field, within)
		}
	}
}

// alike names the field that was probably meant.
func alike(key string, fields map[string]reflect.Value) string {
	for _, name := range sortedKeys(fields) {
		if strings.EqualFold(strings.ReplaceAll(key, "_", ""), name) {
			return " (" + name + "?)"
		}
	}
	return ""
}

// fit sets a value of the SDK, and returns what it was set to as JSON has it.
func (f *fitter) fit(value any, into reflect.Value, path string) any {
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		return f.fit(value, into.Elem(), path)
	case reflect.Slice:
		if list, ok := value.([]any); ok {
			return f.fitList(list, into, path)
		}
		f.problem(path, "must be a list")
	case reflect.Struct, reflect.Map, reflect.Interface:
		object, ok := value.(map[string]any)
		switch {
		case !ok:
			f.problem(path, "must be an object")
		case into.Kind() == reflect.Struct:
			f.fitStruct(object, into, path)
		case into.Kind() == reflect.Map:
			f.fitMap(object, into, path)
		default:
			f.fitUnion(object, into, path)
		}
	default:
		return f.fitScalar(value, into, path)
	}
	return value
}

func (f *fitter) fitList(list []any, into reflect.Value, path string) []any {
	list = slices.DeleteFunc(slices.Clone(list), func(item any) bool { return item == nil })
	into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
	for i, item := range list {
		list[i] = f.fit(item, into.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	return list
}

func (f *fitter) fitMap(object map[string]any, into reflect.Value, path string) {
	into.Set(reflect.MakeMap(into.Type()))
	for _, key := range sortedKeys(object) {
		if object[key] == nil {
			delete(object, key)
			continue
		}
		value := reflect.New(into.Type().Elem()).Elem()
		object[key] = f.fit(object[key], value, path+"."+key)
		into.SetMapIndex(reflect.ValueOf(key), value)
	}
}

// unions are the SDK's types for an object with one of several members. Each
// member is a type of its own, which holds the value.
func unions(union reflect.Type) (members []reflect.Type) {
	if union == reflect.TypeFor[types.SharingStrategy]() {
		members = append(members, reflect.TypeFor[types.SharingStrategyMemberNvidiaMps]())
	}
	return members
}

func memberName(union, member reflect.Type) string {
	return fieldName(strings.TrimPrefix(member.Name(), union.Name()+"Member"))
}

func (f *fitter) fitUnion(object map[string]any, into reflect.Value, path string) {
	for _, member := range unions(into.Type()) {
		name := memberName(into.Type(), member)
		if value, ok := object[name]; ok && len(object) == 1 {
			made := reflect.New(member)
			object[name] = f.fit(value, made.Elem().FieldByName("Value"), path+"."+name)
			into.Set(made)
			return
		}
	}
	f.problem(path, "must have exactly one of its members")
}

func (f *fitter) fitScalar(value any, into reflect.Value, path string) any {
	switch into.Kind() {
	case reflect.String:
		switch value.(type) {
		case map[string]any, []any:
			f.problem(path, "must be a string")
			return value
		}
		into.SetString(text(value))
		return text(value)
	case reflect.Int32, reflect.Int64:
		n, ok := wholeNumber(value)
		if !ok || into.OverflowInt(n) {
			f.problem(path, "must be a whole number, not %v", value)
			return value
		}
		into.SetInt(n)
		return n
	case reflect.Bool:
		is, ok := value.(bool)
		if !ok {
			f.problem(path, "must be true or false, not %v", value)
		}
		into.SetBool(is)
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
	case reflect.Interface:
		if value.IsNil() {
			return nil
		}
		member := value.Elem().Elem()
		return map[string]any{memberName(value.Type(), member.Type()): wire(member.FieldByName("Value"))}
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
