package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"faber/internal/config"
	"faber/internal/jobtemplate"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

const workerStartHelp = `
Starts a Prefect 3 worker that runs flow runs of one work pool, on AWS ECS (type
ecs) or as processes on this machine (type process). It takes the flags of
'prefect worker start' and reads Prefect's settings where Prefect does: PREFECT_*
environment variables, .env, prefect.toml, pyproject.toml, the active profile.
'faber worker config' shows them all, and where each comes from.

SIGTERM or SIGINT stops fetching flow runs and finishes launches in flight; ECS
tasks run on and are taken over by the next worker. A second signal leaves at once.

In a container these variables take the place of flags:

  FABER_WORK_POOL                     --pool
  FABER_WORKER_TYPE                   --type
  FABER_WORKER_NAME                   --name
  FABER_LIMIT                         --limit
  FABER_LIMIT_COUNTS                  --limit-counts
  FABER_WITH_HEALTHCHECK              --with-healthcheck (true or false)
  FABER_EVENTS_QUEUE                  --events-queue; else the setting
                                      PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME
  FABER_API_KEY_SECRET_ARN            --api-key-secret-arn
  FABER_API_AUTH_STRING_SECRET_ARN    --api-auth-string-secret-arn
  FABER_REFUSE_PLAINTEXT_CREDENTIALS  --refuse-plaintext-credentials (true or false)
  FABER_API_SECRET_ARN                --api-secret-arn
  FABER_WORK_POOL_DEFAULTS            --work-pool-defaults
  FABER_STACK                         --stack
  FABER_METRICS_TRANSPORT             --metrics-transport
  FABER_METRICS_NAMESPACE             --metrics-namespace`

func newWorkerCommand(std *IO) *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run and check a Prefect worker",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.addSessionFlags(cmd.PersistentFlags())
	cmd.AddCommand(newWorkerStartCommand(std, &f), newWorkerConfigCommand(std, &f), newWorkerHealthCommand(std, &f))
	cmd.SetGlobalNormalizationFunc(dashes)
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
	f.addStartFlags(cmd.Flags())
	return cmd
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("run '"+cmd.CommandPath()+" --help' for its flags", "unexpected argument %q", args[0])
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

// lookup is where settings are read.
func lookup(std *IO, profile string) config.Lookup {
	return config.Lookup{Env: std.Env, Environ: std.Environ, Dir: std.Dir, Home: std.env("HOME"), Profile: profile}
}

// loadSettings reads Prefect's settings.
func loadSettings(std *IO, profile string) (*config.Settings, error) {
	settings, err := config.Load(lookup(std, profile))
	if err != nil {
		return nil, settingsProblem(err, nil)
	}
	return settings, nil
}

// settingsProblem is a problem of the settings as the user sees it, below
// another one if there is one.
func settingsProblem(err, first error) error {
	problem := &UserError{Message: err.Error(), Code: exitUsage, Err: err}
	if first == nil {
		return problem
	}
	problem.Message = first.Error() + "\n" + problem.Message
	var user *UserError
	if errors.As(first, &user) {
		problem.Hint = user.Hint
	}
	return problem
}

// startWarnings are doubts about flags and settings together.
func startWarnings(std *IO, f *workerFlags, settings *config.Settings) []string {
	var all []string
	if f.eventsQueue != "" && !settings.ObserverEnabled {
		all = append(all, "--events-queue is ignored: PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_ENABLED is false")
	}
	if std.env("HTTP_PROXY")+std.env("HTTPS_PROXY")+std.env("http_proxy")+std.env("https_proxy") == "" && std.env("ALL_PROXY")+std.env("all_proxy") != "" {
		all = append(all, "ALL_PROXY is not used: set HTTP_PROXY and HTTPS_PROXY")
	}
	return all
}

// unknownNames are variables and settings that nobody reads.
func unknownNames(std *IO, settings *config.Settings) []config.Unknown {
	var ours []string
	for _, pair := range flagVariables() {
		ours = append(ours, pair.variable)
	}
	unknown := settings.Unknown()
	var slips []string
	for _, pair := range std.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "FABER_") && !slices.Contains(ours, name) && config.Nearest(name, ours) != "" {
			slips = append(slips, name) // others are for faber's other commands
		}
	}
	slices.Sort(slips)
	for _, name := range slips {
		unknown = append(unknown, config.Unknown{Name: name, Source: config.Source{Kind: "env"}, Nearest: config.Nearest(name, ours)})
	}
	return unknown
}
