package modulecheck

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"faber/internal/prefect"
)

// poolCalls are the methods by which a work pool is read and given its template.
var poolCalls = []string{"ReadWorkPool", "CreateWorkPool", "SetBaseJobTemplate"}

// TestRival3PoolErrors: a pool that is missing, and an API that refuses or breaks,
// is an error of the call that met it.
func TestRival3PoolErrors(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusInternalServerError} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		client, err := prefect.New(prefect.Options{APIURL: server.URL + "/api"})
		if err != nil {
			t.Fatal(err)
		}
		calls := map[string]func() error{
			"ReadWorkPool": func() error { _, err := client.ReadWorkPool(t.Context(), "fargate"); return err },
			"CreateWorkPool": func() error {
				_, err := client.CreateWorkPool(t.Context(), "fargate", "ecs", json.RawMessage("{}"))
				return err
			},
			"SetBaseJobTemplate": func() error { return client.SetBaseJobTemplate(t.Context(), "fargate", json.RawMessage("{}")) },
		}
		for _, name := range poolCalls {
			if calls[name]() == nil {
				t.Errorf("%s finds nothing wrong with an answer of %d", name, code)
			}
		}
		server.Close()
	}
}

// TestRival3NobodyLooksAway: whoever makes one of these calls takes its error.
func TestRival3NobodyLooksAway(t *testing.T) {
	files := token.NewFileSet()
	seen := 0
	look := func(file *ast.File) {
		ast.Inspect(file, func(node ast.Node) bool {
			switch statement := node.(type) {
			case *ast.ExprStmt:
				if name := poolCall(statement.X); name != "" {
					t.Errorf("%s: the error of %s is thrown away", files.Position(statement.Pos()), name)
				}
			case *ast.AssignStmt:
				name := ""
				if len(statement.Rhs) == 1 {
					name = poolCall(statement.Rhs[0])
				}
				if name == "" {
					return true
				}
				seen++
				if last, ok := statement.Lhs[len(statement.Lhs)-1].(*ast.Ident); ok && last.Name == "_" {
					t.Errorf("%s: the error of %s is thrown away", files.Position(statement.Pos()), name)
				}
			case *ast.GoStmt:
				if name := poolCall(statement.Call); name != "" {
					t.Errorf("%s: nobody sees the error of %s", files.Position(statement.Pos()), name)
				}
			}
			return true
		})
	}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		look(file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 3 {
		t.Errorf("only %d calls were found: then this test shows nothing", seen)
	}
}

// poolCall is the name of the method that an expression calls, if it is one of poolCalls.
func poolCall(expr ast.Expr) string {
	call, ok := expr.(*ast.CallExpr)
	if !ok {
		return ""
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains(poolCalls, method.Sel.Name) {
		return ""
	}
	return method.Sel.Name
}
