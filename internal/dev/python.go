package dev

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The requirements are locked with hashes and name no package index. How each is
// made stands in its first lines; the input is the .in file beside it.
var (
	//go:embed requirements/uv.txt
	uvRequirements string
	//go:embed requirements/prefect.txt
	prefectRequirements string
	//go:embed requirements/aws.txt
	awsRequirements string
)

// python is a directory with a Python environment.
type python struct{ dir string }

func (p python) bin(program string) string { return filepath.Join(p.dir, "bin", program) }

func (u *up) venv(name string) python {
	return python{dir: filepath.Join(u.Layout.Cache(), "python-"+name)}
}

// pythonEnvironments installs the Prefect server and the emulators, each into an
// environment of its own, since they disagree about what they need.
func (u *up) pythonEnvironments(ctx context.Context, step *Step) error {
	fresh := 0
	for name, requirements := range map[string]string{"prefect": prefectRequirements, "aws": awsRequirements} {
		made, err := u.ensureVenv(ctx, step, name, requirements)
		if err != nil {
			return err
		}
		if made {
			fresh++
		}
	}
	verb := "kept"
	if fresh > 0 {
		verb = "installed"
	}
	step.Done("%s: prefect %s, ministack %s, moto %s", verb, PrefectVersion, MinistackVersion, MotoVersion)
	return nil
}

// ensureVenv makes the environment unless it is there, whole and of the same
// requirements and interpreter. The stamp is written last.
func (u *up) ensureVenv(ctx context.Context, step *Step, name, requirements string) (bool, error) {
	env := u.venv(name)
	stamp := filepath.Join(env.dir, "faber-stamp")
	sum := sha256.Sum256([]byte(u.tools.python + "\n" + requirements))
	want := hex.EncodeToString(sum[:])
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		return false, nil
	}
	uv, err := u.ensureUV(ctx, step)
	if err != nil {
		return false, err
	}
	if err := os.RemoveAll(env.dir); err != nil {
		return false, fmt.Errorf("remove an old Python environment: %w", err)
	}
	list, err := u.requirementsFile(name, requirements)
	if err != nil {
		return false, err
	}
	step.Note("installing the Python packages of %s", name)
	if err := u.run(ctx, uv, "venv", "--quiet", "--no-project", "--python", u.tools.python, env.dir); err != nil {
		return false, err
	}
	err = u.run(ctx, uv, "pip", "install", "--quiet", "--require-hashes", "--compile-bytecode",
		"--python", env.bin("python"), "--requirements", list)
	if err != nil {
		return false, &Problem{
			Message: "the Python packages of " + name + " could not be installed",
			Hint:    "faber needs PyPI or a mirror of it: see UV_DEFAULT_INDEX and HTTPS_PROXY in uv's documentation",
			Err:     err,
		}
	}
	if err := os.WriteFile(stamp, []byte(want), 0o600); err != nil {
		return false, fmt.Errorf("write stamp: %w", err)
	}
	return true, nil
}

// requirementsFile writes locked requirements where the installers can read them.
func (u *up) requirementsFile(name, requirements string) (string, error) {
	list := filepath.Join(u.Layout.Cache(), "requirements-"+name+".txt")
	if err := os.WriteFile(list, []byte(requirements), 0o600); err != nil {
		return "", fmt.Errorf("write requirements: %w", err)
	}
	return list, nil
}

// ensureUV installs uv, the installer of Python packages, into an environment
// that Python's own tools make.
func (u *up) ensureUV(ctx context.Context, step *Step) (string, error) {
	env := u.venv("uv")
	uv := env.bin("uv")
	if exec.CommandContext(ctx, uv, "--version").Run() == nil {
		return uv, nil
	}
	step.Note("installing uv")
	if err := u.bareVenv(ctx, step, env.dir); err != nil {
		return "", err
	}
	list, err := u.requirementsFile("uv", uvRequirements)
	if err != nil {
		return "", err
	}
	err = u.run(ctx, env.bin("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
		"--require-hashes", "--requirement", list)
	if err != nil {
		return "", &Problem{
			Message: "uv could not be installed from PyPI",
			Hint:    "faber needs PyPI or a mirror of it: see 'pip config' and HTTPS_PROXY",
			Err:     err,
		}
	}
	return uv, nil
}

// bareVenv makes an environment with pip in it. Debian leaves out of python3
// what that needs.
func (u *up) bareVenv(ctx context.Context, step *Step, dir string) error {
	create := func() error {
		return u.run(ctx, u.tools.python, "-m", "venv", "--clear", dir)
	}
	err := create()
	if err == nil || ctx.Err() != nil {
		return err
	}
	problem := &Problem{
		Message: u.tools.python + " cannot make virtual environments",
		Hint:    "install what it lacks: " + installHint("python3-venv", "python@3.12"),
		Err:     err,
	}
	if !canApt(u.Options) || !strings.HasPrefix(u.tools.python, "/usr/bin/") {
		return problem
	}
	if err := aptInstall(ctx, u.Options, step, "python3-venv"); err != nil {
		return err
	}
	if err := create(); err != nil {
		problem.Err = err
		return problem
	}
	return nil
}

// run runs a program to its end; its output is in the error when it fails.
func (u *up) run(ctx context.Context, program string, args ...string) error {
	out, err := command(ctx, u.Options, program, args...).CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), args[0], err, lastLines(string(out)))
	}
	return fmt.Errorf("%s: %w", filepath.Base(program), err)
}
