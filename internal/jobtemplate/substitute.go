package jobtemplate

import "strings"

// values fill a template's standard and environment placeholders.
type values struct {
	variables map[string]any
	env       func(string) (string, bool)
}

// apply fills a value's placeholders, in one pass: what comes in is not looked
// through again. It reports false for a value that is unset: a lone placeholder
// nobody has a value for. Its key, or its place in a list, then disappears.
func (v values) apply(value any) (any, bool) {
	switch value := value.(type) {
	case string:
		return v.applyText(value)
	case []any:
		out := make([]any, 0, len(value))
		for _, item := range value {
			if filled, ok := v.apply(item); ok {
				out = append(out, filled)
			}
		}
		return out, true
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, item := range value {
			if filled, ok := v.apply(item); ok {
				out[key] = filled
			}
		}
		return out, true
	default:
		return value, true
	}
}

// applyText fills a string. A placeholder that is the whole string becomes the
// value itself, of any type; one inside text becomes the value's text, or
// nothing. Environment variables are text even when alone.
func (v values) applyText(s string) (any, bool) {
	segments := scan(s)
	if p, ok := alone(segments); ok && p.kind == standard {
		value, found := lookup(v.variables, p.name)
		return deepCopy(value), found
	}
	var b strings.Builder
	for _, p := range segments {
		switch {
		case p.name == "" || p.kind == block || p.kind == variable:
			b.WriteString(p.text)
		case p.kind == environment:
			if v.env == nil {
				continue
			}
			text, _ := v.env(strings.TrimLeft(p.name, environmentPrefix))
			b.WriteString(text)
		default:
			if value, found := lookup(v.variables, p.name); found {
				b.WriteString(Text(value))
			}
		}
	}
	return b.String(), true
}
