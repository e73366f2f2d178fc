package infra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"
)

const (
	// minimumVersion brings write-only arguments, through which the credentials pass.
	minimumVersion = "1.11.0"
	// installVersion is what is installed where there is no Terraform at all.
	installVersion = "1.11.4"

	versionTimeout = 30 * time.Second // a cold disk, not a network
	installTimeout = 5 * time.Minute
)

// FindOptions say where Terraform may be.
type FindOptions struct {
	// Environ is the environment in the form of os.Environ; PATH is read from it.
	Environ []string
	// Path names the program itself; nothing else is looked at then.
	Path string
	// InstallDir is where Terraform was or may be installed. "" means never.
	InstallDir string
	// LookOnly leaves an installation to a later call: where only that would help,
	// the result has no Path and there is no error.
	LookOnly bool
}

// Found is a Terraform that is new enough.
type Found struct {
	Path      string
	Version   string
	Installed bool // it was installed by this call
}

// Find returns the Terraform to use: the one named, else the first on PATH, else
// one installed earlier in InstallDir, else a new installation there.
func Find(ctx context.Context, o FindOptions) (Found, error) {
	path := o.Path
	if path == "" {
		path = lookPath(o.Environ, "terraform")
	}
	if path != "" {
		return check(ctx, path, o.Environ)
	}
	if o.InstallDir == "" {
		return Found{}, missing(nil)
	}
	installed := filepath.Join(o.InstallDir, product.Terraform.BinaryName())
	if executable(installed) {
		// A program that was only half written, or that is too old by now, is
		// installed anew rather than complained about: the user never chose it.
		if found, err := check(ctx, installed, o.Environ); err == nil || ctx.Err() != nil {
			return found, err
		}
	}
	if o.LookOnly {
		return Found{}, nil
	}
	return install(ctx, o)
}

func install(ctx context.Context, o FindOptions) (Found, error) {
	if err := os.MkdirAll(o.InstallDir, 0o750); err != nil {
		return Found{}, fmt.Errorf("make the directory for terraform: %w", err)
	}
	release := &releases.ExactVersion{
		Product:    product.Terraform,
		Version:    version.Must(version.NewVersion(installVersion)),
		InstallDir: o.InstallDir,
		Timeout:    installTimeout,
	}
	path, err := release.Install(ctx)
	if err != nil {
		return Found{}, missing(err)
	}
	found, err := check(ctx, path, o.Environ)
	found.Installed = err == nil
	return found, err
}

func missing(installErr error) error {
	p := &Problem{
		Message: "terraform is not on PATH",
		Hint:    "install terraform " + minimumVersion + " or later from https://developer.hashicorp.com/terraform/install and run the command again",
	}
	if installErr != nil {
		p.Message += " and could not be installed"
		p.Err = installErr
	}
	return p
}

// check asks a program for its version and refuses those that are too old.
func check(ctx context.Context, path string, environ []string) (Found, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version", "-json")
	cmd.Env = environSlice(childEnv(environ))
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return Found{}, &Problem{Message: path + " does not run", Hint: "run '" + path + " version' by hand to see why", Err: err}
	}
	var answer struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return Found{}, &Problem{Message: path + " is no terraform that says its version", Hint: "run '" + path + " version' by hand", Err: err}
	}
	return judge(path, answer.Version)
}

func judge(path, text string) (Found, error) {
	have, err := version.NewVersion(text)
	if err != nil {
		return Found{}, fmt.Errorf("read the version of %s: %w", path, err)
	}
	// A pre-release of a later version has what is needed as well.
	if have.Core().LessThan(version.Must(version.NewVersion(minimumVersion))) {
		return Found{}, &Problem{
			Message: fmt.Sprintf("terraform %s is too old: %s or later is needed (%s)", have, minimumVersion, path),
			Hint:    "update it, or put a newer one before it on PATH: only from 1.11 on can terraform hand over credentials without storing them",
		}
	}
	return Found{Path: path, Version: have.String()}, nil
}

// lookPath finds a program on the PATH of the given environment.
func lookPath(environ []string, name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	for _, dir := range filepath.SplitList(lookup(environ, "PATH")) {
		path := filepath.Join(dir, name)
		// As in os/exec, a program in a relative directory is not trusted.
		if filepath.IsAbs(path) && executable(path) {
			return path
		}
	}
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode()&0o111 != 0)
}
