package infra

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// SecretReadyName is the variable that says whether the secret has its value.
const SecretReadyName = "secret_value_ready"

// valuesName is the file that Terraform reads values from without being told.
const valuesName = "terraform.tfvars"

var secretReadyLine = regexp.MustCompile(`(?m)^([ \t]*secret_value_ready[ \t]*=[ \t]*)(true|false)\b`) //nolint:gochecknoglobals // compiled once

// SetSecretReady changes secret_value_ready in the folder's terraform.tfvars, and
// nothing else of that file. It reports whether there was such a line: where there
// is none, the value comes from somewhere that is the user's to change.
func SetSecretReady(dir string, ready bool) (found bool, err error) {
	path := filepath.Join(dir, valuesName)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read %s: %w", valuesName, err)
	case !secretReadyLine.Match(data):
		return false, nil
	}
	changed := secretReadyLine.ReplaceAll(data, fmt.Appendf(nil, "${1}%t", ready))
	if string(changed) == string(data) {
		return true, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return true, fmt.Errorf("look at %s: %w", valuesName, err)
	}
	if err := os.WriteFile(path, changed, info.Mode().Perm()); err != nil {
		return true, fmt.Errorf("write %s: %w", valuesName, err)
	}
	return true, nil
}
