package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"faber/internal/config"
	"faber/internal/jobtemplate"
	"faber/internal/worker"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// workerFlags are what `faber worker start` was told.
type workerFlags struct {
	profile string

	name          string
	pool          string
	queues        []string
	typ           string
	prefetch      int
	runOnce       bool
	limit         int
	healthcheck   bool
	installPolicy string
	template      string
	createPool    bool

	submitLimit     int
	eventsQueue     string
	keySecretARN    string
	authSecretARN   string
	refusePlaintext bool
	logFormat       string
}

const workerStartHelp = `
Starts a Prefect 3 worker that runs flow runs of one work pool, on AWS ECS (type
ecs) or as processes on this machine (type process). It takes the flags of
'prefect worker start' and reads Prefect's settings where Prefect does: PREFECT_*
environment variables, .env, prefect.toml, pyproject.toml, the active profile.

SIGTERM or SIGINT stops fetching flow runs and finishes launches in flight; ECS
tasks run on and are taken over by the next worker. A second signal leaves at once.

In a container these variables take the place of flags:

  FABER_WORK_POOL                     --pool
  FABER_WORKER_TYPE                   --type
  FABER_WORKER_NAME                   --name
  FABER_LIMIT                         --limit
  FABER_WITH_HEALTHCHECK              --with-healthcheck (true or false)
  FABER_EVENTS_QUEUE                  --events-queue; also read from
                                      PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME
  FABER_API_KEY_SECRET_ARN            --api-key-secret-arn
  FABER_API_AUTH_STRING_SECRET_ARN    --api-auth-string-secret-arn
  FABER_REFUSE_PLAINTEXT_CREDENTIALS  --refuse-plaintext-credentials (true or false)`

func newWorkerCommand(std *IO) *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run and check a Prefect worker",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&f.profile, "profile", "", "Prefect `profile` to use (default: the active one)")
	cmd.AddCommand(newWorkerStartCommand(std, &f), newWorkerHealthCommand(std, &f))
	return cmd
}

func newWorkerStartCommand(std *IO, f *workerFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start --pool <work pool>",
		Short: "Start a worker for a work pool",
		Long:  strings.TrimSpace(workerStartHelp),
		Example: `  faber worker start --pool my-pool --type ecs --limit 50
  faber worker start -p local -t process -q default -q fast`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			start, err := newWorkerStart(std, cmd.Flags(), f)
			if err != nil {
				return err
			}
			return start.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.name, "name", "n", "", "`name` of this worker (default: the type and a random id)")
	flags.StringVarP(&f.pool, "pool", "p", "", "work `pool` to serve (required)")
	flags.StringArrayVarP(&f.queues, "work-queue", "q", nil, "work `queue` to serve, repeatable (default: all of the pool)")
	flags.StringVarP(&f.typ, "type", "t", "", "worker `type`: ecs or process (default: the pool's)")
	flags.IntVar(&f.prefetch, "prefetch-seconds", 10, "claim flow runs that many `seconds` before they are due")
	flags.BoolVar(&f.runOnce, "run-once", false, "poll once, wait for the flow runs to end, and exit")
	flags.IntVarP(&f.limit, "limit", "l", 0, "`number` of flow runs that may run at once, until their infrastructure ended (default: no limit)")
	flags.BoolVar(&f.healthcheck, "with-healthcheck", false, "serve /health, /healthz, /readyz, /metrics and /status (PREFECT_WORKER_WEBSERVER_HOST, _PORT)")
	flags.StringVar(&f.installPolicy, "install-policy", "prompt", "accepted for the sake of scripts; faber installs nothing")
	flags.StringVar(&f.template, "base-job-template", "", "JSON `file` with the template for a pool that is created or has none")
	flags.BoolVar(&f.createPool, "create-pool-if-not-found", true, "create the work pool when it does not exist")
	flags.IntVar(&f.submitLimit, "submit-limit", 64, "`number` of flow runs that may be between claim and launch at once")
	flags.StringVar(&f.eventsQueue, "events-queue", "", "SQS `queue` (name or URL) with the ECS task state changes (type ecs)")
	flags.StringVar(&f.keySecretARN, "api-key-secret-arn", "", "`ARN` of the Secrets Manager secret that tasks get the Prefect API key from (type ecs)")
	flags.StringVar(&f.authSecretARN, "api-auth-string-secret-arn", "", "`ARN` of the Secrets Manager secret that tasks get the auth string of a self-hosted server from (type ecs)")
	flags.BoolVar(&f.refusePlaintext, "refuse-plaintext-credentials", false, "crash a flow run rather than put a Prefect credential in clear into its task (type ecs)")
	flags.StringVar(&f.logFormat, "log-format", "text", "`form` of the worker's own lines: text or json")
	addNegations(flags, "run-once", "with-healthcheck", "create-pool-if-not-found", "refuse-plaintext-credentials")
	return cmd
}

// addNegations adds --no-x for boolean flags, as Prefect's command line has
// them. They are not listed: --x=false says the same.
func addNegations(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		flags.BoolFunc("no-"+name, "the opposite of --"+name, func(string) error {
			return flags.Set(name, "false")
		})
		_ = flags.MarkHidden("no-" + name) // it was defined the line before
	}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("run '"+cmd.CommandPath()+" --help' for its flags", "unexpected argument %q", args[0])
	}
	return nil
}

// fillFromEnv takes from the environment what no flag said.
func (f *workerFlags) fillFromEnv(std *IO, flags *pflag.FlagSet) error {
	for _, pair := range []struct{ variable, flag string }{
		{"FABER_WORK_POOL", "pool"},
		{"FABER_WORKER_TYPE", "type"},
		{"FABER_WORKER_NAME", "name"},
		{"FABER_LIMIT", "limit"},
		{"FABER_WITH_HEALTHCHECK", "with-healthcheck"},
		{"FABER_EVENTS_QUEUE", "events-queue"},
		{"PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME", "events-queue"},
		{"FABER_API_KEY_SECRET_ARN", "api-key-secret-arn"},
		{"FABER_API_AUTH_STRING_SECRET_ARN", "api-auth-string-secret-arn"},
		{"FABER_REFUSE_PLAINTEXT_CREDENTIALS", "refuse-plaintext-credentials"},
	} {
		value := strings.TrimSpace(std.env(pair.variable))
		if value == "" || flags.Changed(pair.flag) {
			continue
		}
		if err := flags.Set(pair.flag, value); err != nil {
			return usageError("correct or unset the variable", "%s=%q is no value for --%s", pair.variable, value, pair.flag)
		}
	}
	return nil
}

// check finds what is wrong with the flags themselves.
func (f *workerFlags) check() error {
	switch {
	case f.pool == "":
		return usageError("name the work pool, or set FABER_WORK_POOL", "Missing required option '--pool' / '-p'.")
	case f.limit < 0:
		return usageError("give a number of 1 or more, or leave it away for no limit", "--limit is %d", f.limit)
	case f.submitLimit < 1:
		return usageError("give a number of 1 or more", "--submit-limit is %d", f.submitLimit)
	case f.prefetch < 0:
		return usageError("give a number of 0 or more", "--prefetch-seconds is %d", f.prefetch)
	case f.logFormat != "text" && f.logFormat != "json":
		return usageError("use text or json", "unknown --log-format %q", f.logFormat)
	case !slices.Contains([]string{"always", "if-not-present", "never", "prompt"}, f.installPolicy):
		return usageError("use always, if-not-present, never or prompt; faber installs nothing in any case", "unknown --install-policy %q", f.installPolicy)
	}
	if f.name != "" {
		if err := worker.CheckName(f.name); err != nil {
			return usageError("choose a name without / and %", "%s", err)
		}
	}
	if f.typ != "" {
		return checkType(f.typ)
	}
	return nil
}

// workerTypes are the types that faber serves, with the name Prefect gives the
// worker of each.
func workerTypes() map[string]string {
	return map[string]string{"ecs": "ECSWorker", "process": "ProcessWorker"}
}

// checkType explains why a pool's or a worker's type cannot be served.
func checkType(typ string) error {
	switch {
	case workerTypes()[typ] != "":
		return nil
	case strings.HasSuffix(typ, ":push"):
		return usageError("use a pool of type ecs", "work pool type %q is a push pool: Prefect Cloud starts its flow runs itself, and no worker serves it", typ)
	case strings.Contains(typ, "managed"):
		return usageError("use a pool of type ecs", "work pool type %q is managed: Prefect runs its flow runs on its own infrastructure, and no worker serves it", typ)
	case typ == "prefect-agent":
		return usageError("create a pool of type ecs or process", "work pool type %q is for Prefect's agents, which are no more", typ)
	default:
		return usageError("faber serves the types ecs and process", "unknown worker type %q", typ)
	}
}

// readTemplate reads and checks a base job template.
func readTemplate(std *IO, path string) (json.RawMessage, error) {
	if path == "" {
		return nil, nil
	}
	full := path
	if !filepath.IsAbs(full) {
		full = filepath.Join(std.Dir, full)
	}
	data, err := os.ReadFile(full)
	if err != nil {
		return nil, &UserError{Message: fmt.Sprintf("read base job template: %s", err), Hint: "name a JSON file with job_configuration and variables", Code: exitUsage, Err: err}
	}
	var base map[string]any
	if err := json.Unmarshal(data, &base); err != nil {
		return nil, usageError("it must be one JSON object with job_configuration and variables", "base job template %s is no JSON object: %s", path, jsonProblem(data, err))
	}
	if _, err := jobtemplate.Parse(base); err != nil {
		return nil, usageError("correct the file; 'prefect work-pool get-default-base-job-template' prints one to start from", "base job template %s: %s", path, err)
	}
	return data, nil
}

// jsonProblem tells the line of a syntax error, which the decoder does not.
func jsonProblem(data []byte, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err.Error()
	}
	line := 1 + strings.Count(string(data[:min(int(syntax.Offset), len(data))]), "\n")
	return fmt.Sprintf("line %d: %s", line, err)
}

// defaultName is the name of a worker that was given none.
func defaultName(typ string) string { return workerTypes()[typ] + " " + uuid.NewString() }

// loadSettings reads Prefect's settings.
func loadSettings(std *IO, profile string) (*config.Settings, error) {
	settings, err := config.Load(config.Lookup{
		Env: std.Env, Environ: std.Environ, Dir: std.Dir, Home: std.env("HOME"), Profile: profile,
	})
	if err != nil {
		return nil, &UserError{Message: err.Error(), Code: exitUsage, Err: err}
	}
	return settings, nil
}

// healthPort is where a worker with the same settings serves its health. Settings
// that no worker would start with do not matter here: it is asked all the same.
func healthPort(std *IO, profile string) int {
	if settings, err := loadSettings(std, profile); err == nil {
		return settings.WebserverPort
	}
	if port, err := strconv.Atoi(std.env("PREFECT_WORKER_WEBSERVER_PORT")); err == nil {
		return port
	}
	return 8080
}

func newWorkerHealthCommand(std *IO, f *workerFlags) *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a worker on this machine whether it is healthy",
		Long: strings.TrimSpace(`
Exits 0 when the worker that was started with --with-healthcheck on this machine
answers its /health with 200, else 1: for a container's health check, since the
image has no shell.`),
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if port == 0 {
				port = healthPort(std, f.profile)
			}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(port)+"/health", nil)
			if err != nil {
				return fmt.Errorf("ask for health: %w", err)
			}
			// Never through a proxy: it is this machine that is asked.
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Do(req)
			if err != nil {
				return &UserError{Message: fmt.Sprintf("no worker answers: %s", err), Hint: "start it with --with-healthcheck; the port is PREFECT_WORKER_WEBSERVER_PORT or --port", Err: err}
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return &UserError{Message: fmt.Sprintf("the worker is not healthy: /health answered %s", resp.Status), Hint: "its /status tells what each part is doing"}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&port, "port", 0, "`port` of the worker's health checks (default: PREFECT_WORKER_WEBSERVER_PORT, 8080)")
	return cmd
}
