package image

import (
	"archive/tar"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// build compiles a program for Linux, as the worker is compiled.
func build(t *testing.T, arch string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "faber")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func bundle(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// contents lists the files of an image by name.
func contents(t *testing.T, img v1.Image) map[string]*tar.Header {
	t.Helper()
	files := map[string]*tar.Header{}
	stream := mutate.Extract(img)
	defer stream.Close()
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(h.Name, "/")] = h
	}
}

func TestWorkerImage(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		w := Worker{Binary: build(t, arch), CABundle: bundle(t)}
		img, err := BuildWorker(w)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Architecture != arch || config.OS != "linux" {
			t.Errorf("platform %s/%s, want linux/%s", config.OS, config.Architecture, arch)
		}
		if config.Config.User != "65532:65532" {
			t.Errorf("user %q", config.Config.User)
		}
		files := contents(t, img)
		for name, mode := range map[string]int64{"faber": 0o755, "tmp": 0o1777, "etc/passwd": 0o644, "etc/ssl/certs/ca-certificates.crt": 0o644} {
			if h := files[name]; h == nil || h.Mode != mode {
				t.Errorf("%s: %+v, want mode %o", name, h, mode)
			}
		}
		again, err := BuildWorker(w)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := img.Digest()
		b, _ := again.Digest()
		if a != b {
			t.Errorf("the same inputs made %s and %s", a, b)
		}
	}
}

func TestWorkerImageRefusesWhatCannotStart(t *testing.T) {
	text := filepath.Join(t.TempDir(), "faber")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := BuildWorker(Worker{Binary: text, CABundle: bundle(t)})
	var refused *BinaryError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "no Linux binary") || refused.UserHint() == "" {
		t.Errorf("error %v", err)
	}
	if _, err := BuildWorker(Worker{Binary: build(t, "amd64"), CABundle: filepath.Join(t.TempDir(), "none.pem")}); err == nil {
		t.Error("an image without CA certificates was built")
	}
}

func TestFlowImageFromRootFS(t *testing.T) {
	root := t.TempDir()
	for name, mode := range map[string]os.FileMode{"usr/bin/python3": 0o755, "etc/os-release": 0o644} {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("usr/bin", filepath.Join(root, "bin")); err != nil {
		t.Fatal(err)
	}
	base, err := FromRootFS(t.Context(), root, "amd64", []string{"A=b"}, filepath.Join(t.TempDir(), "root.tar"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := WithFlows(base, map[string][]byte{"hello.py": []byte("x = 1\n")})
	if err != nil {
		t.Fatal(err)
	}
	files := contents(t, img)
	if h := files["usr/bin/python3"]; h == nil || h.Mode&0o111 == 0 {
		t.Errorf("python3: %+v", h)
	}
	if h := files["bin"]; h == nil || h.Linkname != "usr/bin" {
		t.Errorf("bin: %+v", h)
	}
	if files["opt/flows/hello.py"] == nil {
		t.Error("the flow is not in the image")
	}
	config, err := img.ConfigFile()
	if err != nil || config.Config.Env[0] != "A=b" || config.Config.WorkingDir != FlowsDir {
		t.Errorf("configuration %+v, %v", config.Config, err)
	}
}

func TestPushAndPull(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	img, err := BuildWorker(Worker{Binary: build(t, "amd64"), CABundle: bundle(t)})
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	pushed, err := Push(t.Context(), host+"/faber:1", img)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := Pull(t.Context(), pushed, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	want, _ := img.Digest()
	if got, _ := pulled.Digest(); got != want || !strings.HasSuffix(pushed, want.String()) {
		t.Errorf("pushed %s, pulled %s, want %s", pushed, got, want)
	}
	if _, err := Pull(t.Context(), host+"/nobody:1", "amd64"); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("pulling what is not there: %v", err)
	}
}
