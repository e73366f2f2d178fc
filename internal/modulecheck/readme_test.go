package modulecheck

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeTables holds the tables of inputs and outputs in each README to the
// module's variables and outputs: no tool has to be installed for it, and the
// form is the one that terraform-docs' markers announce.
func TestReadmeTables(t *testing.T) {
	inEveryModule(t, func(t *testing.T, dir string) {
		m := readModule(t, dir)
		section(t, filepath.Join(dir, "README.md"), "TF_DOCS", tables(m))
	})
}

func tables(m moduleFiles) string {
	var out strings.Builder
	if len(m.inputs) > 0 {
		out.WriteString("### Inputs\n\n| Name | Description | Type | Default |\n|---|---|---|---|\n")
		for _, in := range m.inputs {
			fallback := "required"
			if in.fallback != "" {
				fallback = "`" + in.fallback + "`"
			}
			fmt.Fprintf(&out, "| `%s` | %s | `%s` | %s |\n", in.name, cell(in.description), in.typ, cell(fallback))
		}
		out.WriteString("\n")
	}
	out.WriteString("### Outputs\n\n| Name | Description |\n|---|---|\n")
	for _, o := range m.outputs {
		fmt.Fprintf(&out, "| `%s` | %s |\n", o.name, cell(o.description))
	}
	return out.String()
}

// cell keeps a text from ending its table cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// TestEverythingIsDescribed finds variables and outputs of which nobody says what they are for.
func TestEverythingIsDescribed(t *testing.T) {
	check := func(t *testing.T, dir string) {
		m := readModule(t, dir)
		for _, in := range m.inputs {
			if in.description == "" || in.typ == "any" {
				t.Errorf("%s: the variable %s needs a description and a type", in.position, in.name)
			}
		}
		for _, o := range m.outputs {
			if o.description == "" {
				t.Errorf("%s: the output %s needs a description", o.position, o.name)
			}
		}
	}
	inEveryModule(t, check)
	for _, name := range examples(t) {
		t.Run("example "+name, func(t *testing.T) { check(t, filepath.Join(moduleDir, "examples", name)) })
	}
}

// TestModuleFiles holds each part to the files that users of the ecosystem look
// for, and the root's README to naming every part.
func TestModuleFiles(t *testing.T) {
	readme := readFile(t, "README.md")
	for kind, names := range map[string][]string{"modules": submodules(t), "examples": examples(t)} {
		for _, name := range names {
			files := []string{"main.tf", "variables.tf", "versions.tf", "README.md"}
			if kind == "modules" {
				files = append(files, "outputs.tf")
			}
			for _, file := range files {
				if !exists(kind, name, file) {
					t.Errorf("terraform/%s/%s has no %s", kind, name, file)
				}
			}
		}
		for _, name := range directories(t, kind) {
			if link := fmt.Sprintf("(%s/%s)", kind, name); !strings.Contains(readme, link) {
				t.Errorf("terraform/README.md has no link %s", link)
			}
		}
	}
}
