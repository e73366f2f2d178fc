package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"faber/internal/config"
	"faber/internal/infra"
	"faber/internal/prefect"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"
)

const applyHelp = `
Shows what would change in the AWS account, asks, and makes it so. Then

  - the work pool is created, or gets the template that the stack tells, so that
    nobody writes subnets and roles into it by hand. A pool whose template is
    another one is asked about;
  - an empty secret is filled with the Prefect credentials that this command itself
    uses, if you agree; secret_value_ready becomes true in terraform.tfvars, and the
    service's start is planned, shown and asked about in its turn;
  - it waits until the service is steady and a worker is ONLINE in the work pool. If
    that does not come about, it tells what ECS, the stopped tasks and the worker's
    log say.

Answering anything but yes changes nothing and ends with code 1. With --yes nothing
is asked, also about the pool's template; the secret is then filled only with
--fill-secret. With the file that 'faber plan' saved, just that plan is applied; it
is refused when something has changed since.

Prefect's API and credentials are found as by 'prefect': PREFECT_* variables, .env,
the active profile. AWS credentials are found as by terraform.

Exit codes: 0 the worker is online, 1 failed or declined, 2 wrong usage, 3 applied,
and a step is left for you, 4 Prefect refuses the credentials.`

// applyFlags are what 'faber apply' was told.
type applyFlags struct {
	deployFlags

	plan               string // file, "" makes a new one
	yes, fillSecret    bool
	skipPool, skipWait bool
	timeout            time.Duration
}

func newApplyCommand(std *IO) *cobra.Command {
	f := applyFlags{}
	cmd := &cobra.Command{
		Use:   "apply [saved plan]",
		Short: "Make the stack, set up its work pool, wait for a worker",
		Long:  strings.TrimSpace(applyHelp),
		Example: `  faber apply
  faber apply --yes --fill-secret
  faber plan && faber apply faber.tfplan`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.plan = args[0]
			}
			if err := mayAsk(std, f.yes, "apply"); err != nil {
				return err
			}
			a, err := newApply(cmd.Context(), std, f)
			if err != nil {
				return err
			}
			defer a.close()
			return a.run(cmd.Context())
		},
	}
	f.addTo(cmd)
	f.addProfileTo(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&f.fillSecret, "fill-secret", false, "put the Prefect credentials in use into an empty secret, without asking")
	flags.BoolVar(&f.skipPool, "skip-pool", false, "leave the work pool alone")
	flags.BoolVar(&f.skipWait, "skip-wait", false, "do not wait for the service and the worker")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait for the service and the worker")
	return cmd
}

// apply is one `faber apply` under way.
type apply struct {
	applyFlags

	std      *IO
	news     *progress
	stack    *infra.Stack
	settings *config.Settings
	client   *prefect.Client // nil when Prefect is left alone
	agreed   bool            // somebody has said yes to what was shown
	left     bool            // a step is left for the user
}

// newApply looks at everything that could stand in the way before anything changes.
func newApply(ctx context.Context, std *IO, f applyFlags) (*apply, error) {
	a := &apply{applyFlags: f, std: std, news: &progress{std: std}, agreed: f.yes}
	if !f.skipPool || !f.skipWait || f.fillSecret {
		var err error
		if a.settings, a.client, err = prefectAccess(ctx, std, f.profile, !f.skipPool || !f.skipWait, "--skip-pool --skip-wait leave Prefect alone"); err != nil {
			return nil, err
		}
	}
	var err error
	a.stack, err = f.open(ctx, std, a.news.terraform, false)
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *apply) close() {
	if a.stack != nil {
		_ = a.stack.Close() // the lock ends with the process anyway
	}
	if a.client != nil {
		a.client.Close()
	}
}

// prefectAccess reads Prefect's settings and, if it is to be called, makes a client
// that the API lets in.
func prefectAccess(ctx context.Context, std *IO, profile string, called bool, without string) (*config.Settings, *prefect.Client, error) {
	settings, err := loadSettings(std, profile)
	if err != nil || !called {
		return settings, nil, err
	}
	client, err := newPrefectClient(settings, "", std.logger(false))
	if err != nil {
		return nil, nil, err
	}
	err = client.CheckAccess(ctx)
	var access *prefect.AccessError
	switch {
	case err == nil:
		return settings, client, nil
	case errors.As(err, &access):
		err = &UserError{Message: access.Message, Hint: access.Hint, Code: exitUnauthorised, Err: access}
	case ctx.Err() == nil:
		err = &UserError{Message: fmt.Sprintf("the Prefect API at %s does not answer: %s", config.WithoutPassword(settings.APIURL), err), Hint: "check PREFECT_API_URL and the network; " + without, Err: err}
	}
	client.Close()
	return nil, nil, err
}

func (a *apply) run(ctx context.Context) error {
	plan, err := a.firstPlan(ctx)
	if err != nil {
		return err
	}
	if plan.Changed && !a.yes && !confirm(a.std, "Apply this"+accountPhrase(ctx)+"?") {
		return a.declined(plan)
	}
	a.agreed = a.yes || plan.Changed
	outputs, err := a.apply(ctx, plan)
	if err != nil {
		return err
	}
	if !a.skipPool {
		if err := a.workPool(ctx, outputs); err != nil {
			return err
		}
	}
	if outputs, err = a.secret(ctx, outputs); err != nil {
		return err
	}
	if a.left {
		return &silentExit{code: exitFindings} // what is left to do was said
	}
	if a.skipWait {
		return nil
	}
	return a.wait(ctx, outputs)
}

func (a *apply) firstPlan(ctx context.Context) (*infra.Plan, error) {
	if a.plan == "" {
		return makePlan(ctx, a.std, a.stack, a.news, false)
	}
	file := a.plan
	if !filepath.IsAbs(file) {
		file = filepath.Join(a.std.Dir, file)
	}
	plan, err := a.stack.SavedPlan(ctx, file)
	if err != nil {
		return nil, err
	}
	return plan, showPlan(ctx, a.std, a.stack, plan)
}

// apply makes what a plan says, which somebody has agreed to, and returns the outputs.
func (a *apply) apply(ctx context.Context, plan *infra.Plan) (infra.Outputs, error) {
	if plan.Changed {
		if err := applyPlan(ctx, a.std, a.stack, a.news, plan, "apply"); err != nil {
			return nil, err
		}
	} else if a.plan == "" {
		if err := plan.Discard(); err != nil {
			return nil, err
		}
	}
	outputs, err := a.stack.ModuleOutputs(ctx)
	if errors.Is(err, infra.ErrNotApplied) {
		err = &UserError{Message: "nothing is applied in " + a.folder(a.std), Hint: "does the configuration call the faber module?", Err: err}
	}
	return outputs, err
}

// declined says that nothing was changed. A plan that was brought along stays.
func (a *apply) declined(plan *infra.Plan) error {
	fmt.Fprintln(a.std.Err, "declined: nothing was changed")
	if a.plan == "" {
		if err := plan.Discard(); err != nil {
			return err
		}
	}
	return &silentExit{code: exitFailed}
}

// applyPlan applies a plan that was agreed to, and shows how it goes.
func applyPlan(ctx context.Context, std *IO, stack *infra.Stack, news *progress, plan *infra.Plan, command string) error {
	stop := context.AfterFunc(ctx, func() {
		news.say("interrupted: terraform ends what it is in the middle of and writes its state, which may take minutes; a second interrupt does not wait for that")
	})
	defer stop()
	begun := time.Now()
	result, err := stack.Apply(ctx, plan)
	news.end()
	if err != nil {
		return terraformError(err, "what was done until then is in terraform's state: correct the cause, and 'faber "+command+"' goes on from there")
	}
	var parts []string
	for _, part := range []struct {
		n    int
		verb string
	}{{result.Add, "created"}, {result.Change, "changed"}, {result.Destroy, "destroyed"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.verb))
		}
	}
	if len(parts) == 0 {
		parts = []string{"outputs updated"}
	}
	fmt.Fprintf(std.Out, "%s in %s\n", strings.Join(parts, ", "), time.Since(begun).Round(time.Second))
	return nil
}

// accountPhrase names the account that the credentials are for, where AWS says so:
// the last chance to see that it is the wrong one.
func accountPhrase(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	machine, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return ""
	}
	if machine.Region == "" {
		machine.Region = "us-east-1" // any will do for this question
	}
	who, err := sts.NewFromConfig(machine).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || who.Account == nil {
		return ""
	}
	return " in AWS account " + *who.Account
}
