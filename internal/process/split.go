package process

import (
	"errors"
	"strings"
)

// split breaks a command line into words as a POSIX shell does, without
// expanding anything: quotes, backslashes and comments-free words, which is
// what Python's shlex.split does with a command of a job.
func split(line string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool
	)
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; r {
		case ' ', '\t', '\n', '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case '\'', '"':
			end, text, err := quoted(runes, i)
			if err != nil {
				return nil, err
			}
			word.WriteString(text)
			inWord, i = true, end
		case '\\':
			if i+1 == len(runes) {
				return nil, errors.New("No escaped character")
			}
			i++
			word.WriteRune(runes[i])
			inWord = true
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errors.New("there is no word")
	}
	return words, nil
}

// quoted reads the quotation that opens at start and returns the index of its
// closing quote and its text.
func quoted(runes []rune, start int) (int, string, error) {
	quote := runes[start]
	var text strings.Builder
	for i := start + 1; i < len(runes); i++ {
		switch {
		case runes[i] == quote:
			return i, text.String(), nil
		case runes[i] == '\\' && quote == '"' && i+1 < len(runes) && (runes[i+1] == '"' || runes[i+1] == '\\'):
			i++
			text.WriteRune(runes[i])
		default:
			text.WriteRune(runes[i])
		}
	}
	return 0, "", errors.New("No closing quotation")
}
