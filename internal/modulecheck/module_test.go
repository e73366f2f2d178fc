package modulecheck

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// update makes the tests write what they would compare with.
var update = flag.Bool("update", false, "rewrite the generated parts of the documentation")

// moduleDir is the module's root as seen from this package.
const moduleDir = "../../terraform"

// input is one variable of a module.
type input struct {
	name, description, typ, fallback string
	position                         string
}

// output is one output of a module.
type output struct{ name, description, position string }

// moduleFiles is what stands in the .tf files of one directory.
type moduleFiles struct {
	inputs  []input
	outputs []output
	blocks  []*hclsyntax.Block // every top-level block, in the order of files and lines
	source  map[string][]byte  // by file name
}

// readModule parses the .tf files of a directory.
func readModule(t *testing.T, dir string) moduleFiles {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no .tf files: %v", dir, err)
	}
	m := moduleFiles{source: map[string][]byte{}}
	parser := hclparse.NewParser()
	for _, name := range names {
		file, diags := parser.ParseHCLFile(name)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		m.source[name] = file.Bytes
		for _, block := range file.Body.(*hclsyntax.Body).Blocks {
			m.blocks = append(m.blocks, block)
			switch block.Type {
			case "variable":
				m.inputs = append(m.inputs, m.input(t, block))
			case "output":
				m.outputs = append(m.outputs, output{block.Labels[0], m.text(t, block, "description"), block.TypeRange.String()})
			}
		}
	}
	return m
}

func (m moduleFiles) input(t *testing.T, block *hclsyntax.Block) input {
	t.Helper()
	in := input{name: block.Labels[0], description: m.text(t, block, "description"), typ: "any", position: block.TypeRange.String()}
	if attribute, ok := block.Body.Attributes["type"]; ok {
		in.typ = shortType(m.at(attribute.Expr.Range()))
	}
	if attribute, ok := block.Body.Attributes["default"]; ok {
		in.fallback = shortDefault(m.at(attribute.Expr.Range()), attribute.Expr)
	}
	return in
}

// text is the value of an attribute that is a plain string, "" without it.
func (m moduleFiles) text(t *testing.T, block *hclsyntax.Block, name string) string {
	t.Helper()
	attribute, ok := block.Body.Attributes[name]
	if !ok {
		return ""
	}
	value, diags := attribute.Expr.Value(nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return strings.Join(strings.Fields(value.AsString()), " ")
}

// at is the source text of a range.
func (m moduleFiles) at(r hcl.Range) string { return string(r.SliceBytes(m.source[r.Filename])) }

// shortType is a type without what its objects consist of, which the table has no room for.
func shortType(text string) string {
	var out strings.Builder
	depth := 0
	for _, r := range strings.Join(strings.Fields(text), "") {
		switch r {
		case '{':
			depth++
		case '}':
			depth--
		default:
			if depth == 0 {
				out.WriteRune(r)
			}
		}
	}
	return strings.ReplaceAll(out.String(), "object()", "object")
}

var comment = regexp.MustCompile(`(?m)#.*$`)

// maxDefault is how long a default may be in the table.
const maxDefault = 72

// shortDefault is a default on one line; of a long one only the names are shown.
func shortDefault(text string, expr hcl.Expression) string {
	text = comment.ReplaceAllString(text, "")
	line := strings.Join(strings.Fields(text), " ")
	if len(line) <= maxDefault {
		return line
	}
	object, ok := expr.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return "see variables.tf"
	}
	var names []string
	for _, item := range object.Items {
		names = append(names, hcl.ExprAsKeyword(item.KeyExpr)+" = …")
	}
	return "{ " + strings.Join(names, ", ") + " }"
}

// submodules are the names of the directories below modules.
func submodules(t *testing.T) []string { t.Helper(); return directories(t, "modules") }

// examples are the names of the directories below examples that hold a configuration:
// there may be one for another program.
func examples(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(directories(t, "examples"), func(name string) bool {
		return len(tfFiles(filepath.Join(moduleDir, "examples", name))) == 0
	})
}

func directories(t *testing.T, below string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(moduleDir, below))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names
}

// inEveryModule calls f for the root and each submodule.
func inEveryModule(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	t.Run("root", func(t *testing.T) { f(t, moduleDir) })
	for _, name := range submodules(t) {
		t.Run(name, func(t *testing.T) { f(t, filepath.Join(moduleDir, "modules", name)) })
	}
}

// section puts text between two marker lines of a page, or compares what is there.
func section(t *testing.T, page, name, text string) {
	t.Helper()
	begin, end := "<!-- BEGIN_"+name+" -->\n", "<!-- END_"+name+" -->"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	have, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s: put a line %q and a line %q where the generated part belongs", page, strings.TrimSpace(begin), end)
	}
	if have == text {
		return
	}
	if !*update {
		t.Errorf("%s is out of date between the %s markers; `make docs` rewrites it (-written +generated):\n%s", page, name, cmp.Diff(have, text))
		return
	}
	if err := os.WriteFile(page, []byte(before+begin+text+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("rewrote %s", page)
}

// readFile reads a file below the module.
func readFile(t *testing.T, name ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{moduleDir}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// exists says whether something of that name is there.
func exists(name ...string) bool {
	_, err := fs.Stat(os.DirFS(moduleDir), filepath.ToSlash(filepath.Join(name...)))
	return err == nil
}

// moduleBlocks are the blocks of one type, and of one first label unless that is "".
func (m moduleFiles) ofType(typ, label string) []*hclsyntax.Block {
	return slices.DeleteFunc(slices.Clone(m.blocks), func(b *hclsyntax.Block) bool {
		return b.Type != typ || label != "" && (len(b.Labels) == 0 || b.Labels[0] != label)
	})
}
