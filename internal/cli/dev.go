package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"faber/internal/dev"
)

// devFlags are the flags that every command of the local stack has.
type devFlags struct {
	root string
	name string
}

func (f *devFlags) layout() (dev.Layout, error) { return dev.NewLayout(f.root, f.name) }

func newDevCommand(std *IO) *cobra.Command {
	flags := &devFlags{}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "The whole system on this machine, without an AWS account",
		Long: strings.TrimSpace(`
The local stack is made of real parts: a Prefect server, an AWS emulator that
runs ECS tasks as containers, the same Terraform module that goes to AWS, and a
faber worker in a container of an ECS service on emulated Fargate.

Everything it installs, starts or records is below --dir. 'up' may be called at
any time: what runs is kept, what died is started again. 'down' ends all of it.`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&flags.root, "dir", ".dev", "directory for everything the stack installs, starts or records")
	cmd.PersistentFlags().StringVar(&flags.name, "name", "demo", "name of the stack; several can be up at once")
	cmd.AddCommand(
		newDevUpCommand(std, flags),
		newDevRunCommand(std, flags),
		newDevStatusCommand(std, flags),
		newDevFaultsCommand(std, flags),
		newDevLogsCommand(std, flags),
		newDevTerraformCommand(std, flags),
		newDevEnvCommand(std, flags),
		newDevDownCommand(std, flags),
		newDevInstallCommand(std, flags),
		newServeFrontsCommand(std),
	)
	return cmd
}

func (o *IO) steps() *dev.Steps { return &dev.Steps{Out: o.Err, Terminal: o.IsTerminal} }

func (o *IO) logger(verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(o.Err, &slog.HandlerOptions{Level: level}))
}

func newDevRunCommand(std *IO, flags *devFlags) *cobra.Command {
	var o dev.RunOptions
	var params, variables string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "run [flow]",
		Short: "Run a sample flow on the local stack and follow it to its end",
		Long: strings.TrimSpace(`
Runs a sample flow (hello, sleep) on emulated Fargate and follows it to its end.
Exit code 0 means Completed.`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			layout, err := flags.layout()
			if err != nil {
				return err
			}
			o.Flow, o.Patience = "hello", timeout
			if len(args) == 1 {
				o.Flow = args[0]
			}
			if err := jsonFlag("--params", params, &o.Parameters); err != nil {
				return err
			}
			if err := jsonFlag("--job-variables", variables, &o.JobVariables); err != nil {
				return err
			}
			run, err := dev.RunFlow(cmd.Context(), layout, o, std.steps())
			if run.ID != "" {
				if printErr := printRun(std.Out, layout, run); printErr != nil {
					return printErr
				}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&params, "params", "", "parameters of the flow, a JSON object")
	cmd.Flags().StringVar(&variables, "job-variables", "", "job variables of the run, a JSON object")
	cmd.Flags().StringVar(&o.Deployment, "deployment", "demo", "name of the deployment that is made for it")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for a final state")
	return cmd
}

func jsonFlag(name, text string, into *map[string]any) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return usageError(`write it like this: '{"name": "value"}'`, "%s is no JSON object: %s", name, err)
	}
	return nil
}

func printRun(w io.Writer, layout dev.Layout, run dev.Run) error {
	state, err := dev.LoadState(layout)
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "flow run\t%s\n", run.ID)
	fmt.Fprintf(t, "name\t%s\n", run.Name)
	fmt.Fprintf(t, "state\t%s\n", run.State)
	fmt.Fprintf(t, "task\t%s\n", orNone(run.TaskARN()))
	var total time.Duration
	for _, p := range run.Phases {
		fmt.Fprintf(t, "%s to %s\t%.1f s\n", p.From, p.To, p.Took.Seconds())
		total += p.Took
	}
	fmt.Fprintf(t, "all phases\t%.1f s\n", total.Seconds())
	fmt.Fprintf(t, "Prefect\t%s/runs/flow-run/%s\n", state.PrefectURL(), run.ID)
	fmt.Fprintf(t, "AWS\t%s\n", state.AWSURL())
	return t.Flush()
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func newDevStatusCommand(std *IO, flags *devFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Ask every part of the local stack how it is",
		Long:  "Asks every part of the local stack how it is. Exit code 3 when one is down.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			layout, err := flags.layout()
			if err != nil {
				return err
			}
			status, err := dev.ReadStatus(cmd.Context(), layout)
			if err != nil {
				return err
			}
			if err := printStatus(std.Out, status, asJSON); err != nil {
				return err
			}
			if !status.Up() {
				return &UserError{Message: "a part of the stack is down", Hint: "'faber dev up' brings it back", Code: exitFindings}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printStatus(w io.Writer, status dev.Status, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(status)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range status.Parts {
		mark := "up"
		if !p.Up {
			mark = "DOWN"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", mark, p.Name, p.Detail)
	}
	return t.Flush()
}

func newDevLogsCommand(std *IO, flags *devFlags) *cobra.Command {
	var lines int
	cmd := &cobra.Command{
		Use:       "logs [part]",
		Short:     "Print the newest log lines of a part of the local stack",
		Long:      "Prints the newest log lines of a part of the local stack: " + strings.Join(dev.LogNames(), ", ") + ". Default: worker.",
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: dev.LogNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			layout, err := flags.layout()
			if err != nil {
				return err
			}
			part := "worker"
			if len(args) == 1 {
				part = args[0]
			}
			return dev.WriteLog(cmd.Context(), layout, part, lines, std.Out)
		},
	}
	cmd.Flags().IntVarP(&lines, "lines", "n", 100, "how many lines")
	return cmd
}

func newDevTerraformCommand(std *IO, flags *devFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "terraform -- <arguments>",
		Short: "Run terraform on the local stack's deployment: plan, apply, destroy, state …",
		Example: strings.TrimSpace(`
  faber dev terraform -- plan -detailed-exitcode
  faber dev terraform -- destroy -auto-approve`),
		Long: strings.TrimSpace(`
Runs terraform in the directory where 'faber dev up' applied the module, with
the environment that leads to the emulator and the variables that 'up' used.
The secret is handed over in a file that only this user can read and that is
removed afterwards.`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			layout, err := flags.layout()
			if err != nil {
				return err
			}
			code, err := dev.Terraform(cmd.Context(), dev.TerraformOptions{
				Layout: layout, Args: args, Environ: std.Environ(), In: std.In, Out: std.Out, Err: std.Err,
			})
			if err != nil {
				return err
			}
			if code != 0 {
				// terraform has said why; its exit code is part of its interface.
				return &silentExit{code: code}
			}
			return nil
		},
	}
}

func newDevEnvCommand(std *IO, flags *devFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print the environment that leads Prefect's and AWS's own programs to the stack",
		Example: strings.TrimSpace(`
  eval "$(faber dev env)"; prefect deployment ls; aws ecs list-tasks`),
		Args: cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			layout, err := flags.layout()
			if err != nil {
				return err
			}
			state, err := dev.LoadState(layout)
			if err != nil {
				return &UserError{Message: "the stack " + layout.Name + " is not up", Hint: "run 'faber dev up' first", Err: err}
			}
			for _, line := range append([]string{"PREFECT_API_URL=" + state.PrefectURL() + "/api"}, state.AWSEnv()...) {
				fmt.Fprintln(std.Out, "export "+line)
			}
			return nil
		},
	}
}

func newDevDownCommand(std *IO, flags *devFlags) *cobra.Command {
	var purge bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End everything that 'up' started: processes, containers, network",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			layout, err := flags.layout()
			if err != nil {
				return err
			}
			return dev.Down(cmd.Context(), dev.Options{
				Layout:  layout,
				Env:     std.Env,
				Environ: std.Environ(),
				Steps:   std.steps(),
			}, purge)
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "also remove the stack's files, Prefect's database among them")
	return cmd
}

func newDevInstallCommand(std *IO, flags *devFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "install",
		Short: "Install what the local stack needs, and start nothing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			layout, err := flags.layout()
			if err != nil {
				return err
			}
			return dev.Install(cmd.Context(), dev.Options{
				Layout:  layout,
				Env:     std.Env,
				Environ: std.Environ(),
				Home:    std.env("HOME"),
				Steps:   std.steps(),
				Logger:  std.logger(false),
			})
		},
	}
}

func newServeFrontsCommand(std *IO) *cobra.Command {
	return &cobra.Command{
		Use:    "serve-fronts <configuration>",
		Short:  "Serve the local stack's fronts (started by 'faber dev up')",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			logger := slog.New(slog.NewTextHandler(std.Err, nil))
			err := dev.ServeFronts(cmd.Context(), args[0], logger)
			if cmd.Context().Err() != nil {
				return nil //nolint:nilerr // ended by a signal, as it should be
			}
			return err
		},
	}
}
