package infra

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Vars are values for the root module's variables, in JSON types.
type Vars map[string]any

// varFiles is a directory of the user's own with variable files in it, which
// lives as long as one command.
type varFiles struct {
	dir   string
	paths []string
}

// newVarFiles writes each non-empty set into a file of its own. Where the system
// has a directory that is kept in memory for the user, the files are made there.
func newVarFiles(environ []string, sets ...Vars) (*varFiles, error) {
	f := &varFiles{}
	for _, vars := range sets {
		if len(vars) == 0 {
			continue
		}
		if err := f.add(environ, vars); err != nil {
			return nil, errors.Join(fmt.Errorf("write a variable file: %w", err), f.remove())
		}
	}
	return f, nil
}

func (f *varFiles) add(environ []string, vars Vars) error {
	if f.dir == "" {
		dir, err := makePrivateDir(environ)
		if err != nil {
			return err
		}
		f.dir = dir
	}
	data, err := json.Marshal(vars)
	if err != nil {
		return err
	}
	path := filepath.Join(f.dir, fmt.Sprintf("%d.tfvars.json", len(f.paths)))
	f.paths = append(f.paths, path)
	return os.WriteFile(path, data, 0o600)
}

// remove deletes the files. It may be called twice.
func (f *varFiles) remove() error {
	if f.dir == "" {
		return nil
	}
	if err := os.RemoveAll(f.dir); err != nil {
		return fmt.Errorf("remove the variable files: %w", err)
	}
	return nil
}

// makePrivateDir makes a directory that only the user may enter.
func makePrivateDir(environ []string) (string, error) {
	if runtimeDir := lookup(environ, "XDG_RUNTIME_DIR"); runtimeDir != "" {
		if dir, err := os.MkdirTemp(runtimeDir, "faber-"); err == nil {
			return dir, nil
		}
	}
	return os.MkdirTemp(lookup(environ, "TMPDIR"), "faber-")
}
