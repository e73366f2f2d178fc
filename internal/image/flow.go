package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
)

// FlowsDir is where flow code stands in a flow image.
const FlowsDir = "/opt/flows"

// FromRootFS makes an image of a directory that holds a Linux root file system.
// scratch is a file the layer is written to; it must stay while the image is used.
func FromRootFS(ctx context.Context, root, arch string, env []string, scratch string) (v1.Image, error) {
	if err := tarDir(ctx, root, scratch); err != nil {
		return nil, err
	}
	layer, err := compressed(func() (io.ReadCloser, error) { return os.Open(scratch) })
	if err != nil {
		return nil, err
	}
	return assemble(empty.Image, arch, v1.Config{
		Env:        env,
		WorkingDir: FlowsDir,
	}, layer)
}

// WithFlows puts flow code, by file name, on top of a base image.
func WithFlows(base v1.Image, flows map[string][]byte) (v1.Image, error) {
	files := make([]file, 0, len(flows))
	for name, data := range flows {
		files = append(files, file{name: strings.TrimPrefix(FlowsDir, "/") + "/" + name, mode: 0o644, data: data})
	}
	layer, err := layerOf(files)
	if err != nil {
		return nil, err
	}
	config, err := base.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the base image's configuration: %w", err)
	}
	c := config.Config
	c.WorkingDir = FlowsDir
	return assemble(base, config.Architecture, c, layer)
}

// tarDir writes the directory as a tar file with owners, modes and links kept.
func tarDir(ctx context.Context, root, target string) (err error) {
	out, err := os.Create(target)
	if err != nil {
		return fmt.Errorf("write the root file system: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := tar.NewWriter(out)
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, walkErr error) error {
		if walkErr != nil {
			return walkErr
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return addEntry(w, root, name, entry)
	})
	if err != nil {
		return fmt.Errorf("write the root file system: %w", err)
	}
	return w.Close()
}

func addEntry(w *tar.Writer, root, name string, entry fs.DirEntry) error {
	rel, err := filepath.Rel(root, name)
	if err != nil || rel == "." {
		return err
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if info.Mode()&(fs.ModeDevice|fs.ModeSocket|fs.ModeNamedPipe) != 0 {
		return nil // the engine makes its own /dev
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(name); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name = filepath.ToSlash(rel)
	if info.IsDir() {
		header.Name += "/"
	}
	header.Uname, header.Gname = "", ""
	header.ModTime = epoch
	header.AccessTime, header.ChangeTime = epoch, epoch
	header.Format = tar.FormatPAX
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		header.Uid, header.Gid = int(stat.Uid), int(stat.Gid)
	}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
