package infra

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// Environment of the fake terraform, which is this test binary under another name.
const (
	fakeVar     = "FAKE_TERRAFORM"         // file that it records its calls in
	fakeVersion = "FAKE_TERRAFORM_VERSION" // what it says it is
	fakeFail    = "FAKE_TERRAFORM_FAIL"    // command that fails
	fakeHang    = "FAKE_TERRAFORM_HANG"    // command that waits for an interrupt
)

func TestMain(m *testing.M) {
	if os.Getenv(fakeVar) != "" {
		os.Exit(fakeTerraform(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// fakeCall is one call of the fake, as it saw it.
type fakeCall struct {
	Argv     []string
	Environ  []string
	VarFiles map[string]fakeFile // by path
}

type fakeFile struct {
	Mode, DirMode os.FileMode
	Content       string
}

func fakeTerraform(args []string) int {
	if err := recordCall(os.Getenv(fakeVar), args); err != nil {
		fmt.Fprintln(os.Stderr, "fake terraform:", err)
		return 97
	}
	if len(args) > 0 && args[0] == os.Getenv(fakeHang) {
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		fmt.Println(`{"@message":"hanging","type":"log"}`)
		<-interrupted
		return 1
	}
	if len(args) > 0 && args[0] == os.Getenv(fakeFail) {
		fmt.Println(`{"@level":"error","@message":"Error: No such thing","type":"diagnostic","diagnostic":{"severity":"error","summary":"No such thing","detail":"It was looked for,\nand not found.","address":"aws_vpc.this"}}`)
		return 1
	}
	return answer(args)
}

func answer(args []string) int {
	switch args[0] {
	case "version":
		v := os.Getenv(fakeVersion)
		if v == "" {
			v = "1.11.4"
		}
		fmt.Printf(`{"terraform_version":%q,"platform":"x","provider_selections":{},"terraform_outdated":false}`+"\n", v)
	case "plan":
		fmt.Println(`{"@message":"plan","type":"planned_change","change":{"resource":{"addr":"aws_vpc.this"},"action":"create"}}`)
		fmt.Println(`{"@message":"plan","type":"planned_change","change":{"resource":{"addr":"aws_ecs_cluster.this"},"action":"update"}}`)
		fmt.Println(`{"@message":"Plan: 1 to add","type":"change_summary","changes":{"add":1,"change":1,"remove":0,"operation":"plan"}}`)
		for _, arg := range args {
			if file, ok := strings.CutPrefix(arg, "-out="); ok && os.WriteFile(file, nil, 0o600) != nil {
				return 97
			}
		}
		return 2
	case "apply":
		fmt.Println(`{"@message":"creating","type":"apply_start","hook":{"resource":{"addr":"aws_vpc.this"},"action":"create"}}`)
		fmt.Println(`no JSON at all`)
		fmt.Println(`{"@message":"created","type":"apply_complete","hook":{"resource":{"addr":"aws_vpc.this"},"action":"create","elapsed_seconds":3}}`)
		fmt.Println(`{"@message":"read","type":"apply_complete","hook":{"resource":{"addr":"data.aws_region.current"},"action":"read"}}`)
		fmt.Println(`{"@message":"Apply complete","type":"change_summary","changes":{"add":1,"change":1,"remove":0,"operation":"apply"}}`)
	}
	return 0
}

func recordCall(file string, args []string) error {
	call := fakeCall{Argv: args, Environ: os.Environ(), VarFiles: map[string]fakeFile{}}
	for _, arg := range args {
		path, ok := strings.CutPrefix(arg, "-var-file=")
		if !ok {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		dir, err := os.Stat(filepath.Dir(path))
		if err != nil {
			return err
		}
		call.VarFiles[path] = fakeFile{Mode: info.Mode().Perm(), DirMode: dir.Mode().Perm(), Content: string(content)}
	}
	line, err := json.Marshal(call)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = out.Write(append(line, '\n'))
	return err
}

// fake is a terraform that records how it is called.
type fake struct {
	t    *testing.T
	path string // of the program
	file string // of the record
}

func newFake(t *testing.T) *fake {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := &fake{t: t, path: filepath.Join(dir, "terraform"), file: filepath.Join(dir, "calls")}
	if err := os.Symlink(self, f.path); err != nil {
		t.Fatal(err)
	}
	return f
}

// environ is the environment that makes the program play terraform.
func (f *fake) environ(more ...string) []string {
	// Under the race detector a program waits a second before it ends.
	return append([]string{"GORACE=atexit_sleep_ms=0", fakeVar + "=" + f.file, "PATH=" + filepath.Dir(f.path), "TMPDIR=" + f.t.TempDir()}, more...)
}

// calls are the recorded calls of one command.
func (f *fake) calls(command string) []fakeCall {
	f.t.Helper()
	data, err := os.ReadFile(f.file)
	if err != nil {
		f.t.Fatal(err)
	}
	var calls []fakeCall
	for line := range strings.Lines(string(data)) {
		var call fakeCall
		if err := json.Unmarshal([]byte(line), &call); err != nil {
			f.t.Fatal(err)
		}
		if call.Argv[0] == command {
			calls = append(calls, call)
		}
	}
	return calls
}

func (f *fake) open(o Options) *Stack {
	f.t.Helper()
	if o.Dir == "" {
		o.Dir = f.t.TempDir()
	}
	o.Terraform = f.path
	if o.Environ == nil {
		o.Environ = f.environ()
	}
	s, err := Open(o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return s
}
