package jobtemplate

import "strings"

// maxWork bounds what one resolution may do, in bytes of text that are read or
// made; a value that is gone through counts nodeWork. No job needs that much,
// and a few lines of hostile template could take any time and memory.
const (
	maxWork  = 16 << 20
	nodeWork = 16
)

// work is what is left of maxWork.
type work struct{ left int }

func newWork() *work { return &work{left: maxWork} }

// spend reports false once all is spent: then whoever asks stops where it is.
func (w *work) spend(n int) bool {
	if w.left >= 0 {
		w.left -= n
	}
	return w.left >= 0
}

// filler fills a template's standard and environment placeholders.
type filler struct {
	variables *object
	env       func(string) (string, bool)
	work      *work
}

// apply fills a value's placeholders, in one pass: what comes in is not looked
// through again. It reports false for a value that is unset: a lone placeholder
// nobody has a value for. Its key, or its place in a list, then disappears.
func (f filler) apply(value any) (any, bool) {
	if !f.work.spend(nodeWork) {
		return nil, false
	}
	switch value := value.(type) {
	case string:
		return f.applyText(value)
	case []any:
		out := make([]any, 0, len(value))
		for _, item := range value {
			if filled, ok := f.apply(item); ok {
				out = append(out, filled)
			}
		}
		return out, true
	case *object:
		out := newObject()
		for key, item := range value.all() {
			if filled, ok := f.apply(item); ok {
				out.set(key, filled)
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
func (f filler) applyText(s string) (any, bool) {
	if !f.work.spend(len(s)) {
		return nil, false
	}
	segments := scan(s)
	if p, ok := alone(segments); ok && p.kind == standard {
		return f.work.lookup(f.variables, p.name)
	}
	if !hasPlaceholders(segments) {
		return s, true
	}
	var b strings.Builder
	for _, p := range segments {
		text := p.text
		switch {
		case p.name == "" || p.kind == block || p.kind == variable:
		case p.kind == environment:
			text = ""
			if f.env != nil {
				text, _ = f.env(strings.TrimLeft(p.name, environmentPrefix))
			}
		default:
			text = ""
			if value, found := f.work.lookup(f.variables, p.name); found {
				text = textOf(value)
			}
		}
		if !f.work.spend(len(text)) {
			return nil, false
		}
		b.WriteString(text)
	}
	return b.String(), true
}
