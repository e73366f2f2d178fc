package process

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"prefect flow-run execute": {"prefect", "flow-run", "execute"},
		`a 'b c' "d e"f \ g`:       {"a", "b c", "d ef", " g"},
		`x "a\"b\\c\d" ''`:         {"x", `a"b\c\d`, ""},
		"a\tb\nc":                  {"a", "b", "c"},
		`'it'\''s'`:                {"it's"},
	} {
		got, err := split(line)
		if err != nil {
			t.Errorf("split(%q): %v", line, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("split(%q): %s", line, diff)
		}
	}
	for _, line := range []string{"", "  ", `a "b`, "a 'b", `a \`} {
		if got, err := split(line); err == nil {
			t.Errorf("split(%q) = %q, want an error", line, got)
		}
	}
}

func TestSplitUndoesQuoting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.String(), 1, 5).Draw(t, "words")
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = "'" + strings.ReplaceAll(strings.ToValidUTF8(w, "?"), "'", `'\''`) + "'"
			words[i] = strings.ToValidUTF8(w, "?")
		}
		got, err := split(strings.Join(quoted, " "))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(words, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRingKeepsTheNewest(t *testing.T) {
	var r ring
	for i := range tailLines + 10 {
		r.add(strings.Repeat("x", i%7))
	}
	r.add("last")
	got := r.last(2)
	if len(got) != 2 || got[1].Text != "last" {
		t.Errorf("last(2) = %v", got)
	}
	if all := r.last(1 << 20); len(all) != tailLines {
		t.Errorf("%d lines", len(all))
	}
}
