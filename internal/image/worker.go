// Package image builds and moves container images without a container engine.
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sort"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// WorkerUID is the user and group that the worker's image runs as. 65532 is the
// number that distroless images made the custom for "nonroot".
const WorkerUID = 65532

// Worker says what goes into the worker's image.
type Worker struct {
	Binary   string // path of a static Linux faber binary
	CABundle string // path of a PEM bundle; "" searches the usual places
}

// BuildWorker makes the worker's image: nothing but the static binary, the CA
// bundle, a user and a /tmp. The same inputs give the same digest.
func BuildWorker(w Worker) (v1.Image, error) {
	arch, err := staticLinuxArch(w.Binary)
	if err != nil {
		return nil, err
	}
	binary, err := os.ReadFile(w.Binary)
	if err != nil {
		return nil, fmt.Errorf("read the worker binary: %w", err)
	}
	bundle, err := readCABundle(w.CABundle)
	if err != nil {
		return nil, err
	}
	user := fmt.Sprintf("faber:x:%d:%d:faber:/tmp:/sbin/nologin\n", WorkerUID, WorkerUID)
	group := fmt.Sprintf("faber:x:%d:\n", WorkerUID)
	layer, err := layerOf([]file{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, data: []byte(group)},
		{name: "etc/passwd", mode: 0o644, data: []byte(user)},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: bundle},
		{name: "faber", mode: 0o755, data: binary},
		{name: "tmp/", mode: 0o1777},
	})
	if err != nil {
		return nil, err
	}
	return assemble(empty.Image, arch, v1.Config{
		Entrypoint: []string{"/faber"},
		Cmd:        []string{"worker", "start"},
		User:       fmt.Sprintf("%d:%d", WorkerUID, WorkerUID),
		WorkingDir: "/tmp",
		Env: []string{
			"PATH=/",
			"HOME=/tmp",
			"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
		},
		Labels: map[string]string{
			"org.opencontainers.image.title":    "faber worker",
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}, layer)
}

// assemble puts layers and a configuration on a base image.
func assemble(base v1.Image, arch string, config v1.Config, layers ...v1.Layer) (v1.Image, error) {
	img, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		return nil, fmt.Errorf("append layers: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", arch
	file.Config = config
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		return nil, fmt.Errorf("set the image's configuration: %w", err)
	}
	return img, nil
}

// staticLinuxArch reads which architecture a binary is for, and refuses one that
// could not start in an image that holds nothing else.
func staticLinuxArch(binary string) (string, error) {
	f, err := elf.Open(binary)
	if err != nil {
		return "", &BinaryError{Path: binary, Reason: "it is no Linux binary"}
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", &BinaryError{Path: binary, Reason: "it is linked dynamically, and the image holds no C library"}
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	default:
		return "", &BinaryError{Path: binary, Reason: "it is built for " + f.Machine.String() + ", not for amd64 or arm64"}
	}
}

// BinaryError says why a binary cannot be the worker of an image.
type BinaryError struct{ Path, Reason string }

// Error names the binary and the reason.
func (e *BinaryError) Error() string {
	return fmt.Sprintf("%s cannot go into the worker image: %s", e.Path, e.Reason)
}

// UserHint says how a fitting binary is built.
func (e *BinaryError) UserHint() string {
	return "build one with: CGO_ENABLED=0 GOOS=linux GOARCH=" + runtime.GOARCH + " go build ./cmd/faber"
}

// caBundles are where systems keep their CA certificates as one PEM file.
var caBundles = []string{ //nolint:gochecknoglobals // a constant list; Go has no constant slices
	"/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Alpine
	"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
	"/etc/ssl/ca-bundle.pem",             // SUSE
	"/etc/ssl/cert.pem",                  // macOS, Alpine
}

func readCABundle(given string) ([]byte, error) {
	places := caBundles
	if given != "" {
		places = []string{given}
	}
	for _, p := range places {
		data, err := os.ReadFile(p)
		if err == nil {
			return data, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read the CA bundle: %w", err)
		}
	}
	return nil, fmt.Errorf("no CA bundle at any of %v: install the package ca-certificates", places)
}

// file is an entry of a layer; a name that ends in "/" is a directory.
type file struct {
	name string
	mode int64
	data []byte
}

// epoch is the time of every entry, so that equal content has an equal digest.
var epoch = time.Unix(0, 0).UTC() //nolint:gochecknoglobals // a constant

// layerOf makes one layer of the files, with the directories they need.
func layerOf(files []file) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	sort.Slice(files, func(i, j int) bool { return files[i].name < files[j].name })
	made := map[string]bool{}
	for _, f := range files {
		if err := writeDirs(w, path.Dir(strings.TrimSuffix(f.name, "/")), made); err != nil {
			return nil, err
		}
		if err := writeEntry(w, f, made); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	return compressed(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	})
}

func writeDirs(w *tar.Writer, dir string, made map[string]bool) error {
	if dir == "." || made[dir+"/"] {
		return nil
	}
	if err := writeDirs(w, path.Dir(dir), made); err != nil {
		return err
	}
	return writeEntry(w, file{name: dir + "/", mode: 0o755}, made)
}

func writeEntry(w *tar.Writer, f file, made map[string]bool) error {
	if made[f.name] {
		return nil
	}
	made[f.name] = true
	header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: epoch, Typeflag: tar.TypeReg}
	if f.name[len(f.name)-1] == '/' {
		header.Typeflag, header.Size = tar.TypeDir, 0
	}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("write layer: %w", err)
	}
	if _, err := w.Write(f.data); err != nil {
		return fmt.Errorf("write layer: %w", err)
	}
	return nil
}

// compressed makes a layer of a tar stream. Speed beats size here: the images
// stay on one machine, or are pushed once.
func compressed(open tarball.Opener) (v1.Layer, error) {
	layer, err := tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, fmt.Errorf("compress layer: %w", err)
	}
	return layer, nil
}
