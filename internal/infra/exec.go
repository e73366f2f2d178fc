package infra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/term"
)

// ExecOptions are a command of Terraform as a person would type it.
type ExecOptions struct {
	Args []string // after "terraform"
	// Vars are handed over in the environment, secrets among them: which commands
	// take a variable file, and which then refuse it beside a saved plan, is
	// Terraform's to know.
	Vars Vars
	In   io.Reader // nil means nothing to read
	Out  io.Writer
	Err  io.Writer
}

// Exec runs a command of Terraform in the working directory and returns its exit
// code. An error means that it could not be run at all, or was cancelled.
//
// On a terminal the command stays in the terminal's foreground group: it may ask
// questions there, and an interrupt from the keyboard reaches it without help. A
// second one would make it leave its state unwritten, so none is sent.
func (s *Stack) Exec(ctx context.Context, o ExecOptions) (int, error) {
	env := childEnv(s.o.Environ)
	if s.o.UsersFolder {
		env = userEnv(s.o.Environ)
	}
	for name, value := range o.Vars {
		text, err := varText(value)
		if err != nil {
			return 0, fmt.Errorf("hand over the variable %s: %w", name, err)
		}
		env["TF_VAR_"+name] = text
	}
	cmd := exec.CommandContext(ctx, s.o.Terraform, o.Args...)
	cmd.Dir = s.o.Dir
	cmd.Env = environSlice(env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.In, o.Out, o.Err
	cmd.WaitDelay = s.o.Grace
	cmd.Cancel = func() error { return nil }
	if !onTerminal(o.In) {
		ownGroup(cmd)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("terraform: %w", context.Cause(ctx))
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	case err != nil:
		return 0, fmt.Errorf("run terraform: %w", err)
	}
	return 0, nil
}

// varText writes a value as Terraform reads it from the environment: texts as
// they are, everything else as JSON, which its own syntax contains.
func varText(value any) (string, error) {
	if text, ok := value.(string); ok {
		return text, nil
	}
	data, err := json.Marshal(value)
	return string(data), err
}

func onTerminal(r io.Reader) bool {
	file, ok := r.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
