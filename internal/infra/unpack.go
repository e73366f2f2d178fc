package infra

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"faber/terraform"
)

// manifestName lists what Unpack wrote, so that the next version of the module
// can take away what it no longer has: Terraform reads every .tf file there is.
const manifestName = ".faber-module.json"

// Unpack lays out the module in dir, with its examples: dir itself is the root
// module, dir/examples/local and dir/examples/complete run it. Files of other
// origin, Terraform's state among them, are left alone.
func Unpack(dir string) error {
	if err := unpack(terraform.Module, dir); err != nil {
		return fmt.Errorf("unpack the terraform module: %w", err)
	}
	return nil
}

// ModuleFiles are the module's files without its examples, by slash-separated
// name: what a configuration that calls the module needs beside it.
func ModuleFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(terraform.Module, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == "examples":
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		files[name], err = fs.ReadFile(terraform.Module, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the terraform module: %w", err)
	}
	return files, nil
}

func unpack(module fs.FS, dir string) error {
	var names []string
	err := fs.WalkDir(module, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		names = append(names, name)
		data, err := fs.ReadFile(module, name)
		if err != nil {
			return err
		}
		return writeIfChanged(filepath.Join(dir, filepath.FromSlash(name)), data)
	})
	if err != nil {
		return err
	}
	if err := removeStale(dir, names); err != nil {
		return err
	}
	manifest, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return writeIfChanged(filepath.Join(dir, manifestName), append(manifest, '\n'))
}

// writeIfChanged leaves a file that is right already as it is, so that unpacking
// again shows nowhere.
func writeIfChanged(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // no secrets in a module
		return err
	}
	return os.WriteFile(path, data, 0o644) //nolint:gosec // no secrets in a module
}

func removeStale(dir string, names []string) error {
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var before []string
	if err := json.Unmarshal(data, &before); err != nil {
		return fmt.Errorf("read %s: %w", manifestName, err)
	}
	for _, name := range before {
		if slices.Contains(names, name) || !filepath.IsLocal(filepath.FromSlash(name)) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
