package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"faber/internal/infra"

	"github.com/spf13/cobra"
)

const destroyHelp = `
Shows what would be taken away, asks, and takes it away: everything that Terraform's
state in the folder knows of, and nothing else. The folder's files stay, and so does
the work pool in Prefect. The secret can be brought back for some days (7, unless
the configuration says otherwise).

Flow runs that are under way lose their worker, and AWS deletes no cluster with
tasks in it: their number is told before you are asked.

Answering anything but yes changes nothing and ends with code 1.`

func newDestroyCommand(std *IO) *cobra.Command {
	var f deployFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "destroy",
		Short: "Take everything away that apply made",
		Long:  strings.TrimSpace(destroyHelp),
		Example: `  faber destroy
  faber destroy --dir production --yes`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := mayAsk(std, yes, "destroy"); err != nil {
				return err
			}
			return destroy(cmd.Context(), std, f, yes)
		},
	}
	f.addTo(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func destroy(ctx context.Context, std *IO, f deployFlags, yes bool) error {
	news := &progress{std: std}
	folder, err := f.open(ctx, std, news.terraform, false)
	if err != nil {
		return err
	}
	defer folder.Close()
	plan, err := makePlan(ctx, std, folder, news, true)
	if err != nil {
		return err
	}
	if !plan.Changed {
		fmt.Fprintln(std.Out, "there is nothing to destroy")
		return plan.Discard()
	}
	// What of it cannot be told does not keep anybody from taking it away.
	outputs, err := folder.ModuleOutputs(ctx)
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), plan.Discard())
	}
	sayFlowRuns(ctx, std, outputs)
	if !yes && !confirm(std, "Destroy all of this"+accountPhrase(ctx)+"?") {
		fmt.Fprintln(std.Err, "declined: nothing was changed")
		if err := plan.Discard(); err != nil {
			return err
		}
		return &silentExit{code: exitFailed}
	}
	if err := applyPlan(ctx, std, folder, news, plan, "destroy"); err != nil {
		return err
	}
	// A secret made anew is empty again.
	if _, err := infra.SetSecretReady(f.folder(std), false); err != nil {
		return err
	}
	if pool := outputs.String("work_pool_name"); pool != "" {
		fmt.Fprintf(std.Out, "work pool %s is left in Prefect: prefect work-pool delete %s\n", pool, pool)
	}
	return nil
}

// sayFlowRuns warns of tasks in the cluster that are not the worker's.
func sayFlowRuns(ctx context.Context, std *IO, outputs infra.Outputs) {
	if outputs.String("cluster_arn") == "" {
		return
	}
	deployed, err := deployedStack(ctx, outputs)
	if err != nil {
		return
	}
	tasks, err := deployed.OtherTasks(ctx)
	switch {
	case err != nil:
		fmt.Fprintf(std.Err, "warning: whether flow runs are under way is not known: %s\n", err)
	case len(tasks) > 0:
		fmt.Fprintf(std.Err, "warning: %s under way in the cluster; AWS does not delete a cluster with tasks in it\n", counted(len(tasks), "flow run is", "flow runs are"))
	}
}
