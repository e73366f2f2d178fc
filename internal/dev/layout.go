package dev

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// Layout says where a stack keeps its files. Root is shared by all stacks of a
// checkout (usually .dev); Name tells them apart.
type Layout struct {
	Root string
	Name string
}

var stackName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,14}[a-z0-9]$`) //nolint:gochecknoglobals // compiled once

// NewLayout checks the name and makes the root absolute.
func NewLayout(root, name string) (Layout, error) {
	if !stackName.MatchString(name) {
		return Layout{}, &Problem{
			Message: fmt.Sprintf("%q is no name for a stack", name),
			Hint:    "use 2 to 16 lower-case letters, digits and hyphens, beginning with a letter",
		}
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return Layout{}, fmt.Errorf("resolve %s: %w", root, err)
	}
	return Layout{Root: abs, Name: name}, nil
}

// Dir is the stack's own directory.
func (l Layout) Dir() string { return filepath.Join(l.Root, l.Name) }

// Cache holds what stacks share and can be made again: tools, Python
// environments, image archives.
func (l Layout) Cache() string { return filepath.Join(l.Root, "cache") }

// Logs holds one file per process of the stack.
func (l Layout) Logs() string { return filepath.Join(l.Dir(), "logs") }

// Terraform is the directory that terraform works in.
func (l Layout) Terraform() string { return filepath.Join(l.Dir(), "terraform") }

func (l Layout) stateFile() string       { return filepath.Join(l.Dir(), "state.json") }
func (l Layout) lockFile() string        { return filepath.Join(l.Dir(), "lock") }
func (l Layout) credentialsFile() string { return filepath.Join(l.Dir(), "credentials.json") }
func (l Layout) frontsFile() string      { return filepath.Join(l.Dir(), "fronts.json") }
func (l Layout) prefectHome() string     { return filepath.Join(l.Dir(), "prefect") }
func (l Layout) engineDir() string       { return filepath.Join(l.Dir(), "engine") }

// Deployment is the name that everything in emulated AWS carries.
func (l Layout) Deployment() string { return "faber-" + l.Name }

// id tells this stack from stacks of the same name in other checkouts, where
// names are shared by the whole machine: bridges, sockets, container labels.
func (l Layout) id() string {
	sum := sha256.Sum256([]byte(l.Dir()))
	return hex.EncodeToString(sum[:4])
}

// socket is where a podman of our own listens. Socket paths end at about 100
// bytes, so that a deep checkout needs a place outside.
func (l Layout) socket() string {
	inside := filepath.Join(l.engineDir(), "podman.sock")
	if len(inside) < 100 {
		return inside
	}
	return filepath.Join(os.TempDir(), "faber-"+l.id()+".sock")
}
