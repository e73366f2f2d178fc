package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"faber/internal/dev"
)

func newDevUpCommand(std *IO, flags *devFlags) *cobra.Command {
	var ports dev.Ports
	var workerBinary, faultsFile string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring the local stack up, or back up",
		Long: strings.TrimSpace(`
Brings the local stack up and returns when a worker on emulated Fargate is
online in the work pool "fargate". Calling it again is fine at any time.

On a fresh machine it needs Python 3.10 or newer. It brings along: the Python
environment (by uv, from PyPI), terraform when none is on PATH, and, as root on
Debian or Ubuntu, podman when there is no container engine.

Environment:
  FABER_DEV_API_KEY   API key for the stack's Prefect front (default: a random one)
  FABER_FLOW_IMAGE    "build" builds the flow image here even if it could be pulled
  DOCKER_HOST         container engine to use`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			layout, err := flags.layout()
			if err != nil {
				return err
			}
			var faults *dev.Faults
			if faultsFile != "" {
				if faults, err = dev.ReadFaults(faultsFile); err != nil {
					return err
				}
			}
			executable, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program's file: %w", err)
			}
			stack, err := dev.Up(cmd.Context(), dev.Options{
				Layout:       layout,
				Ports:        ports,
				Executable:   executable,
				WorkerBinary: workerBinary,
				APIKey:       std.env("FABER_DEV_API_KEY"),
				Faults:       faults,
				Env:          std.Env,
				Environ:      std.Environ(),
				Home:         std.env("HOME"),
				Steps:        std.steps(),
				Logger:       std.logger(verbose),
			})
			if err != nil {
				return err
			}
			printStack(std.Out, stack)
			return nil
		},
	}
	cmd.Flags().IntVar(&ports.Prefect, "prefect-port", 0, "port of the Prefect server on this machine (default: a free one)")
	cmd.Flags().IntVar(&ports.AWS, "aws-port", 0, "port of the AWS endpoint (default: a free one)")
	cmd.Flags().IntVar(&ports.Cloud, "cloud-port", 0, "port of the front with Prefect Cloud's URL form (default: a free one)")
	cmd.Flags().StringVar(&workerBinary, "worker-binary", "", "static Linux binary of faber for the worker's image (default: this program)")
	cmd.Flags().StringVar(&faultsFile, "faults", "", "file of faults to inject into the running stack (see docs/faults.md)")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "say more on stderr")
	return cmd
}

func printStack(w io.Writer, stack *dev.Stack) {
	fmt.Fprintf(w, "stack %s is up (%.0f s, %s)\n", stack.State.Name, stack.Took.Seconds(), counted(stack.Changes, "resource changed", "resources changed"))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  Prefect\t%s\n", stack.State.PrefectURL())
	fmt.Fprintf(t, "  AWS\t%s\n", stack.State.AWSURL())
	fmt.Fprintf(t, "  work pool\t%s\n", dev.PoolName)
	t.Flush()
}

func counted(n int, one, many string) string {
	switch n {
	case 0:
		return "no " + many
	case 1:
		return "1 " + one
	default:
		return fmt.Sprintf("%d %s", n, many)
	}
}
