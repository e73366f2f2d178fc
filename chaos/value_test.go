//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// dig reads a value below nested objects.
func dig(value any, path ...string) any {
	for _, step := range path {
		m, _ := value.(map[string]any)
		value = m[step]
	}
	return value
}

// list are the objects of a list.
func list(value any) []object {
	all, _ := value.([]any)
	var out []object
	for _, item := range all {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func lower(text string) string { return strings.ToLower(text) }

// cut is the beginning of a text, on one line.
func cut(text string, limit int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}

// contextOf is for what is asked when the test's own context has ended.
func contextOf() context.Context { return context.Background() }

func decodeStates(status int, data []byte) []state {
	var list []state
	if status != http.StatusOK || json.Unmarshal(data, &list) != nil {
		return nil
	}
	slices.SortStableFunc(list, func(x, y state) int { return x.Timestamp.Compare(y.Timestamp) })
	return list
}
