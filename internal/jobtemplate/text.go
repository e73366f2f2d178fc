package jobtemplate

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// textOf is the text of a value inside other text, as Prefect writes it: Python's
// str(). Flows see these texts in their environment, so True must not become
// true.
func textOf(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	var b strings.Builder
	writeRepr(&b, value)
	return b.String()
}

func writeRepr(b *strings.Builder, value any) {
	switch value := value.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if value {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case string:
		writeQuoted(b, value)
	case json.Number:
		b.WriteString(numberText(value))
	case []any:
		b.WriteByte('[')
		for i, item := range value {
			if i > 0 {
				b.WriteString(", ")
			}
			writeRepr(b, item)
		}
		b.WriteByte(']')
	case *object:
		b.WriteByte('{')
		separator := ""
		for key, item := range value.all() {
			b.WriteString(separator)
			writeQuoted(b, key)
			b.WriteString(": ")
			writeRepr(b, item)
			separator = ", "
		}
		b.WriteByte('}')
	}
}

// numberText keeps integers as written and gives the rest Python's form.
func numberText(n json.Number) string {
	if !strings.ContainsAny(n.String(), ".eE") {
		if n == "-0" {
			return "0"
		}
		return n.String()
	}
	f, err := n.Float64()
	if err != nil && !math.IsInf(f, 0) {
		return n.String()
	}
	return pythonFloat(f)
}

// maxExactInteger is where float64 stops holding every whole number.
const maxExactInteger = 1 << 53

func floatText(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < maxExactInteger {
		return strconv.FormatInt(int64(f), 10)
	}
	return pythonFloat(f)
}

// pythonFloat is repr(f): the shortest digits, in plain notation between 1e-4
// and 1e16.
func pythonFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	scientific := strconv.FormatFloat(f, 'e', -1, 64)
	exponent, _ := strconv.Atoi(scientific[strings.IndexByte(scientific, 'e')+1:])
	if exponent < -4 || exponent >= 16 {
		return scientific
	}
	plain := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(plain, ".") {
		plain += ".0"
	}
	return plain
}

func quoted(s string) string {
	var b strings.Builder
	writeQuoted(&b, s)
	return b.String()
}

// writeQuoted is Python's repr of a string.
func writeQuoted(b *strings.Builder, s string) {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte(quote)
}
