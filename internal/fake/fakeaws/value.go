package fakeaws

import (
	"slices"
	"strings"
)

// object is JSON as it was decoded.
type object = map[string]any

func text(o object, key string) string {
	value, _ := o[key].(string)
	return value
}

func number(o object, key string) int {
	value, _ := o[key].(float64)
	return int(value)
}

func nested(o object, key string) object {
	value, _ := o[key].(map[string]any)
	return value
}

// objects returns the objects in a list.
func objects(value any) []object {
	list, _ := value.([]any)
	var out []object
	for _, item := range list {
		if o, ok := item.(map[string]any); ok {
			out = append(out, o)
		}
	}
	return out
}

func texts(value any) []string {
	list, _ := value.([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func contains(list []string, value string) bool { return slices.Contains(list, value) }

// lastPart is what an ARN or a path ends with.
func lastPart(name string) string { return name[strings.LastIndex(name, "/")+1:] }

func arn(service, resource string) string {
	return "arn:aws:" + service + ":" + Region + ":" + Account + ":" + resource
}
