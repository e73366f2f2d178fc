package jobtemplate

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

func deepCopy(value any) any {
	switch value := value.(type) {
	case map[string]any:
		return copyObject(value)
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = deepCopy(item)
		}
		return out
	default:
		return value
	}
}

func copyObject(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for key, value := range object {
		out[key] = deepCopy(value)
	}
	return out
}

// deepMerge lays over onto base, object onto object; over wins.
func deepMerge(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	for key, value := range over {
		below, isObject := out[key].(map[string]any)
		above, isObjectToo := value.(map[string]any)
		if isObject && isObjectToo {
			out[key] = deepMerge(below, above)
		} else {
			out[key] = value
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

// splitPath cuts a dotted name into its parts: a.b[0] is a, b, 0.
func splitPath(name string) []string {
	return strings.Split(strings.ReplaceAll(strings.ReplaceAll(name, "[", "."), "]", ""), ".")
}

// lookup follows a dotted name into a value. A part that is a whole number is
// an index, never a key, and counts from the end when negative, as in Prefect.
func lookup(value any, name string) (any, bool) {
	for _, part := range splitPath(name) {
		var ok bool
		if index, isIndex := parseIndex(part); isIndex {
			value, ok = at(value, index)
		} else {
			var object map[string]any
			if object, ok = value.(map[string]any); ok {
				value, ok = object[part]
			}
		}
		if !ok {
			return nil, false
		}
	}
	return value, true
}

// at is value[index]; a string is a sequence of characters here.
func at(value any, index int) (any, bool) {
	switch value := value.(type) {
	case []any:
		if index < 0 {
			index += len(value)
		}
		if index < 0 || index >= len(value) {
			return nil, false
		}
		return value[index], true
	case string:
		runes := []rune(value)
		if index < 0 {
			index += len(runes)
		}
		if index < 0 || index >= len(runes) {
			return nil, false
		}
		return string(runes[index]), true
	default:
		return nil, false
	}
}

// parseIndex reads a whole number as Python does: a sign, and single
// underscores between digits, are allowed. A number too large for any list is
// still an index, of nothing.
func parseIndex(part string) (int, bool) {
	digits := strings.TrimLeft(part, "+-")
	if len(part)-len(digits) > 1 || digits == "" || digits[0] == '_' || digits[len(digits)-1] == '_' || strings.Contains(digits, "__") {
		return 0, false
	}
	for _, r := range digits {
		if (r < '0' || r > '9') && r != '_' {
			return 0, false
		}
	}
	index, err := strconv.Atoi(strings.ReplaceAll(part, "_", ""))
	if err != nil {
		return int(^uint(0) >> 1), true
	}
	return index, true
}

// setPath puts a value at the end of a path of keys, making objects on the
// way. It reports false when something that is no object stands in the way.
func setPath(object map[string]any, keys []string, value any) bool {
	for _, key := range keys[:len(keys)-1] {
		next, ok := object[key]
		if !ok {
			next = map[string]any{}
			object[key] = next
		}
		if object, ok = next.(map[string]any); !ok {
			return false
		}
	}
	object[keys[len(keys)-1]] = value
	return true
}
