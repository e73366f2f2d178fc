package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"faber/internal/infra"
)

// inTheWay finds what the folder holds that would be overwritten, or would become
// part of the configuration unasked.
func (f *initFlags) inTheWay(std *IO) error {
	dir := f.folder(std)
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return usageError("name a folder", "%s is a file", dir)
	}
	if f.force {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(globEscaped(dir), "*.tf"))
	if err != nil {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	for _, name := range []string{"terraform.tfvars", infra.ModuleDir} {
		if name == infra.ModuleDir && f.root.Source != "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil
	}
	for i, name := range found {
		found[i] = filepath.ToSlash(strings.TrimPrefix(name, dir+string(filepath.Separator)))
	}
	return usageError("choose another folder with --dir, or overwrite what has the same name with --force; a configuration that calls the faber module already needs no init: 'faber plan' works there",
		"nothing was written: %s holds %s", dir, strings.Join(found, ", "))
}

func (f *initFlags) write(std *IO) error {
	dir := f.folder(std)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // like any folder that is made by hand
		return fmt.Errorf("make the folder: %w", err)
	}
	var written []string
	for _, file := range f.root.Files() {
		target := filepath.Join(dir, file.Name)
		if file.Name == ".gitignore" && isFile(target) {
			// It is more than ours: what is missing in it is told.
			f.sayIgnored(std, target, file.Text)
			continue
		}
		if err := os.WriteFile(target, []byte(file.Text), 0o644); err != nil { //nolint:gosec // no secrets in it
			return fmt.Errorf("write the configuration: %w", err)
		}
		written = append(written, file.Name)
	}
	if f.root.Source == "" {
		if err := f.writeModule(dir); err != nil {
			return err
		}
		written = append(written, infra.ModuleDir+"/")
	}
	fmt.Fprintf(std.Out, "wrote %s in %s\n", strings.Join(written, ", "), dir)
	return nil
}

func (f *initFlags) sayIgnored(std *IO, path, text string) {
	have, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var missing []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") && !slices.Contains(strings.Fields(string(have)), line) {
			missing = append(missing, line)
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(std.Err, "kept .gitignore as it is; add to it: %s\n", strings.Join(missing, "  "))
	}
}

// writeModule lays the module out, and takes away what an earlier one had more.
func (f *initFlags) writeModule(dir string) error {
	files, err := infra.ModuleFiles()
	if err != nil {
		return err
	}
	root := filepath.Join(dir, filepath.FromSlash(infra.ModuleDir))
	var former []string
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil || entry.IsDir():
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if path.Ext(name) == ".tf" && files[filepath.ToSlash(relative)] == nil {
			former = append(former, name)
		}
		return nil
	})
	for _, name := range former {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		return fmt.Errorf("clear the former module: %w", err)
	}
	for name, data := range files {
		target := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // no secrets in a module
			return fmt.Errorf("write the module: %w", err)
		}
		mode := fs.FileMode(0o644)
		if path.Ext(name) == ".sh" {
			mode = 0o755
		}
		if err := os.WriteFile(target, data, mode); err != nil {
			return fmt.Errorf("write the module: %w", err)
		}
	}
	return nil
}

// upgrade replaces the module and nothing else.
func (f *initFlags) upgrade(std *IO) error {
	dir := f.folder(std)
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(infra.ModuleDir))); err != nil {
		return usageError("--dir names the folder of the configuration; one with --source takes the module from there",
			"there is no %s in %s to be replaced", infra.ModuleDir, dir)
	}
	if err := f.writeModule(dir); err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "%s in %s is the module of faber %s\n", infra.ModuleDir, dir, version())
	fmt.Fprintf(std.Out, "see what that changes in AWS: faber plan%s\n", f.shown())
	return nil
}

func (f *initFlags) sayNext(std *IO) {
	where := f.shown()
	fmt.Fprintf(std.Out, `
Next:
  faber image push %s
      the worker's image, unless it is there already
  faber plan%s
      shows what would be made, and makes nothing
  faber apply%s
      shows it again, asks, makes it, sets up the work pool %s and waits for a worker

Commit these files, and the .terraform.lock.hcl that plan writes.
`, f.root.Image, where, where, f.root.WorkPool)
	if f.root.StateBucket == "" {
		fmt.Fprintln(std.Out, "Terraform's state stays in this folder, and only here: with --state-bucket a team shares it.")
	}
}
