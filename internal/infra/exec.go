package infra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// ExecOptions describe a command line for terraform that a person typed.
type ExecOptions struct {
	Args []string
	// Vars, credentials among them, are handed over in the environment: that is
	// how Terraform takes them at every command, and only this user can read it.
	Vars Vars
	In   io.Reader
	Out  io.Writer
	Err  io.Writer
}

// Exec runs terraform with a person's own arguments in the working directory and
// returns its exit code. An error means that it did not run at all.
func (s *Stack) Exec(ctx context.Context, o ExecOptions) (int, error) {
	env := childEnv(s.o.Environ)
	for name, value := range o.Vars {
		text, err := varText(value)
		if err != nil {
			return 0, fmt.Errorf("encode variable %s: %w", name, err)
		}
		env["TF_VAR_"+name] = text
	}
	cmd := exec.CommandContext(ctx, s.o.Terraform, o.Args...)
	cmd.Dir, cmd.Env = s.o.Dir, environSlice(env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.In, o.Out, o.Err
	// A terminal's Ctrl-C reaches terraform by itself; cancelling passes on the same.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = s.o.Grace
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	case errors.Is(err, os.ErrProcessDone):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("run terraform: %w", err)
	}
	return 0, nil
}

// varText writes a value as Terraform reads it from the environment: strings as
// they are, everything else as JSON.
func varText(value any) (string, error) {
	if text, ok := value.(string); ok {
		return text, nil
	}
	data, err := json.Marshal(value)
	return string(data), err
}
