package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"faber/internal/cloudwatch"
	"faber/internal/config"
	"faber/internal/prefect"
	"faber/internal/telemetry"

	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const tickHelp = `
Reads how much there is to do in a work pool and publishes it to CloudWatch: Backlog,
OldestDueAge, StartingRuns and RunningRuns, once, by PutMetricData. It launches
nothing. EventBridge Scheduler runs it while no worker does, so that an alarm on
these metrics can start the first one.

It ends within ten seconds, whatever answers or does not. Prefect's settings are read
as 'faber worker start' reads them; AWS credentials and region as the AWS CLI does.

In a container these variables take the place of flags:

  FABER_WORK_POOL          --pool
  FABER_STACK              --stack
  FABER_METRICS_NAMESPACE  --metrics-namespace

Exit codes: 0 published, 1 not published, 2 wrong usage, 4 Prefect or AWS does not
allow it.`

const (
	// tickTimeout leaves a second of the ten to begin and to end.
	tickTimeout = 9 * time.Second
	// tickReading is what Prefect gets of it, tickTry one try to reach it.
	tickReading = 6 * time.Second
	tickTry     = 2500 * time.Millisecond
)

// tickFlags are what `faber tick` was told.
type tickFlags struct {
	profile string
	pool    string
	metrics metricsFlags
}

func newTickCommand(std *IO) *cobra.Command {
	var f tickFlags
	cmd := &cobra.Command{
		Use:     "tick --pool <work pool> --stack <stack>",
		Short:   "Publish how much there is to do in a work pool, once",
		Long:    strings.TrimSpace(tickHelp),
		Example: `  faber tick --pool my-pool --stack faber`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), tickTimeout)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- tick(ctx, std, cmd.Flags(), f) }()
			select {
			case err := <-done:
				return inTime(ctx, err)
			case <-ctx.Done():
				// What does not even hear that its time is up is left behind.
				select {
				case err := <-done:
					return inTime(ctx, err)
				case <-time.After(200 * time.Millisecond):
					return inTime(ctx, ctx.Err())
				}
			}
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&f.pool, "pool", "p", "", "work `pool` to look at (required)")
	f.metrics.add(flags)
	flags.StringVar(&f.profile, "profile", "", "Prefect `profile` to use (default: the active one)")
	return cmd
}

// inTime is an error that may be for want of time, as the user sees it.
func inTime(ctx context.Context, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	var user *UserError
	if errors.As(err, &user) {
		return err
	}
	return &UserError{
		Message: fmt.Sprintf("nothing was published within %s: %s", tickTimeout, err),
		Hint:    "see that the task's subnets have a way to the Prefect API and to CloudWatch (monitoring), and its security group lets it out",
		Err:     err,
	}
}

// tick reads and publishes.
func tick(ctx context.Context, std *IO, flags *pflag.FlagSet, f tickFlags) error {
	if err := f.fill(std, flags); err != nil {
		return err
	}
	settings, err := loadSettings(std, f.profile)
	if err != nil {
		return err
	}
	secrets := keepSecrets(std, settings)
	log := slog.New(secrets.Handler(telemetry.NewHandler(std.Err, slog.LevelWarn, false)))
	client, err := f.client(settings, log)
	if err != nil {
		return err
	}
	defer client.Close()
	publisher, err := newPutMetricData(ctx, f.metrics, f.pool)
	if err != nil {
		return err
	}
	now := time.Now()
	reading, cancel := context.WithTimeout(ctx, tickReading)
	defer cancel()
	pool, err := cloudwatch.ReadPool(reading, client, f.pool, now)
	if err != nil {
		return f.unread(err)
	}
	if err := publisher.Publish(ctx, cloudwatch.Point{At: now, Data: pool.Data()}); err != nil {
		return f.unpublished(err)
	}
	fmt.Fprintf(std.Out, "work pool %s: %d due, the oldest for %s; %d starting, %d running; published to %s\n",
		f.pool, pool.Backlog, pool.OldestDue.Round(time.Second), pool.Starting, pool.Running, f.metrics.namespace)
	return nil
}

// fill takes from the environment what no flag said, and checks all of it.
func (f *tickFlags) fill(std *IO, flags *pflag.FlagSet) error {
	for _, pair := range []struct {
		variable, flag string
		value          *string
	}{
		{"FABER_WORK_POOL", "pool", &f.pool},
		{"FABER_STACK", "stack", &f.metrics.stack},
		{"FABER_METRICS_NAMESPACE", "metrics-namespace", &f.metrics.namespace},
	} {
		if value := strings.TrimSpace(std.env(pair.variable)); value != "" && !flags.Changed(pair.flag) {
			*pair.value = value
		}
	}
	f.metrics.transport = "put_metric_data"
	if f.pool == "" {
		return usageError("name the work pool with --pool or FABER_WORK_POOL", "no work pool is named")
	}
	return f.metrics.check()
}

// client is one without the patience of a worker's.
func (f *tickFlags) client(settings *config.Settings, log *slog.Logger) (*prefect.Client, error) {
	options, err := prefectOptions(settings, "", log)
	if err != nil {
		return nil, err
	}
	options.RequestTimeout, options.MaxRetries = min(options.RequestTimeout, tickTry), min(options.MaxRetries, 1)
	return clientWith(options)
}

// unread is a pool that could not be read, as the user sees it.
func (f *tickFlags) unread(err error) error {
	problem := &UserError{Message: err.Error(), Err: err}
	var status *prefect.StatusError
	switch {
	case errors.Is(err, prefect.ErrNotFound):
		problem.Message = fmt.Sprintf("the work pool %s does not exist", f.pool)
		problem.Hint = "create it, by 'faber apply' or in Prefect: until then nothing can be due in it"
	case errors.As(err, &status) && (status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden):
		problem.Code = exitUnauthorised
		problem.Hint = "put a valid PREFECT_API_KEY (or PREFECT_API_AUTH_STRING for a server of your own) into the secret"
	case prefect.IsTransient(err) || errors.Is(err, context.DeadlineExceeded):
		problem.Hint = "see that PREFECT_API_URL is right, and that the task's subnets have a way to it"
	}
	return problem
}

// unpublished is a refusal of CloudWatch, as the user sees it.
func (f *tickFlags) unpublished(err error) error {
	problem := &UserError{Message: err.Error(), Err: err, Hint: "see that the task's subnets have a way to CloudWatch (monitoring), and that AWS_REGION is set"}
	var refusal smithy.APIError
	if errors.As(err, &refusal) && strings.Contains(refusal.ErrorCode(), "AccessDenied") {
		problem.Code = exitUnauthorised
		problem.Hint = "the task's role needs cloudwatch:PutMetricData for the namespace " + f.metrics.namespace
	}
	return problem
}
