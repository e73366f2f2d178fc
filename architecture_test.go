// Package faber_test holds the shape of the program: which package may import
// which, where each outside library is allowed, and who may touch the process's
// environment and its standard streams. docs/architecture.md draws the same picture.
package faber_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "faber"

// everything, as what a room may import, stands for all other rooms.
const everything = "*"

// A room is one package: what it may import of ours, and why that and no more.
type room struct {
	name    string // path below the module
	imports string // the same, or below internal
	reason  string
}

// rooms lists every package. A package that is not here fails the test.
var rooms = []room{
	{"cmd/faber", "cli", "signals, streams and the exit code; the program itself is a value that tests can start"},
	{"internal/cli", everything, "the only composition root: it alone knows the environment and puts the parts together"},
	{"internal/dev", "config front front/awsfront front/prefectfront image infra prefect", "the local stack starts the parts that are deployed, and no worker of its own"},
	{"internal/doctor", "config ecs infra jobtemplate prefect", "a check asks an adapter a question, it does not repeat the adapter"},
	{"internal/worker", "fair jobtemplate launch prefect", "knows launch's contract and no launcher: one daemon serves ecs and process"},
	{"internal/ecs", "ecs/cause fair launch", "a launcher: Fargate behind launch's contract"},
	{"internal/ecs/cause", "", "a table of what AWS says and what it means; the corpus is put to it without an AWS in sight"},
	{"internal/process", "launch", "a launcher: local children behind launch's contract"},
	{"internal/fair", "", "who waits for a launch, and who for a call to AWS, take turns by the same rule"},
	{"internal/launch", "", "the contract between worker and launchers stands on nothing"},
	{"internal/jobtemplate", "", "pure: what it needs of Prefect comes in through its Source interface"},
	{"internal/prefect", "", "the API client and its wire types, usable without a worker"},
	{"internal/infra", "terraform", "runs terraform on the module's files; what they deploy is the module's business"},
	{"internal/stack", "ecs/cause", "looks at what is deployed; what ended a task it reads from the same table as the launcher"},
	{"internal/image", "", "builds and pushes OCI images"},
	{"internal/config", "", "settings; the environment comes in through a lookup function"},
	{"internal/telemetry", "", "logs, metrics and health; the others hand it values and know nothing of it"},
	{"internal/cloudwatch", "prefect", "metrics for CloudWatch: what the Prefect API tells of a pool, and what it is given of a worker"},
	{"internal/front", "", "ledger and faults, shared by both fronts"},
	{"internal/front/awsfront", "front", "the endpoint before the AWS emulators"},
	{"internal/front/prefectfront", "front", "the endpoint before the Prefect server"},
	{"e2e", "", "asks the Prefect server and the emulator what faber did, never faber"},
	{"internal/modulecheck", "", "tests alone: holds the Terraform module's files to what is said of them"},
	{"terraform", "", "the files of the Terraform module, which lie outside of internal for those who use it alone"},
	{"internal/leastprivilege", "front", "reads calls out of a front's ledger, and policies; it must not know who made either"},
	{"internal/launch/launchtest", "launch", "the conformance suite that every launcher passes"},
	{"internal/fake/fakeaws", "", "an AWS on the wire: it must not agree with the code that it tests"},
	{"internal/fake/fakeprefect", "", "a Prefect API on the wire: it must not agree with the code that it tests"},
	{"internal/fake/emulator", "", "starts the AWS emulators that others wrote, for whoever tests against them"},
	{"internal/fake/relay", "", "between a worker and a real Prefect server, and nothing of either"},
	{"load", "", "the worker and its launcher under load, all in one process"},
	{"conformance/differential", "", "starts both workers as programs, and reads what they sent"},
	{"conformance", "", "starts a worker as a program, and does not know whose"},
	{"chaos", "", "starts a worker as a program, and breaks what is around it"},
}

// testRooms are imported by tests alone, and may import what tests may.
var testRooms = []string{"internal/launch/launchtest", "internal/fake/fakeaws", "internal/fake/fakeprefect", "internal/fake/relay", "internal/fake/emulator", "internal/leastprivilege"}

// testImports are what the tests of a room may import beyond its own line.
var testImports = map[string]string{
	"chaos":                   "front front/awsfront front/prefectfront",             // what spoils, holds and records
	"internal/leastprivilege": "cli front/awsfront infra",                            // it applies the module, starts what the binary starts, and reads the ledger
	"internal/modulecheck":    "cloudwatch infra front/awsfront jobtemplate prefect", // it plans the module, puts real events to its patterns, and counts the metrics it pays for
	"load":                    "ecs launch prefect worker",                           // it starts what the binary starts, beside fakes whose clocks it reads
}

func (r room) mayImport(other string, inTest bool) bool {
	if slices.Contains(testRooms, other) {
		return inTest || slices.Contains(testRooms, r.name)
	}
	allowed := strings.Fields(r.imports)
	if inTest {
		allowed = append(allowed, strings.Fields(testImports[r.name])...)
	}
	return r.imports == everything || slices.Contains(allowed, strings.TrimPrefix(other, "internal/"))
}

// A territory is where an outside library may be imported. An import path
// belongs to the first territory whose prefix it has.
type territory struct {
	prefix string
	rooms  []string // nil: tests alone
	reason string
}

var territories = []territory{
	{
		"github.com/aws/",
		[]string{"internal/cli", "internal/cloudwatch", "internal/dev", "internal/doctor", "internal/ecs", "internal/front/awsfront", "internal/stack"},
		"AWS is spoken in the adapters; cli and dev make the clients",
	},
	{
		"github.com/hashicorp/",
		[]string{"internal/infra"},
		"terraform is run in one place",
	},
	{
		"github.com/pelletier/go-toml/",
		[]string{"internal/config"},
		"Prefect's profile files are read in one place",
	},
	{
		"github.com/spf13/",
		[]string{"internal/cli"},
		"commands and flags end at the command line",
	},
	{
		"github.com/coder/websocket",
		[]string{"internal/prefect", "internal/front/prefectfront"},
		"sockets belong to the Prefect client and to what stands before the server",
	},
	{"github.com/google/go-cmp/", nil, "compares in tests"},
	{"github.com/rogpeppe/go-internal/", nil, "runs command-line test scripts"},
	{"go.uber.org/goleak", nil, "finds goroutines that tests left behind"},
	{"pgregory.net/rapid", nil, "draws test cases"},
	{"testing", nil, "stays out of the binary"},
}

// outer lists the rooms that may touch the process itself.
var outer = []string{"cmd/faber", "internal/cli"}

// forbidden are the names of the standard library that reach past the values a
// package was given.
var forbidden = map[string]map[string]string{
	"os": {
		"Getenv": "reads the environment", "LookupEnv": "reads the environment",
		"Environ": "reads the environment", "ExpandEnv": "reads the environment",
		"Stdin": "uses a standard stream", "Stdout": "uses a standard stream", "Stderr": "uses a standard stream",
		"Exit": "ends the process",
	},
	"syscall": {"Getenv": "reads the environment", "Environ": "reads the environment"},
	"fmt":     {"Print": "prints", "Printf": "prints", "Println": "prints"},
	"log": {
		"Print": "prints", "Printf": "prints", "Println": "prints",
		"Fatal": "ends the process", "Fatalf": "ends the process", "Fatalln": "ends the process",
	},
}

// goPackage is the part of `go list -json` that is read here.
type goPackage struct {
	ImportPath     string
	Dir            string
	GoFiles        []string
	CgoFiles       []string
	IgnoredGoFiles []string // other platforms and build tags: the rules are for them too
	TestGoFiles    []string
	XTestGoFiles   []string
}

func (p goPackage) name() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

// files returns every Go file of the package, whatever its build tags.
func (p goPackage) files() []string {
	return slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles)
}

// TestImports holds the directions between our own packages.
func TestImports(t *testing.T) {
	t.Parallel()
	known := roomsByName(t)
	for _, pkg := range listPackages(t) {
		if pkg.name() == "." {
			continue // this test and nothing else
		}
		from, ok := known[pkg.name()]
		if !ok {
			t.Errorf("package %s is not in the table: add its line to rooms in architecture_test.go, with what it may import and why", pkg.name())
			continue
		}
		for _, file := range parseAll(t, pkg) {
			for _, imported := range file.imports() {
				other, ours := strings.CutPrefix(imported.path, module+"/")
				if ours && other != from.name && !from.mayImport(other, file.test) {
					t.Errorf("%s: %s may not import %s: %s", imported.position, from.name, other, from.reason)
				}
			}
		}
	}
}

// TestTerritories holds each outside library to the packages that need it.
func TestTerritories(t *testing.T) {
	t.Parallel()
	for _, pkg := range listPackages(t) {
		for _, file := range parseAll(t, pkg) {
			if file.test || slices.Contains(testRooms, pkg.name()) {
				continue
			}
			for _, imported := range file.imports() {
				for _, land := range territories {
					if !within(imported.path, land.prefix) {
						continue
					}
					if !slices.Contains(land.rooms, pkg.name()) {
						t.Errorf("%s: %s may not import %s: %s", imported.position, pkg.name(), imported.path, land.reason)
					}
					break
				}
			}
		}
	}
}

// TestProcess keeps the environment, the standard streams and the end of the
// process in the outer rooms: everywhere else they come in as values.
func TestProcess(t *testing.T) {
	t.Parallel()
	for _, pkg := range listPackages(t) {
		if slices.Contains(outer, pkg.name()) {
			continue
		}
		for _, file := range parseAll(t, pkg) {
			if file.test {
				continue
			}
			for _, use := range file.forbiddenUses() {
				t.Errorf("%s: %s %s; only %s may", use.position, use.name, use.why, strings.Join(outer, " and "))
			}
		}
	}
}

// TestDependenciesAreDecided finds outside libraries that nobody gave a reason.
func TestDependenciesAreDecided(t *testing.T) {
	t.Parallel()
	const page = "docs/decisions/0006-dependencies.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	accepted, _, _ := strings.Cut(string(text), "### Refused")
	var modules []string
	for i, part := range strings.Split(accepted, "`") {
		if i%2 == 1 { // between two backquotes
			modules = append(modules, part)
		}
	}
	for _, pkg := range listPackages(t) {
		for _, file := range parseAll(t, pkg) {
			for _, imported := range file.imports() {
				first, _, _ := strings.Cut(imported.path, "/")
				outside := strings.Contains(first, ".")
				if outside && !slices.ContainsFunc(modules, func(m string) bool { return within(imported.path, m) }) {
					t.Errorf("%s: %s stands in no table of %s: add its module with a reason, or do without", imported.position, imported.path, page)
				}
			}
		}
	}
}

// TestEveryDirectoryIsListed finds packages that `go list` passes over because
// all their files are for another platform. Reading the directories here also
// makes the test's cached result depend on them.
func TestEveryDirectoryIsListed(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, pkg := range listPackages(t) {
		listed[pkg.name()] = true
	}
	for _, root := range []string{"cmd", "e2e", "internal", "load", "terraform"} {
		err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && entry.Name() == "testdata":
				return fs.SkipDir
			case path.Ext(name) == ".go" && !listed[filepath.ToSlash(filepath.Dir(name))]:
				t.Errorf("%s belongs to no package that go list shows", name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// within reports whether an import path is prefix itself or lies below it.
func within(importPath, prefix string) bool {
	rest, ok := strings.CutPrefix(importPath, prefix)
	return ok && (rest == "" || strings.HasSuffix(prefix, "/") || strings.HasPrefix(rest, "/"))
}

func roomsByName(t *testing.T) map[string]room {
	t.Helper()
	known := make(map[string]room, len(rooms))
	for _, r := range rooms {
		if _, twice := known[r.name]; twice {
			t.Fatalf("%s stands twice in the table", r.name)
		}
		if r.reason == "" {
			t.Fatalf("%s has no reason in the table", r.name)
		}
		known[r.name] = r
	}
	return known
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	// -e: a package that does not build has a shape, too.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Dir,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg goPackage
		switch err := decoder.Decode(&pkg); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatalf("read go list: %v", err)
		}
		packages = append(packages, pkg)
	}
}

type sourceFile struct {
	*ast.File
	fset *token.FileSet
	test bool
}

func parseAll(t *testing.T, pkg goPackage) []sourceFile {
	t.Helper()
	var files []sourceFile
	for _, name := range pkg.files() {
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, filepath.Join(pkg.Dir, name), nil, 0)
		if err != nil {
			t.Errorf("parse: %v", err)
			continue
		}
		files = append(files, sourceFile{File: parsed, fset: fset, test: strings.HasSuffix(name, "_test.go")})
	}
	return files
}

type importedPath struct {
	path     string
	alias    string // the name it has in the file
	position string
}

func (f sourceFile) imports() []importedPath {
	var list []importedPath
	for _, spec := range f.Imports {
		unquoted, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused it already
		}
		alias := path.Base(unquoted)
		if spec.Name != nil {
			alias = spec.Name.Name
		}
		list = append(list, importedPath{path: unquoted, alias: alias, position: f.position(spec.Pos())})
	}
	return list
}

type forbiddenUse struct {
	name, why, position string
}

func (f sourceFile) forbiddenUses() []forbiddenUse {
	names := map[string]string{} // name in the file → import path
	for _, imported := range f.imports() {
		if forbidden[imported.path] != nil {
			names[imported.alias] = imported.path
		}
	}
	var uses []forbiddenUse
	ast.Inspect(f.File, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		ident, ok := selector.X.(*ast.Ident)
		if !ok {
			return true
		}
		if why := forbidden[names[ident.Name]][selector.Sel.Name]; why != "" {
			uses = append(uses, forbiddenUse{fmt.Sprintf("%s.%s", names[ident.Name], selector.Sel.Name), why, f.position(selector.Pos())})
		}
		return true
	})
	return uses
}

func (f sourceFile) position(pos token.Pos) string {
	p := f.fset.Position(pos)
	if here, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(here, p.Filename); err == nil {
			p.Filename = relative
		}
	}
	return p.String()
}
