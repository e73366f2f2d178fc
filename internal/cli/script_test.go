package cli_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"faber/internal/cli"
)

// TestMain makes this test binary the program `faber` inside the scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"faber": func() { os.Exit(cli.Main(context.Background(), os.Args[1:], cli.System())) },
	})
}

// TestScripts types commands as a user does and looks at what comes back.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			// Where the program under test is; the scripts choose all other programs.
			bin, _, _ := strings.Cut(env.Getenv("PATH"), string(os.PathListSeparator))
			env.Setenv("FABER_BIN", bin)
			return nil
		},
	})
}
