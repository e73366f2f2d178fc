package config

import (
	"fmt"
	"regexp"
	"strings"
)

// parseDotenv reads a .env file: NAME=value lines, comments, an optional
// "export", single and double quotes that may span lines, and ${NAME} or
// ${NAME:-default} outside of single quotes.
func parseDotenv(text string, env func(string) (string, bool)) (map[string]string, error) {
	values := map[string]string{}
	lookup := func(name string) (string, bool) {
		if value, ok := env(name); ok {
			return value, true
		}
		value, ok := values[name]
		return value, ok
	}
	text = strings.TrimPrefix(strings.ReplaceAll(text, "\r\n", "\n"), "\ufeff")
	for line := 1; text != ""; {
		current, rest, _ := strings.Cut(text, "\n")
		name, value, isPair := strings.Cut(strings.TrimSpace(current), "=")
		name = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), "export "))
		if name == "" || strings.HasPrefix(name, "#") || !isPair {
			text = rest
			line++
			continue
		}
		value = strings.TrimLeft(value, " \t")
		if value == "" || value[0] != '"' && value[0] != '\'' {
			values[name] = interpolate(unquoted(value), lookup)
			text = rest
			line++
			continue
		}
		quote := value[0]
		after := text[strings.IndexByte(text, '=')+1:]
		after = after[strings.IndexByte(after, quote)+1:]
		content, length, closed := quoted(after, quote)
		if !closed {
			return nil, fmt.Errorf("line %d: the quote of %s is not closed", line, name)
		}
		if quote == '"' {
			content = interpolate(content, lookup)
		}
		values[name] = content
		line += strings.Count(after[:length], "\n") + 1
		_, text, _ = strings.Cut(after[length:], "\n") // what follows a quoted value is a comment
	}
	return values, nil
}

// unquoted drops a comment, which a blank must precede.
func unquoted(value string) string {
	for i := 1; i < len(value); i++ {
		if value[i] == '#' && (value[i-1] == ' ' || value[i-1] == '\t') {
			value = value[:i]
			break
		}
	}
	return strings.TrimSpace(value)
}

// quoted reads up to the closing quote, and says how much it read.
func quoted(text string, quote byte) (content string, length int, closed bool) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == quote:
			return out.String(), i + 1, true
		case text[i] == '\\' && i+1 < len(text):
			i++
			out.WriteString(unescape(text[i], quote))
		default:
			out.WriteByte(text[i])
		}
	}
	return "", len(text), false
}

func unescape(c, quote byte) string {
	if c == quote || c == '\\' {
		return string(c)
	}
	if quote == '"' {
		switch c {
		case 'n':
			return "\n"
		case 't':
			return "\t"
		case 'r':
			return "\r"
		}
	}
	return `\` + string(c)
}

func interpolate(value string, lookup func(string) (string, bool)) string {
	reference := regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)
	return reference.ReplaceAllStringFunc(value, func(match string) string {
		parts := reference.FindStringSubmatch(match)
		if found, ok := lookup(parts[1]); ok && (found != "" || parts[2] == "") {
			return found
		}
		return parts[3]
	})
}
