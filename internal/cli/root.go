// Package cli holds faber's commands: it reads flags and the environment, joins
// the other packages together, prints, and turns errors into a message, a hint
// and an exit code. It is the only place that does any of these.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs faber with the given arguments (without the program's name) and
// returns the exit code. SIGINT and SIGTERM cancel ctx; a second one ends the
// process at once, so that a hung command can always be left.
func Main(ctx context.Context, args []string, std *IO) int {
	ctx, stop := withSignals(ctx)
	defer stop()
	root := newRoot(std)
	root.SetArgs(arrangeArgs(args))
	return execute(ctx, root, std)
}

// execute runs the command and tells of its error. A panic is told like one, without
// secrets, where the runtime would print whatever it was made of.
func execute(ctx context.Context, root *cobra.Command, std *IO) (code int) {
	defer func() {
		if recovered := recover(); recovered != nil {
			fmt.Fprintf(std.Err, "panic: %v\n\n%s\n", recovered, debug.Stack())
			code = exitFailed
		}
	}()
	err := root.ExecuteContext(ctx)
	return report(std.Err, err) // what std.Err is by now
}

func newRoot(std *IO) *cobra.Command {
	root := &cobra.Command{
		Use:   "faber",
		Short: "Run Prefect flows on AWS ECS Fargate",
		Long: strings.TrimSpace(`
faber runs Prefect flows on AWS ECS Fargate.

  faber worker start   a Prefect 3 worker for work pools of type ecs and process
  faber worker config  the settings it would obey, and where they come from
  faber tick           how much there is to do, for CloudWatch, while no worker runs
  faber init           a Terraform configuration for a stack in an AWS account
  faber plan, apply    show what it would make, and make it; destroy takes it away
  faber status, logs   how the stack is, and what its worker says
  faber dev up         the whole system on this machine: Prefect server, emulated
                       AWS, real containers, the same Terraform module
  faber secret put     fill the Secrets Manager secret that tasks read
  faber image          the worker's container image, built without Docker

Every command has --help. Exit codes: 0 done, 1 failed, 2 wrong usage,
3 finished with findings, 4 not authorised, 130 interrupted.`),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.Version = version()
	root.SetVersionTemplate(versionLine())
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError("run '"+cmd.CommandPath()+" --help' for the flags it knows", "%s", err)
	})
	root.AddCommand(
		newWorkerCommand(std),
		newTickCommand(std),
		newInitCommand(std),
		newPlanCommand(std),
		newApplyCommand(std),
		newDestroyCommand(std),
		newStatusCommand(std),
		newLogsCommand(std),
		newDevCommand(std),
		newSecretCommand(std),
		newImageCommand(std),
		newVersionCommand(std),
	)
	return root
}

func withSignals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
			return
		}
		select {
		case <-signals:
			os.Exit(exitInterrupted)
		case <-parent.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}

func newVersionCommand(std *IO) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of faber and of the Prefect it speaks to",
		Args:  cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			_, err := io.WriteString(std.Out, versionLine())
			return err
		},
	}
}

func versionLine() string { return "faber " + version() + " (Prefect 3.8.8, prefect-aws 0.7.12)\n" }

// version is what the Go toolchain stamped into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
