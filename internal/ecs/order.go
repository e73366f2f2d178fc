package ecs

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
)

// keysOf are the keys of an object of the configuration in the order in which
// they were written; path leads to it from the job_configuration. Where nobody
// knows the order they are sorted.
func (c *configuration) keysOf(object map[string]any, path ...string) []string {
	keys := sortedKeys(object)
	order := map[string]int{}
	for i, key := range writtenKeys(c.document, path) {
		order[key] = i + 1
	}
	slices.SortStableFunc(keys, func(a, b string) int { return order[a] - order[b] })
	return keys
}

// writtenKeys reads the keys of the object at the end of a path, none when there
// is no object.
func writtenKeys(document json.RawMessage, path []string) []string {
	for _, step := range path {
		document = child(document, step)
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil
	}
	var keys []string
	for decoder.More() {
		token, err := decoder.Token()
		key, isText := token.(string) // in an object it is one
		if err != nil || !isText {
			return nil
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil
		}
		keys = append(keys, key)
	}
	return keys
}

// child is the value at a key or an index, nil when there is none.
func child(document json.RawMessage, step string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(document, &object) == nil {
		return object[step]
	}
	var list []json.RawMessage
	i, err := strconv.Atoi(step)
	if err != nil || json.Unmarshal(document, &list) != nil || i < 0 || i >= len(list) {
		return nil
	}
	return list[i]
}
