package modulecheck

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxSkips is how many kinds of finding the module may explain away.
const maxSkips = 12

// A skip is a finding of checkov that somebody explained instead of mending it.
type skip struct {
	check, resource, reason string
	position                string
}

var (
	skipComment = regexp.MustCompile(`#\s*checkov:skip=([A-Z0-9_]+)(?::(.*))?`)
	inputName   = regexp.MustCompile("`([a-z0-9_]+)")
)

// skips reads the comments of all .tf files. One that stands outside of a resource
// counts for nothing in checkov, or for more than was meant: it fails.
func skips(t *testing.T) []skip {
	t.Helper()
	var all []skip
	err := filepath.WalkDir(moduleDir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".terraform"):
			return fs.SkipDir
		case entry.IsDir() && len(tfFiles(path)) > 0:
			all = append(all, skipsIn(t, path)...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func tfFiles(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "*.tf"))
	return names
}

func skipsIn(t *testing.T, dir string) []skip {
	t.Helper()
	m := readModule(t, dir)
	var all []skip
	for _, name := range slices.Sorted(maps.Keys(m.source)) {
		for number, line := range strings.Split(string(m.source[name]), "\n") {
			match := skipComment.FindStringSubmatch(line)
			if match == nil {
				continue
			}
			s := skip{check: match[1], reason: strings.TrimSpace(match[2]), position: fmt.Sprintf("%s:%d", name, number+1)}
			for _, block := range m.blocks {
				r := block.Body.Range()
				if r.Filename == name && r.Start.Line <= number+1 && number+1 <= r.End.Line && (block.Type == "resource" || block.Type == "data") {
					s.resource = resourceName(dir, block)
				}
			}
			all = append(all, s)
		}
	}
	return all
}

func resourceName(dir string, block *hclsyntax.Block) string {
	name := strings.Join(block.Labels, ".")
	if rel, err := filepath.Rel(moduleDir, dir); err == nil && rel != "." {
		name = filepath.ToSlash(rel) + ": " + name
	}
	return name
}

// TestSkips holds the explained findings to the rules: beside the resource, with a
// reason, and with the input that would satisfy the check or the words "no input".
// It lists them in docs/terraform.md.
func TestSkips(t *testing.T) {
	inputs := map[string]bool{}
	inEveryModule(t, func(t *testing.T, dir string) {
		for _, in := range readModule(t, dir).inputs {
			inputs[in.name] = true
		}
	})
	byCheck := map[string][]skip{}
	for _, s := range skips(t) {
		byCheck[s.check] = append(byCheck[s.check], s)
		if s.resource == "" {
			t.Errorf("%s: the skip of %s stands in no resource: put it beside what it is about", s.position, s.check)
		}
		if len(s.reason) < 20 {
			t.Errorf("%s: the skip of %s needs its reason", s.position, s.check)
		}
		named := slices.ContainsFunc(inputName.FindAllStringSubmatch(s.reason, -1), func(match []string) bool { return inputs[match[1]] })
		if !named && !strings.Contains(s.reason, "no input") {
			t.Errorf("%s: the skip of %s names no input of the module that satisfies it; where there is none it says \"no input\"", s.position, s.check)
		}
	}
	if len(byCheck) > maxSkips {
		t.Errorf("%d kinds of finding are skipped, %d are allowed: %v", len(byCheck), maxSkips, slices.Sorted(maps.Keys(byCheck)))
	}
	for _, name := range []string{".checkov.yaml", ".checkov.yml", "terraform/.checkov.yaml", "terraform/.checkov.yml"} {
		if _, err := os.Stat(filepath.Join("..", "..", name)); err == nil {
			t.Errorf("%s would skip checks far from the resources that they are about", name)
		}
	}
	var out strings.Builder
	out.WriteString("| Check | Where | Why, and what satisfies it |\n|---|---|---|\n")
	for _, check := range slices.Sorted(maps.Keys(byCheck)) {
		for _, s := range byCheck[check] {
			fmt.Fprintf(&out, "| %s | `%s` | %s |\n", check, s.resource, cell(s.reason))
		}
	}
	section(t, filepath.Join("..", "..", "docs", "terraform.md"), "SKIPS", out.String())
}
