package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"faber/internal/stack"

	"github.com/spf13/cobra"
)

const logsHelp = `
Prints the worker's log from CloudWatch Logs, or with --flow-runs the output of the
flow runs' containers, each line behind the beginning of its task's id. With -f it
goes on as lines come, until it is interrupted.`

func newLogsCommand(std *IO) *cobra.Command {
	var f deployFlags
	var follow, flowRuns, metrics bool
	var since time.Duration
	var lines int
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Print the worker's log, or the flow runs'",
		Long:  strings.TrimSpace(logsHelp),
		Example: `  faber logs -f
  faber logs --flow-runs --since 24h -n 1000`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case since <= 0:
				return usageError("give a time like 30m", "--since is %s", since)
			case lines < 0:
				return usageError("give a number of 0 or more", "--lines is %d", lines)
			}
			outputs, err := f.outputs(cmd.Context(), std)
			if err != nil {
				return err
			}
			group := outputs.String("log_group_name")
			if flowRuns {
				group = outputs.String("flow_run_log_group_name")
			}
			if group == "" {
				return &UserError{Message: "the outputs of the stack name no log group", Hint: "hand the module's outputs log_group_name and flow_run_log_group_name on in the root module"}
			}
			deployed, err := deployedStack(cmd.Context(), outputs)
			if err != nil {
				return err
			}
			return printLogs(cmd.Context(), std, deployed, logsWanted{
				group: group, from: time.Now().Add(-since), lines: lines, follow: follow, prefixed: flowRuns, metrics: metrics,
			})
		},
	}
	f.addTo(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as lines come")
	cmd.Flags().BoolVar(&flowRuns, "flow-runs", false, "print what the flow runs' containers wrote")
	cmd.Flags().BoolVar(&metrics, "metrics", false, "also print the lines in which the worker tells CloudWatch its metrics")
	cmd.Flags().DurationVar(&since, "since", time.Hour, "how far back to look, such as 30m")
	cmd.Flags().IntVarP(&lines, "lines", "n", 200, "`number` of the newest lines of that time; 0 means all")
	return cmd
}

// logsWanted is what 'faber logs' was asked for.
type logsWanted struct {
	group    string
	from     time.Time
	lines    int
	follow   bool
	prefixed bool
	metrics  bool
}

func printLogs(ctx context.Context, std *IO, deployed *stack.Stack, w logsWanted) error {
	show := func(line stack.Line) {
		if line.IsMetric() && !w.metrics {
			return
		}
		text := strings.TrimRight(line.Message, "\n")
		if w.prefixed {
			text = short(line.Stream[strings.LastIndex(line.Stream, "/")+1:]) + "  " + text
		}
		fmt.Fprintln(std.Out, text)
	}
	if w.follow {
		// What was there is not cut: a line may come late, and would be lost.
		return logsError(deployed.FollowLogs(ctx, w.group, w.from, show))
	}
	var kept []stack.Line
	err := deployed.ReadLogs(ctx, w.group, w.from, func(line stack.Line) {
		if line.IsMetric() && !w.metrics {
			return // it does not count either
		}
		kept = append(kept, line)
		if w.lines > 0 && len(kept) > 2*w.lines {
			kept = append(kept[:0], kept[len(kept)-w.lines:]...)
		}
	})
	if w.lines > 0 {
		kept = kept[max(0, len(kept)-w.lines):]
	}
	for _, line := range kept {
		show(line)
	}
	if err == nil && len(kept) == 0 {
		fmt.Fprintf(std.Err, "no lines in %s since %s; --since looks further back\n", w.group, w.from.Local().Format(time.DateTime)) //nolint:gosmopolitan // for whoever reads it here
	}
	return logsError(err)
}

func logsError(err error) error {
	if errors.Is(err, stack.ErrNoLogGroup) {
		return &UserError{Message: err.Error(), Hint: "'faber plan' tells whether AWS is still as terraform's state says", Err: err}
	}
	return awsError(err)
}
