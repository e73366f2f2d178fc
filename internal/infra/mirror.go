package infra

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	// providerPath is where a filesystem mirror keeps the one provider in use.
	providerPath = "registry.terraform.io/hashicorp/aws"
	// searchDepth is how deep under a root a mirror is looked for; deeper means a
	// disk is read for what nobody would have put there.
	searchDepth = 3
)

// explicitMirror is the mirror that was named, or "". Naming one that holds no
// provider is a mistake worth stopping for.
func explicitMirror(option string, environ []string) (string, error) {
	dir, from := option, "the plugin directory"
	if dir == "" {
		dir, from = lookup(environ, PluginDirVar), PluginDirVar
	}
	if dir == "" {
		return "", nil
	}
	if isMirror(dir) {
		return filepath.Abs(dir) // terraform runs in a directory of its own
	}
	return "", &Problem{
		Message: from + " names " + dir + ", which holds no " + providerPath,
		Hint:    "fill it with 'terraform providers mirror " + dir + "' where there is a network, or leave it out",
	}
}

// findMirror looks for a filesystem mirror where Terraform itself would look and
// where administrators put them. "" when there is none.
func findMirror(environ, roots []string) string {
	if roots == nil {
		roots = mirrorRoots(environ)
	}
	for _, root := range roots {
		if dir := searchMirror(root); dir != "" {
			return dir
		}
	}
	return ""
}

// mirrorRoots are Terraform's implied mirror directories, then the usual places
// for software that no package manager brought.
func mirrorRoots(environ []string) []string {
	var roots []string
	if dir := lookup(environ, "TF_PLUGIN_CACHE_DIR"); dir != "" {
		roots = append(roots, dir)
	}
	if home := lookup(environ, "HOME"); home != "" {
		roots = append(roots, filepath.Join(home, ".terraform.d"))
		data := lookup(environ, "XDG_DATA_HOME")
		if data == "" {
			data = filepath.Join(home, ".local", "share")
		}
		roots = append(roots, filepath.Join(data, "terraform"))
	}
	for _, dir := range filepath.SplitList(lookup(environ, "XDG_DATA_DIRS")) {
		roots = append(roots, filepath.Join(dir, "terraform"))
	}
	if runtime.GOOS == "windows" {
		return roots
	}
	return append(roots, "/usr/local/share/terraform", "/usr/share/terraform", "/usr/local/lib", "/usr/local", "/opt", "/srv", "/var/lib/terraform")
}

// searchMirror looks under one root, not deeper than searchDepth and without
// following links, so that it ends soon whatever lies there.
func searchMirror(root string) string {
	if isMirror(root) {
		return root
	}
	var found string
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil // what may not be read holds no mirror for us
		}
		if isMirror(path) {
			found = path
			return fs.SkipAll
		}
		rel, _ := filepath.Rel(root, path)
		if strings.Count(rel, string(filepath.Separator))+1 >= searchDepth || skipped(entry.Name()) {
			return fs.SkipDir
		}
		return nil
	})
	return found
}

// skipped are directories that are large and never hold a mirror.
func skipped(name string) bool {
	switch name {
	case "node_modules", "site-packages", "proc", "sys", ".git":
		return true
	}
	return false
}

// isMirror says whether a directory is a mirror with the provider for this
// platform, unpacked or as an archive.
func isMirror(dir string) bool {
	platform := runtime.GOOS + "_" + runtime.GOARCH
	provider := filepath.Join(dir, filepath.FromSlash(providerPath))
	for _, pattern := range []string{
		filepath.Join("*", platform),
		"terraform-provider-aws_*_" + platform + ".zip",
	} {
		if found, _ := fs.Glob(os.DirFS(provider), filepath.ToSlash(pattern)); len(found) > 0 {
			return true
		}
	}
	return false
}
