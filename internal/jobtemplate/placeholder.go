package jobtemplate

import (
	"slices"
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
	opening           = "{{"
	closing           = "}}"
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
	if !strings.Contains(s, opening) {
		return []segment{{text: s}}
	}
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

func hasPlaceholders(segments []segment) bool {
	return slices.ContainsFunc(segments, func(s segment) bool { return s.name != "" })
}

func hasKind(segments []segment, kind placeholderKind) bool {
	return slices.ContainsFunc(segments, func(s segment) bool { return s.name != "" && s.kind == kind })
}

// matchPlaceholder reads a placeholder that starts at the given byte. It
// returns the byte after it and its name, or -1.
func matchPlaceholder(s string, at int) (int, string) {
	if !strings.HasPrefix(s[at:], opening) {
		return -1, ""
	}
	start := skip(s, at+len(opening), isBlank)
	end := skip(s, start, isNameRune)
	after := skip(s, end, isBlank)
	if start == end || !strings.HasPrefix(s[after:], closing) {
		return -1, ""
	}
	return after + len(closing), s[start:end]
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
