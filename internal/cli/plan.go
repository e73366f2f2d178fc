package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"faber/internal/infra"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const planHelp = `
Shows what 'faber apply' would change in the AWS account, and changes nothing.
First comes what terraform itself shows, then a summary. The plan is saved in the
folder as faber.tfplan: 'faber apply faber.tfplan' applies just that one, and is
refused when something has changed since.

The folder may be any Terraform configuration that calls the faber module; one of
'faber init' is not needed. Variables, backend, workspace and AWS credentials are
found as terraform finds them.

Exit codes: 0 planned, 1 failed, 2 wrong usage; with --exit-code 3 means that there
is something to change.`

func newPlanCommand(std *IO) *cobra.Command {
	var flags deployFlags
	var destroy, exitCode bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would change in the AWS account",
		Long:  strings.TrimSpace(planHelp),
		Example: `  faber plan
  faber plan --dir production --exit-code`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			news := &progress{std: std}
			stack, err := flags.open(cmd.Context(), std, news.terraform, false)
			if err != nil {
				return err
			}
			defer stack.Close()
			plan, err := makePlan(cmd.Context(), std, stack, news, destroy)
			if err != nil {
				return err
			}
			if !plan.Changed {
				return plan.Discard() // said so already
			}
			saved := filepath.Base(plan.File)
			fmt.Fprintf(std.Err, "\nSaved as %s. Apply it with: faber apply%s %s\n", saved, flags.shown(), filepath.Join(flags.dir, saved))
			if exitCode {
				return &silentExit{code: exitFindings}
			}
			return nil
		},
	}
	flags.addTo(cmd)
	cmd.Flags().BoolVar(&destroy, "destroy", false, "plan to take everything away")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with 3 when there is something to change")
	return cmd
}

// makePlan plans and shows the plan.
func makePlan(ctx context.Context, std *IO, stack *infra.Stack, news *progress, destroy bool) (*infra.Plan, error) {
	defer news.end()
	if err := ready(ctx, stack); err != nil {
		return nil, err
	}
	plan, err := stack.Plan(ctx, infra.PlanOptions{Destroy: destroy})
	if err != nil {
		return nil, terraformError(err, "nothing was changed; correct what terraform names, and run the command again")
	}
	news.end()
	return plan, showPlan(ctx, std, stack, plan)
}

// showPlan prints a plan: terraform's own view of it, its warnings, the summary.
func showPlan(ctx context.Context, std *IO, stack *infra.Stack, plan *infra.Plan) error {
	if plan.Changed {
		file, isFile := std.Out.(*os.File)
		colour := isFile && term.IsTerminal(int(file.Fd())) && std.env("NO_COLOR") == ""
		if err := stack.Show(ctx, plan, std.Out, colour); err != nil {
			return err
		}
		fmt.Fprintln(std.Out)
	}
	for _, warning := range plan.Warnings {
		fmt.Fprintf(std.Err, "warning: %s\n", warning)
	}
	fmt.Fprintln(std.Out, summary(plan))
	return nil
}

// summary tells a plan in few lines: how much, and by name what goes away.
func summary(plan *infra.Plan) string {
	if !plan.Changed {
		return "No changes: AWS is as the configuration says."
	}
	if plan.Total() == 0 {
		return "No resource changes; only outputs do."
	}
	var parts []string
	for _, part := range []struct {
		n    int
		verb string
	}{{plan.Import, "import"}, {plan.Add, "create"}, {plan.Change, "change"}, {plan.Destroy, "destroy"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", part.n, part.verb))
		}
	}
	text := "Resources: " + strings.Join(parts, ", ") + "."
	var gone []string
	for _, change := range plan.Changes {
		if change.Action == "delete" || change.Action == "replace" {
			gone = append(gone, fmt.Sprintf("  %-7s  %s", change.Action, change.Address))
		}
	}
	slices.Sort(gone)
	if len(gone) == plan.Total() { // a destroy: terraform's own view says it all
		return text
	}
	if len(gone) > 0 {
		text += "\nDestroyed or replaced:\n" + strings.Join(gone, "\n")
	}
	return text
}
