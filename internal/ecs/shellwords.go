package ecs

import (
	"errors"
	"strings"
)

var errNoEscaped = errors.New("no escaped character")

// sentence is the error as Python words it.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// shellWords splits a command line as a POSIX shell would, without expanding
// anything: blanks separate, quotes and backslashes hold together.
func shellWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\r', '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case '\\':
			if i++; i == len(line) {
				return nil, errNoEscaped
			}
			word.WriteByte(line[i])
			inWord = true
		case '\'', '"':
			end, err := quotedText(&word, line, i)
			if err != nil {
				return nil, err
			}
			i, inWord = end, true
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// quotedText reads a quoted part that opens at the given byte and returns
// where it closes. Inside double quotes a backslash escapes only a double
// quote and itself.
func quotedText(word *strings.Builder, line string, open int) (int, error) {
	quote := line[open]
	for i := open + 1; i < len(line); i++ {
		c := line[i]
		if c == quote {
			return i, nil
		}
		if c == '\\' && quote == '"' && i+1 == len(line) {
			return 0, errNoEscaped
		}
		if c == '\\' && quote == '"' && (line[i+1] == '"' || line[i+1] == '\\') {
			i++
			c = line[i]
		}
		word.WriteByte(c)
	}
	return 0, errors.New("no closing quotation")
}
