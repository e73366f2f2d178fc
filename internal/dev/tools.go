package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"faber/internal/infra"
)

// tools are the programs of this machine that the stack uses.
type tools struct {
	python string
	engine engineChoice
}

// findTools looks for everything the stack needs and cannot bring itself. All
// that is missing is reported at once, each with the command that helps.
func findTools(ctx context.Context, o Options) (tools, error) {
	var t tools
	var errs []error
	var err error
	if t.python, err = findPython(ctx, o); err != nil {
		errs = append(errs, err)
	}
	if t.engine, err = chooseEngine(ctx, o, dockerHosts(o)); err != nil {
		errs = append(errs, err)
	}
	if err = checkTerraform(ctx, o); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return t, errs[0]
	}
	return t, joinProblems(errs)
}

// joinProblems makes one problem of several, each with its own hint beside it.
func joinProblems(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	lines := make([]string, 0, len(errs))
	for _, err := range errs {
		line := "  - " + err.Error()
		var p *Problem
		if errors.As(err, &p) && p.Hint != "" {
			line += "\n    " + p.Hint
		}
		lines = append(lines, line)
	}
	return &Problem{
		Message: "this machine lacks parts of the local stack:\n" + strings.Join(lines, "\n"),
		Hint:    "mend these and run the command again; nothing was begun",
	}
}

// checkTerraform refuses one that is too old. That there is none is no obstacle:
// it is installed when it is needed.
func checkTerraform(ctx context.Context, o Options) error {
	_, err := infra.Find(ctx, infra.FindOptions{Environ: o.Environ, InstallDir: o.Layout.Cache(), LookOnly: true})
	return err
}

// pythonMinor is the oldest Python 3 that the locked requirements support.
const pythonMinor = 10

func findPython(ctx context.Context, o Options) (string, error) {
	var seen []string
	for _, name := range []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"} {
		path, err := lookPath(o, name)
		if err != nil {
			continue
		}
		out, err := command(ctx, o, path, "-c", "import sys; print(sys.version_info[0], sys.version_info[1])").Output()
		fields := strings.Fields(string(out))
		if err != nil || len(fields) != 2 {
			continue
		}
		minor, err := strconv.Atoi(fields[1])
		if err == nil && fields[0] == "3" && minor >= pythonMinor && minor < 15 {
			return path, nil
		}
		seen = append(seen, fmt.Sprintf("%s is %s.%s", path, fields[0], fields[1]))
	}
	message := "no Python 3.10 to 3.14 on PATH (Prefect's server is written in Python)"
	if len(seen) > 0 {
		message += ": " + strings.Join(seen, ", ")
	}
	return "", &Problem{Message: message, Hint: "install one: " + installHint("python3 python3-venv", "python@3.12")}
}

// command is exec.CommandContext with the environment that faber was given.
func command(ctx context.Context, o Options, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = o.Environ
	return cmd
}

// lookPath finds a program on the PATH that faber was given.
func lookPath(o Options, program string) (string, error) {
	path, _ := o.Env("PATH")
	for _, dir := range filepath.SplitList(path) {
		full := filepath.Join(dir, program)
		info, err := os.Stat(full)
		if err == nil && !info.IsDir() && info.Mode()&0o111 != 0 && filepath.IsAbs(full) {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s is not on PATH: %w", program, exec.ErrNotFound)
}

// canApt reports whether packages can be installed here without asking anybody:
// root, on a system of Debian's family.
func canApt(o Options) bool {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return false
	}
	_, err := lookPath(o, "apt-get")
	return err == nil
}

func installHint(debian, brew string) string {
	if runtime.GOOS == "darwin" {
		return "brew install " + brew
	}
	return "sudo apt-get install " + debian + " (Debian, Ubuntu), or your system's like"
}

// aptInstall installs packages of Debian or Ubuntu.
func aptInstall(ctx context.Context, o Options, step *Step, packages ...string) error {
	apt := func(args ...string) error {
		cmd := command(ctx, o, "apt-get", args...)
		cmd.Env = append(append([]string{}, o.Environ...), "DEBIAN_FRONTEND=noninteractive")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, lastLines(string(out)))
		}
		return nil
	}
	step.Note("installing %s", strings.Join(packages, " "))
	install := append([]string{"install", "-y", "--no-install-recommends"}, packages...)
	err := apt("update", "-qq")
	if err == nil {
		err = apt(install...)
	}
	if err != nil {
		return &Problem{
			Message: "installing " + strings.Join(packages, " ") + " did not work",
			Hint:    "install them by hand: apt-get install " + strings.Join(packages, " "),
			Err:     err,
		}
	}
	return nil
}

// lastLines returns the end of a program's output, indented.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > logTailLines {
		lines = lines[len(lines)-logTailLines:]
	}
	return "  " + strings.Join(lines, "\n  ")
}
