package ecs

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The configuration of a job is kept as JSON values as long as it is shaped,
// because users may template any field of the AWS requests; only what is sent
// is decoded into the SDK's types.

func copyValue(value any) any {
	switch value := value.(type) {
	case map[string]any:
		return copyObject(value)
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = copyValue(item)
		}
		return out
	default:
		return value
	}
}

func copyObject(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for key, value := range object {
		out[key] = copyValue(value)
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// objects returns the objects in a list; anything else in it is left out.
func objects(value any) []map[string]any {
	list, _ := value.([]any)
	var out []map[string]any
	for _, item := range list {
		if object, ok := item.(map[string]any); ok {
			out = append(out, object)
		}
	}
	return out
}

func asList(items []map[string]any) []any {
	out := make([]any, len(items))
	for i, item := range items {
		out[i] = item
	}
	return out
}

func stringField(object map[string]any, key string) string {
	s, _ := object[key].(string)
	return s
}

// empty reports whether a value is one that a task definition does without:
// null, "", [], {} and 0, but not false.
func empty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return value == ""
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	case bool:
		return false
	default:
		number, ok := wholeNumber(value)
		return ok && number == 0
	}
}

// dropEmpty removes empty fields from an object and the objects inside it. As in
// Prefect's definitions, an empty variable keeps its name alone.
func dropEmpty(object map[string]any) {
	dropEmptyFields(object)
	for _, value := range object {
		switch value := value.(type) {
		case map[string]any:
			dropEmpty(value)
		case []any:
			for _, item := range objects(value) {
				dropEmpty(item)
			}
		}
	}
}

func dropEmptyFields(object map[string]any) {
	maps.DeleteFunc(object, func(_ string, value any) bool { return empty(value) })
}

// wholeNumber reads a number, or the text of one.
func wholeNumber(value any) (int64, bool) {
	switch value := value.(type) {
	case int:
		return int64(value), true
	case int64:
		return value, true
	case float64:
		if value != math.Trunc(value) || math.Abs(value) > 1<<53 {
			return 0, false
		}
		return int64(value), true
	case json.Number:
		if n, err := value.Int64(); err == nil {
			return n, true
		}
		f, err := value.Float64()
		if err != nil {
			return 0, false
		}
		return wholeNumber(f)
	case string:
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		return n, err == nil
	default:
		return 0, false
	}
}

// text is a number or string as ECS wants task sizes: as text.
func text(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	if n, ok := wholeNumber(value); ok {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprint(value)
}

// quoteNames writes names like a Python list, as the messages that users
// search for have it.
func quoteNames(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = "'" + name + "'"
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
