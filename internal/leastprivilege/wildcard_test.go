package leastprivilege

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	statementStart = regexp.MustCompile(`(?m)^\s*Sid\s+=\s+"(\w+)"`)
	wildcardText   = regexp.MustCompile(`"[^"\n]*[*][^"\n]*"`)
	commentLine    = regexp.MustCompile(`(?m)#.*$`)
)

// TestWildcardsHaveReasons reads the statements of the module's policies: one with
// a wildcard says why beside it, with the word that people search for.
func TestWildcardsHaveReasons(t *testing.T) {
	files, err := filepath.Glob("../../terraform/modules/*/*.tf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no modules: %v", err)
	}
	statements, wildcards := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		starts := statementStart.FindAllStringSubmatchIndex(text, -1)
		for i, at := range starts {
			end := len(text)
			if i+1 < len(starts) {
				end = starts[i+1][0]
			}
			statement, _, _ := strings.Cut(text[at[0]:end], "\nresource ")
			statements++
			if !wildcardText.MatchString(commentLine.ReplaceAllString(statement, "")) {
				continue
			}
			wildcards++
			// A reason may stand before the Sid as well, where the statement begins.
			before := text[max(0, at[0]-400):at[0]]
			if j := strings.LastIndex(before, "{"); j >= 0 {
				before = before[j:]
			}
			if !strings.Contains(before+statement, "Wildcard") {
				t.Errorf("%s: the statement %s has a wildcard and no comment that says \"Wildcard: …\" why", file, text[at[2]:at[3]])
			}
		}
	}
	if statements < 60 || wildcards < 20 {
		t.Errorf("%d statements, %d with wildcards: the module has more", statements, wildcards)
	}
}
