package jobtemplate

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitPath cuts a dotted name into its parts: a.b[0] is a, b, 0.
func splitPath(name string) []string {
	return strings.Split(strings.ReplaceAll(strings.ReplaceAll(name, "[", "."), "]", ""), ".")
}

// lookup follows a dotted name into a value. A part that is a whole number is
// an index, never a key, and counts from the end when negative, as in Prefect.
func (w *work) lookup(value any, name string) (any, bool) {
	return w.follow(value, splitPath(name))
}

func (w *work) follow(value any, parts []string) (any, bool) {
	for _, part := range parts {
		var ok bool
		switch index, isIndex := parseIndex(part); inside := value.(type) {
		case *object:
			if !isIndex {
				value, ok = inside.get(part)
			}
		case []any:
			if isIndex {
				value, ok = item(inside, index)
			}
		case string: // a sequence of characters; a long one is not counted for nothing
			if isIndex && w.spend(len(inside)) {
				value, ok = character(inside, index)
			}
		}
		if !ok {
			return nil, false
		}
	}
	return value, true
}

func item(list []any, index int) (any, bool) {
	if index < 0 {
		index += len(list)
	}
	if index < 0 || index >= len(list) {
		return nil, false
	}
	return list[index], true
}

// maxIndexDigits is the longest text that Python reads as a whole number.
const maxIndexDigits = 4300

// parseIndex reads a whole number as Python does: digits of any script, with
// single underscores between them, after a minus perhaps. A number too large
// for any list is still an index, of nothing.
func parseIndex(part string) (int, bool) {
	text, negative := strings.CutPrefix(part, "-")
	var digits strings.Builder
	underscore := true // none may come first
	for _, r := range text {
		digit, isDigit := decimal(r)
		if !isDigit && (r != '_' || underscore) {
			return 0, false
		}
		if underscore = !isDigit; isDigit {
			digits.WriteByte(digit)
		}
	}
	if underscore || digits.Len() > maxIndexDigits {
		return 0, false
	}
	index, err := strconv.Atoi(digits.String())
	if err != nil {
		return int(^uint(0) >> 1), true
	}
	if negative {
		index = -index
	}
	return index, true
}

func character(s string, index int) (any, bool) {
	if index < 0 {
		index += utf8.RuneCountInString(s)
	}
	if index < 0 || index >= len(s) {
		return nil, false
	}
	for _, r := range s {
		if index == 0 {
			return string(r), true
		}
		index--
	}
	return nil, false
}

// decimal is the digit that a character of any script stands for. Unicode keeps
// the digits of a script together, zero first.
func decimal(r rune) (byte, bool) {
	for _, t := range unicode.Nd.R16 {
		if r >= rune(t.Lo) && r <= rune(t.Hi) {
			return '0' + byte((r-rune(t.Lo))%10), true
		}
	}
	for _, t := range unicode.Nd.R32 {
		if r >= rune(t.Lo) && r <= rune(t.Hi) {
			return '0' + byte((r-rune(t.Lo))%10), true
		}
	}
	return 0, false
}
