package infra

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestFindOnPath(t *testing.T) {
	f := newFake(t)
	found, err := Find(t.Context(), FindOptions{Environ: f.environ(fakeVersion + "=1.15.0-beta1")})
	if err != nil || found.Path != f.path || found.Version != "1.15.0-beta1" || found.Installed {
		t.Errorf("found %+v: %v", found, err)
	}
}

func TestFindRefusesOldTerraform(t *testing.T) {
	f := newFake(t)
	_, err := Find(t.Context(), FindOptions{Environ: f.environ(fakeVersion + "=1.9.8"), InstallDir: t.TempDir()})
	var p *Problem
	if !errors.As(err, &p) {
		t.Fatalf("error is %v", err)
	}
	if want := "terraform 1.9.8 is too old: 1.11.0 or later is needed (" + f.path + ")"; p.Error() != want || p.UserHint() == "" {
		t.Errorf("error is %q with hint %q, want %q", p, p.UserHint(), want)
	}
}

func TestFindWithoutTerraform(t *testing.T) {
	environ := []string{"PATH=" + t.TempDir() + string(filepath.ListSeparator) + "."}
	_, err := Find(t.Context(), FindOptions{Environ: environ})
	if err == nil || err.Error() != "terraform is not on PATH" {
		t.Errorf("error is %v", err)
	}
	found, err := Find(t.Context(), FindOptions{Environ: environ, InstallDir: t.TempDir(), LookOnly: true})
	if err != nil || found.Path != "" {
		t.Errorf("only looking found %+v: %v", found, err)
	}
}

func TestFindEarlierInstallation(t *testing.T) {
	f := newFake(t)
	environ := f.environ("PATH=" + t.TempDir())
	found, err := Find(t.Context(), FindOptions{Environ: environ, InstallDir: filepath.Dir(f.path)})
	if err != nil || found.Path != f.path || found.Installed {
		t.Errorf("found %+v: %v", found, err)
	}
}

func TestFindProgramThatIsNoTerraform(t *testing.T) {
	path := filepath.Join(t.TempDir(), "terraform")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho no >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Find(t.Context(), FindOptions{Path: path})
	if err == nil || !strings.Contains(err.Error(), "does not run: exit status 1: no") {
		t.Errorf("error is %v", err)
	}
}

// makeMirror puts a mirror with the provider for this platform into dir.
func makeMirror(t *testing.T, dir string) string {
	t.Helper()
	leaf := filepath.Join(dir, filepath.FromSlash(providerPath), "5.100.0", runtime.GOOS+"_"+runtime.GOARCH)
	if err := os.MkdirAll(leaf, 0o750); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFindMirror(t *testing.T) {
	root := t.TempDir()
	if dir := findMirror(nil, []string{root, "/does/not/exist"}); dir != "" {
		t.Errorf("found %s where there is none", dir)
	}
	makeMirror(t, filepath.Join(root, "a", "b", "c", "d", "too-deep"))
	if dir := findMirror(nil, []string{root}); dir != "" {
		t.Errorf("found %s, which is too deep", dir)
	}
	other := filepath.Join(root, "other", filepath.FromSlash(providerPath), "5.100.0", "plan9_mips")
	if err := os.MkdirAll(other, 0o750); err != nil {
		t.Fatal(err)
	}
	if dir := findMirror(nil, []string{root}); dir != "" {
		t.Errorf("found %s, which is for another platform", dir)
	}
	want := makeMirror(t, filepath.Join(root, "share", "plugins"))
	if dir := findMirror(nil, []string{"/does/not/exist", root}); dir != want {
		t.Errorf("found %q, want %s", dir, want)
	}
	if dir := findMirror([]string{"HOME=" + filepath.Join(root, "nobody"), "TF_PLUGIN_CACHE_DIR=" + want}, nil); dir != want {
		t.Errorf("found %q, want Terraform's own cache %s", dir, want)
	}
}

func TestExplicitMirror(t *testing.T) {
	mirror := makeMirror(t, t.TempDir())
	packed := t.TempDir()
	archive := filepath.Join(packed, filepath.FromSlash(providerPath), "terraform-provider-aws_5.100.0_"+runtime.GOOS+"_"+runtime.GOARCH+".zip")
	if err := errors.Join(os.MkdirAll(filepath.Dir(archive), 0o750), os.WriteFile(archive, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for name, test := range map[string]struct {
		option  string
		environ []string
		want    string
		err     string
	}{
		"none":              {},
		"option":            {option: packed, environ: []string{PluginDirVar + "=" + mirror}, want: packed},
		"variable":          {environ: []string{PluginDirVar + "=" + mirror}, want: mirror},
		"without provider":  {option: empty, err: "the plugin directory names " + empty},
		"variable to empty": {environ: []string{PluginDirVar + "=" + empty}, err: PluginDirVar + " names " + empty},
	} {
		dir, err := explicitMirror(test.option, test.environ)
		if dir != test.want || (err == nil) != (test.err == "") || (err != nil && !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %q, %v", name, dir, err)
		}
	}
}

func TestInitTakesNamedMirror(t *testing.T) {
	f := newFake(t)
	mirror := makeMirror(t, t.TempDir())
	if err := f.open(Options{PluginDir: mirror}).Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if argv := strings.Join(f.calls("init")[0].Argv, " "); !strings.Contains(argv, "-plugin-dir="+mirror) {
		t.Errorf("init was called as %s", argv)
	}
}

func TestInitAsksRegistryFirst(t *testing.T) {
	f := newFake(t)
	s := f.open(Options{MirrorRoots: []string{makeMirror(t, t.TempDir())}})
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls := f.calls("init"); len(calls) != 1 || strings.Contains(strings.Join(calls[0].Argv, " "), "-plugin-dir") {
		t.Errorf("init was called as %+v", calls)
	}
}

func TestInitErrorsThatNoMirrorMends(t *testing.T) {
	f := newFake(t)
	s := f.open(Options{Environ: f.environ(fakeFail + "=init"), MirrorRoots: []string{makeMirror(t, t.TempDir())}})
	err := s.Init(t.Context())
	if err == nil || !strings.Contains(err.Error(), "terraform init: aws_vpc.this: No such thing") {
		t.Errorf("error is %v", err)
	}
	if calls := f.calls("init"); len(calls) != 1 {
		t.Errorf("init was called %d times, want once", len(calls))
	}
}
