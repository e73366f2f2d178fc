package config

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// dotenv is what a .env file holds, as the library reads it that Prefect uses.
type dotenv struct {
	values map[string]string // by name as written
	folded map[string]string // by name in lower case: as settings are looked for
	bad    []int             // lines that cannot be read, and are left out
}

// errSyntax is a statement that cannot be read.
var errSyntax = errors.New("not a statement of a .env file")

// parseDotenv reads NAME=value statements: comments, an optional "export", names
// in single quotes, values in single or double quotes that may span lines, and
// ${NAME} or ${NAME:-default} in every value, in single quotes as well.
func parseDotenv(text string, env func(string) (string, bool)) dotenv {
	d := dotenv{values: map[string]string{}, folded: map[string]string{}}
	text = strings.TrimPrefix(text, "\ufeff")
	lookup := func(name string) (string, bool) {
		if value, ok := d.values[name]; ok {
			return value, true
		}
		return env(name)
	}
	for r := (reader{rest: text}); ; {
		r.skip(unicode.IsSpace)
		if r.rest == "" {
			return d
		}
		line := 1 + strings.Count(text[:len(text)-len(r.rest)], "\n")
		name, value, isPair, err := r.statement()
		switch {
		case err != nil:
			d.bad = append(d.bad, line)
			r.take(r.toLineEnd())
		case isPair:
			value = interpolate(value, lookup)
			d.values[name], d.folded[strings.ToLower(name)] = value, value
		case name != "": // a name alone takes its value back
			delete(d.values, name)
			delete(d.folded, strings.ToLower(name))
		}
	}
}

// reader is what is left of a file.
type reader struct{ rest string }

// isBlank is white space within a line.
func isBlank(r rune) bool { return unicode.IsSpace(r) && r != '\r' && r != '\n' }

// take reads n bytes.
func (r *reader) take(n int) string {
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// skip reads what is of a kind, and says how much it was.
func (r *reader) skip(kind func(rune) bool) int {
	trimmed := strings.TrimLeftFunc(r.rest, kind)
	return len(r.take(len(r.rest) - len(trimmed)))
}

// toLineEnd is how far it is to the end of the line.
func (r *reader) toLineEnd() int {
	if i := strings.IndexAny(r.rest, "\r\n"); i >= 0 {
		return i
	}
	return len(r.rest)
}

// statement reads one, to the end of its line. Without "=" it is no pair.
func (r *reader) statement() (name, value string, isPair bool, err error) {
	if after, ok := strings.CutPrefix(r.rest, "export"); ok && after != strings.TrimLeftFunc(after, isBlank) {
		r.rest = strings.TrimLeftFunc(after, isBlank)
	}
	if name, err = r.name(); err != nil {
		return "", "", false, err
	}
	r.skip(isBlank)
	if isPair = strings.HasPrefix(r.rest, "="); isPair {
		r.take(1)
		spaced := r.skip(isBlank) > 0
		if !spaced || !strings.HasPrefix(r.rest, "#") { // else a comment stands in place of a value
			if value, err = r.value(); err != nil {
				return "", "", false, err
			}
		}
	}
	r.skip(isBlank)
	if strings.HasPrefix(r.rest, "#") {
		r.take(r.toLineEnd())
	}
	if r.toLineEnd() > 0 {
		return "", "", false, errSyntax
	}
	return name, value, isPair, nil
}

// name reads the name of a variable; a comment has none.
func (r *reader) name() (string, error) {
	if strings.HasPrefix(r.rest, "#") {
		return "", nil
	}
	if after, ok := strings.CutPrefix(r.rest, "'"); ok {
		end := strings.IndexByte(after, '\'')
		if end < 1 {
			return "", errSyntax
		}
		return strings.Trim(r.take(end+2), "'"), nil
	}
	end := strings.IndexFunc(r.rest, func(c rune) bool { return c == '=' || c == '#' || unicode.IsSpace(c) })
	if end < 0 {
		end = len(r.rest)
	}
	if end == 0 {
		return "", errSyntax
	}
	return r.take(end), nil
}

func (r *reader) value() (string, error) {
	if r.rest == "" || r.rest[0] != '"' && r.rest[0] != '\'' {
		return unquoted(r.take(r.toLineEnd())), nil
	}
	escapes := map[byte]byte{'\\': '\\', '\'': '\''}
	if r.rest[0] == '"' {
		escapes = map[byte]byte{'\\': '\\', '\'': '\'', '"': '"', 'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}
	}
	var out strings.Builder
	for i := 1; i < len(r.rest); i++ {
		c := r.rest[i]
		if c == r.rest[0] {
			r.take(i + 1)
			return out.String(), nil
		}
		if c == '\\' && i+1 < len(r.rest) {
			i++
			if meant, ok := escapes[r.rest[i]]; ok {
				out.WriteByte(meant)
				continue
			}
			out.WriteByte('\\')
			c = r.rest[i]
		}
		out.WriteByte(c)
	}
	return "", errSyntax
}

// unquoted drops a comment, which a blank must precede.
func unquoted(value string) string {
	for i := 1; i < len(value); i++ {
		if before, _ := utf8.DecodeLastRuneInString(value[:i]); value[i] == '#' && unicode.IsSpace(before) {
			value = value[:i]
			break
		}
	}
	return strings.TrimRightFunc(value, unicode.IsSpace)
}

// interpolate fills in references. One that is set counts, be it to nothing.
func interpolate(value string, lookup func(string) (string, bool)) string {
	reference := regexp.MustCompile(`\$\{([^}:]*)(:-([^}]*))?\}`)
	return reference.ReplaceAllStringFunc(value, func(match string) string {
		parts := reference.FindStringSubmatch(match)
		if found, ok := lookup(parts[1]); ok {
			return found
		}
		return parts[3]
	})
}

// names are all names, in order.
func (d dotenv) names() []string {
	var all []string
	for name := range d.values {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
