package infra

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/terraform-exec/tfexec"
)

const (
	lockName = ".faber.lock"
	planName = "faber.tfplan"
	// defaultGrace is what a cancelled terraform gets to end what it is in the
	// middle of and to write its state: NAT gateways take minutes.
	defaultGrace = 5 * time.Minute
)

// Options describe one working directory of Terraform.
type Options struct {
	// Dir holds the root configuration to run; state and plan are kept there, too.
	Dir string
	// Terraform is the program, from Find.
	Terraform string
	// Environ is the environment for it, in the form of os.Environ. Credentials
	// and the region of AWS come from here, TF_VAR_ variables do not.
	Environ []string
	// PluginDir names a filesystem mirror to take the provider from. When "", the
	// variable FABER_TF_PLUGIN_DIR does; when that is unset as well, the registry
	// is asked, and a mirror is looked for only when the registry does not answer.
	PluginDir string
	// MirrorRoots are the directories in which a mirror is looked for. Nil means
	// the usual ones.
	MirrorRoots []string
	// Grace is how long a cancelled command may take to end by itself. Zero means
	// five minutes.
	Grace time.Duration
	// Progress is called for each piece of news, never by two goroutines at once.
	// May be nil.
	Progress func(Progress)
	// Logger may be nil.
	Logger *slog.Logger
	// UsersFolder says that Dir is a folder of the user's own. What is run there is
	// what the user's own terraform would run: TF_VAR_, TF_CLI_ARGS_, TF_WORKSPACE and
	// the like are obeyed.
	UsersFolder bool
	// ReadOnly takes no hold of the directory: for looking at outputs and state while
	// somebody else may be at work.
	ReadOnly bool
}

// Stack is one working directory, held by this process. Its methods must not be
// called by several goroutines at once.
type Stack struct {
	o    Options
	lock *flock.Flock
	tf   *tfexec.Terraform
}

// Open takes hold of a working directory. It fails when another process has it.
func Open(o Options) (*Stack, error) {
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(o.Dir)
	if err == nil {
		o.Dir, err = dir, os.MkdirAll(dir, 0o750)
	}
	if err != nil {
		return nil, fmt.Errorf("make the working directory of terraform: %w", err)
	}
	lock := flock.New(filepath.Join(o.Dir, lockName))
	if !o.ReadOnly {
		held, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", o.Dir, err)
		}
		if !held {
			return nil, &Problem{
				Message: "another faber is working in " + o.Dir,
				Hint:    "wait until it is done and run the command again",
			}
		}
	}
	tf, err := newTerraform(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up terraform: %w", err), lock.Unlock())
	}
	return &Stack{o: o, lock: lock, tf: tf}, nil
}

func newTerraform(o Options) (*tfexec.Terraform, error) {
	tf, err := tfexec.NewTerraform(o.Dir, o.Terraform)
	if err != nil {
		return nil, err
	}
	if err := tf.SetEnv(childEnv(o.Environ)); err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" {
		if err := tf.SetWaitDelay(o.Grace); err != nil {
			return nil, err
		}
	}
	return tf, tf.SetAppendUserAgent("faber")
}

// Close lets go of the working directory. It may be called twice.
func (s *Stack) Close() error {
	if err := s.lock.Unlock(); err != nil {
		return fmt.Errorf("unlock %s: %w", s.o.Dir, err)
	}
	return nil
}

// Init makes the working directory ready: modules and the provider are put in
// place. It is quick when they are there already.
func (s *Stack) Init(ctx context.Context) error {
	mirror, err := explicitMirror(s.o.PluginDir, s.o.Environ)
	if err != nil {
		return err
	}
	err = s.init(ctx, mirror)
	if err == nil || mirror != "" || ctx.Err() != nil || !registryUnreachable(err) {
		return err
	}
	if mirror = findMirror(s.o.Environ, s.o.MirrorRoots); mirror == "" {
		return &Problem{
			Message: "terraform's provider for AWS could not be fetched",
			Hint:    "check the network, or name a directory with the provider in " + PluginDirVar,
			Err:     err,
		}
	}
	s.o.Logger.InfoContext(ctx, "terraform registry does not answer, taking the provider from a mirror", "dir", mirror)
	return s.init(ctx, mirror)
}

func (s *Stack) init(ctx context.Context, mirror string) error {
	var opts []tfexec.InitOption
	if mirror != "" {
		opts = append(opts, tfexec.PluginDir(mirror))
	}
	_, err := s.run(ctx, "init", 0, func(w io.Writer) error {
		if s.o.UsersFolder {
			args := []string{"init", "-json", "-input=false"}
			if mirror != "" {
				args = append(args, "-plugin-dir="+mirror)
			}
			_, err := s.asUser(ctx, w, args...)
			return err
		}
		return s.tf.InitJSON(ctx, w, opts...)
	})
	return err
}

// registryUnreachable tells a registry that cannot be asked from any other
// reason for which init fails. Terraform has no code for it, only these words.
func registryUnreachable(err error) bool {
	text := err.Error()
	for _, words := range []string{
		"could not connect to registry", "Failed to query available provider packages", "Failed to install provider",
		"Error while installing", "failed to request discovery document", "error looking up module versions",
	} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// run executes one command with machine-readable output and gives its errors
// Terraform's own words.
func (s *Stack) run(ctx context.Context, command string, total int, call func(io.Writer) error) (*stream, error) {
	// The kernel ends terraform when the thread that started it ends, so this
	// goroutine keeps its thread until the command is over.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	out := &stream{command: command, total: total, report: s.o.Progress}
	err := call(out)
	s.tf.SetStdout(io.Discard) // the stream belongs to this command alone
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return out, fmt.Errorf("terraform %s: %w", command, context.Cause(ctx))
	}
	if text := out.errorText(); text != "" {
		return out, &commandError{command: command, text: text, err: err}
	}
	return out, fmt.Errorf("terraform %s: %w", command, err)
}

// commandError is a command that failed and said why.
type commandError struct {
	command string
	text    string
	err     error
}

func (e *commandError) Error() string { return "terraform " + e.command + ": " + e.text }
func (e *commandError) Unwrap() error { return e.err }
