package jobtemplate

import (
	"encoding/json"
	"testing"
)

func TestText(t *testing.T) {
	tests := []struct {
		value any
		want  string
	}{
		{"as it is", "as it is"},
		{nil, "None"},
		{true, "True"},
		{false, "False"},
		{json.Number("1024"), "1024"},
		{json.Number("-0"), "0"},
		{json.Number("-0.0"), "-0.0"},
		{json.Number("1.0"), "1.0"},
		{json.Number("1e3"), "1000.0"},
		{json.Number("1e16"), "1e+16"},
		{json.Number("0.0001"), "0.0001"},
		{json.Number("0.00001"), "1e-05"},
		{json.Number("1e999"), "inf"},
		{json.Number("-1e999"), "-inf"},
		{json.Number("123456789012345678901234567890"), "123456789012345678901234567890"},
		{1024.0, "1024"},
		{0.5, "0.5"},
		{1e20, "1e+20"},
		{[]any{"a'b", `a"b`, `'"`, "\n\t\r\\\x00\u200b\u00e9\U000e0001"}, `["a'b", 'a"b', '\'"', '\n\t\r\\\x00\u200b` + "\u00e9" + `\U000e0001']`},
		{map[string]any{"b": nil, "a": map[string]any{}}, `{'a': {}, 'b': None}`},
		{json.RawMessage(`{"b":null,"a":{}}`), `{'b': None, 'a': {}}`},
	}
	for _, test := range tests {
		value, err := read(test.value)
		if err != nil {
			t.Fatal(err)
		}
		if got := textOf(value); got != test.want {
			t.Errorf("textOf(%#v) = %s, want %s", test.value, got, test.want)
		}
	}
}

func TestIndex(t *testing.T) {
	for part, want := range map[string]int{"0": 0, "007": 7, "-1": -1, "-0": 0, "1_000": 1000, "١٢": 12, "𝟗": 9, "99999999999999999999": int(^uint(0) >> 1)} {
		if got, ok := parseIndex(part); !ok || got != want {
			t.Errorf("%s: got %d, %t", part, got, ok)
		}
	}
	for _, part := range []string{"", "-", "--1", "_1", "1_", "1__0", "-_1", "1a", "²", "x"} {
		if got, ok := parseIndex(part); ok {
			t.Errorf("%s: got %d", part, got)
		}
	}
}
