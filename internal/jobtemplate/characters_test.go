package jobtemplate

import (
	"encoding/json"
	"testing"
	"unicode"
)

// TestCharactersAgainstPython compares, character by character, what may stand
// in a placeholder's name, what is blank, what is written as it is in the text of
// an object, and what is a digit.
func TestCharactersAgainstPython(t *testing.T) {
	lines := runPython(t, nil, "testdata/characters.py")
	compared := 0
	for _, line := range lines {
		var want [5]int
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		r := rune(want[0])
		if !unicode.In(r, unicode.C, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z) {
			continue // too new for this Go
		}
		compared++
		digit := -1
		if d, ok := decimal(r); ok {
			digit = int(d - '0')
		}
		written := textOf([]any{string(r)})
		asItIs := written == "['"+string(r)+"']" || written == `["`+string(r)+`"]`
		got := [5]int{want[0], toInt(isNameRune(r)), toInt(isBlank(r)), toInt(asItIs), digit}
		if got != want {
			t.Errorf("%U: got %v, Python has %v", r, got, want)
		}
	}
	if compared < 100_000 {
		t.Errorf("only %d characters were compared", compared)
	}
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
