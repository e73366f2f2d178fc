package jobtemplate

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// placeholderKind says who fills a placeholder, and when.
type placeholderKind int

const (
	standard    placeholderKind = iota // a job variable, filled first
	environment                        // a variable of the worker's environment, filled first
	block                              // a block document, filled second
	variable                           // a Prefect variable, filled third
)

const (
	blockPrefix       = "prefect.blocks."
	variablePrefix    = "prefect.variables."
	environmentPrefix = "$"
)

// segment is a piece of a string: literal text, or a placeholder.
type segment struct {
	text string // the literal text, or the placeholder with its braces
	name string // "" for literal text
	kind placeholderKind
}

// scan cuts a string into literal text and placeholders: "{{", blanks, a name,
// blanks, "}}". What does not fit is literal text.
func scan(s string) []segment {
	var segments []segment
	literal := 0
	for at := 0; at < len(s); {
		end, name := matchPlaceholder(s, at)
		if end < 0 {
			at++
			continue
		}
		if literal < at {
			segments = append(segments, segment{text: s[literal:at]})
		}
		segments = append(segments, segment{text: s[at:end], name: name, kind: kindOfName(name)})
		at, literal = end, end
	}
	if literal < len(s) {
		segments = append(segments, segment{text: s[literal:]})
	}
	return segments
}

// alone returns the placeholder that is the whole string.
func alone(segments []segment) (segment, bool) {
	if len(segments) == 1 && segments[0].name != "" {
		return segments[0], true
	}
	return segment{}, false
}

// matchPlaceholder reads a placeholder that starts at the given byte. It
// returns the byte after it and its name, or -1.
func matchPlaceholder(s string, at int) (int, string) {
	if !strings.HasPrefix(s[at:], "{{") {
		return -1, ""
	}
	start := skip(s, at+2, isBlank)
	end := skip(s, start, isNameRune)
	closing := skip(s, end, isBlank)
	if start == end || !strings.HasPrefix(s[closing:], "}}") {
		return -1, ""
	}
	return closing + 2, s[start:end]
}

func skip(s string, at int, while func(rune) bool) int {
	for at < len(s) {
		r, size := utf8.DecodeRuneInString(s[at:])
		if !while(r) {
			break
		}
		at += size
	}
	return at
}

// isBlank is Python's notion of white space, which has four more control
// characters than Go's.
func isBlank(r rune) bool {
	return unicode.IsSpace(r) || (r >= 0x1c && r <= 0x1f)
}

func isNameRune(r rune) bool {
	switch r {
	case '_', '.', '-', '[', ']', '$':
		return true
	}
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsNumber(r))
}

func kindOfName(name string) placeholderKind {
	switch {
	case strings.HasPrefix(name, blockPrefix):
		return block
	case strings.HasPrefix(name, variablePrefix):
		return variable
	case strings.HasPrefix(name, environmentPrefix):
		return environment
	default:
		return standard
	}
}

func collectPlaceholders(value any, names map[string]bool) {
	switch value := value.(type) {
	case string:
		for _, s := range scan(value) {
			if s.name != "" {
				names[s.name] = true
			}
		}
	case []any:
		for _, item := range value {
			collectPlaceholders(item, names)
		}
	case map[string]any:
		for _, item := range value {
			collectPlaceholders(item, names)
		}
	}
}
