package cli

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"faber/internal/worker"

	"github.com/spf13/pflag"
)

// workerFlags are what `faber worker start` was told.
type workerFlags struct {
	profile string
	prompt  string // "true", "false", or "" when it is for the terminal to say

	name          string
	pool          string
	queues        []string
	typ           string
	prefetch      int
	runOnce       bool
	limit         int
	limitCounts   string
	healthcheck   bool
	installPolicy string
	template      string
	createPool    bool

	submitLimit     int
	maxLaunches     int
	maxCapacityWait time.Duration
	stopLeftovers   bool
	eventsQueue     string
	keySecretARN    string
	authSecretARN   string
	refusePlaintext bool
	apiSecretARN    string
	poolDefaults    string
	metrics         metricsFlags
	logFormat       string

	// variables are the environment variables that filled in flags, by flag.
	variables map[string]string
}

// flagVariables are the environment variables that take the place of flags.
func flagVariables() []struct{ variable, flag string } {
	return []struct{ variable, flag string }{
		{"FABER_WORK_POOL", "pool"},
		{"FABER_WORKER_TYPE", "type"},
		{"FABER_WORKER_NAME", "name"},
		{"FABER_LIMIT", "limit"},
		{"FABER_LIMIT_COUNTS", "limit-counts"},
		{"FABER_WITH_HEALTHCHECK", "with-healthcheck"},
		{"FABER_SUBMIT_LIMIT", "submit-limit"},
		{"FABER_MAX_LAUNCHES", "max-launches"},
		{"FABER_MAX_CAPACITY_WAIT", "max-capacity-wait"},
		{"FABER_STOP_LEFTOVERS", "stop-leftovers"},
		{"FABER_EVENTS_QUEUE", "events-queue"},
		{"FABER_API_KEY_SECRET_ARN", "api-key-secret-arn"},
		{"FABER_API_AUTH_STRING_SECRET_ARN", "api-auth-string-secret-arn"},
		{"FABER_REFUSE_PLAINTEXT_CREDENTIALS", "refuse-plaintext-credentials"},
		{"FABER_API_SECRET_ARN", "api-secret-arn"},
		{"FABER_WORK_POOL_DEFAULTS", "work-pool-defaults"},
		{"FABER_STACK", "stack"},
		{"FABER_METRICS_TRANSPORT", "metrics-transport"},
		{"FABER_METRICS_NAMESPACE", "metrics-namespace"},
	}
}

// addSessionFlags adds what Prefect's command line takes anywhere.
func (f *workerFlags) addSessionFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.profile, "profile", "", "Prefect `profile` to use (default: the active one)")
	flags.BoolFunc("prompt", "ask for what is missing (default: on a terminal)", func(text string) error {
		yes, err := parseBool(text)
		f.prompt = strconv.FormatBool(yes)
		return err
	})
	flags.BoolFunc("no-prompt", "the opposite of --prompt", func(text string) error {
		yes, err := parseBool(text)
		f.prompt = strconv.FormatBool(!yes)
		return err
	})
	_ = flags.MarkHidden("no-prompt") // it was defined above
}

// addStartFlags adds the flags of `prefect worker start`, then faber's own.
func (f *workerFlags) addStartFlags(flags *pflag.FlagSet) {
	flags.SortFlags = false
	f.createPool = true
	flags.StringVarP(&f.name, "name", "n", "", "`name` of this worker (default: the type and a random id)")
	flags.StringVarP(&f.pool, "pool", "p", "", "work `pool` to serve (required)")
	flags.StringArrayVarP(&f.queues, "work-queue", "q", nil, "work `queue` to serve, repeatable (default: all of the pool)")
	flags.StringVarP(&f.typ, "type", "t", "", "worker `type`: ecs or process (default: the pool's)")
	flags.VarP(newCount(&f.prefetch, 10), "prefetch-seconds", "", "claim flow runs that many `seconds` before they are due")
	addBool(flags, &f.runOnce, "run-once", "poll once, wait for the flow runs to end, and exit")
	flags.VarP(newCount(&f.limit, 0), "limit", "l", "`number` of flow runs at once (default: no limit)")
	addBool(flags, &f.healthcheck, "with-healthcheck", "serve /health, /healthz, /readyz, /metrics and /status (PREFECT_WORKER_WEBSERVER_HOST, _PORT)")
	flags.StringVar(&f.installPolicy, "install-policy", "prompt", "`policy`, accepted for the sake of scripts; faber installs nothing")
	flags.StringVar(&f.template, "base-job-template", "", "JSON `file` with the template for a pool that is created or has none")
	addBool(flags, &f.createPool, "create-pool-if-not-found", "create the work pool when it does not exist")
	flags.BoolFunc("empty-work-queue", "no --work-queue at all, as without the flag", func(text string) error {
		if yes, err := parseBool(text); err != nil || !yes {
			return err
		}
		f.queues = nil
		return nil
	})
	_ = flags.MarkHidden("empty-work-queue") // it was defined above

	flags.StringVar(&f.limitCounts, "limit-counts", "running", "`what` counts against --limit: running, flow runs until their infrastructure ended; or launches, until it was launched, as with Prefect's ECS worker")
	flags.VarP(newCount(&f.submitLimit, 64), "submit-limit", "", "`number` of flow runs that may be between claim and launch at once")
	flags.VarP(newCount(&f.maxLaunches, 3), "max-launches", "", "`number` of launches of one flow run whose infrastructure never ran it or was interrupted (job variable max_launches)")
	flags.DurationVar(&f.maxCapacityWait, "max-capacity-wait", time.Hour, "`time` for which a flow run waits for capacity before it is crashed")
	addBool(flags, &f.stopLeftovers, "stop-leftovers", "stop tasks of this pool whose flow run is over or deleted; without it they are only reported (type ecs)")
	flags.StringVar(&f.eventsQueue, "events-queue", "", "SQS `queue` (name or URL) with the ECS task state changes (type ecs)")
	flags.StringVar(&f.keySecretARN, "api-key-secret-arn", "", "`ARN` of the Secrets Manager secret that tasks get the Prefect API key from (type ecs)")
	flags.StringVar(&f.authSecretARN, "api-auth-string-secret-arn", "", "`ARN` of the Secrets Manager secret that tasks get the auth string of a self-hosted server from (type ecs)")
	addBool(flags, &f.refusePlaintext, "refuse-plaintext-credentials", "crash a flow run rather than put a Prefect credential in clear into its task (type ecs)")
	flags.StringVar(&f.apiSecretARN, "api-secret-arn", "", "`ARN` of the Secrets Manager secret that the Prefect credentials are read from again when the API refuses them")
	flags.StringVar(&f.poolDefaults, "work-pool-defaults", "", "JSON `object` of job variables: the defaults that the work pool is given at the start, and nothing else of it is changed")
	f.metrics.add(flags)
	flags.StringVar(&f.metrics.transport, "metrics-transport", "none", "`way` of the CloudWatch metrics: emf (a line on stdout a minute), put_metric_data (an API call a minute) or none")
	flags.StringVar(&f.logFormat, "log-format", "text", "`form` of the worker's own lines: text or json")
}

// fillFromEnv takes from the environment what no flag said.
func (f *workerFlags) fillFromEnv(std *IO, flags *pflag.FlagSet) error {
	f.variables = map[string]string{}
	for _, pair := range flagVariables() {
		value := strings.TrimSpace(std.env(pair.variable))
		if value == "" || flags.Changed(pair.flag) {
			continue
		}
		if err := flags.Set(pair.flag, value); err != nil {
			return usageError("correct or unset the variable", "%s=%q is no value for --%s", pair.variable, value, pair.flag)
		}
		f.variables[pair.flag] = pair.variable
	}
	return nil
}

// check finds what is wrong with the flags themselves. A pool that is missing
// is not among it: it may be asked for.
func (f *workerFlags) check() error {
	f.installPolicy = strings.ReplaceAll(strings.ToLower(f.installPolicy), "_", "-") // any case, as Prefect
	switch {
	case f.limit < 0:
		return usageError("give a number of 1 or more, or leave it away for no limit", "--limit is %d", f.limit)
	case !slices.Contains([]string{"running", "launches"}, f.limitCounts):
		return usageError("use running or launches", "unknown --limit-counts %q", f.limitCounts)
	case f.submitLimit < 1:
		return usageError("give a number of 1 or more", "--submit-limit is %d", f.submitLimit)
	case f.maxLaunches < 1:
		return usageError("give a number of 1 or more", "--max-launches is %d", f.maxLaunches)
	case f.maxCapacityWait <= 0:
		return usageError("give a time like 30m", "--max-capacity-wait is %s", f.maxCapacityWait)
	case f.prefetch < 0:
		return usageError("give a number of 0 or more", "--prefetch-seconds is %d", f.prefetch)
	case f.logFormat != "text" && f.logFormat != "json":
		return usageError("use text or json", "unknown --log-format %q", f.logFormat)
	case f.metrics.check() != nil:
		return f.metrics.check()
	case f.poolDefaults != "" && !isObject(f.poolDefaults):
		return usageError("give an object like {\"cluster\": \"...\"}", "--work-pool-defaults is no JSON object")
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

// askPool asks for the pool that no flag named, if there is somebody to ask.
func (f *workerFlags) askPool(std *IO, setting string) error {
	ask := f.prompt
	if ask == "" {
		ask = strings.ToLower(setting)
	}
	if f.pool == "" && (ask == "true" || ask == "" && std.IsTerminal && std.InIsTerminal) {
		fmt.Fprint(std.Err, "Work pool name: ")
		f.pool = readLine(std.In)
	}
	if f.pool == "" {
		// Not a usage error: Prefect's worker ends with 1, and scripts see that.
		return &UserError{Message: "Missing required option '--pool' / '-p'.", Hint: "name the work pool, or set FABER_WORK_POOL", Code: exitFailed}
	}
	return nil
}

// count is a number as Prefect's command line takes it: 10, 1_000, 0x10, 10.0.
type count struct{ value *int }

func newCount(value *int, standard int) pflag.Value {
	*value = standard
	return count{value}
}

func (c count) String() string {
	if c.value == nil {
		return "0"
	}
	return strconv.Itoa(*c.value)
}

func (count) Type() string { return "int" }

func (c count) Set(text string) error {
	if number, err := strconv.ParseInt(text, 0, strconv.IntSize); err == nil {
		*c.value = int(number)
		return nil
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || math.Abs(number) > math.MaxInt32 || strings.ContainsAny(text, "eEnN") {
		return fmt.Errorf("%q is no whole number", text)
	}
	*c.value = int(math.RoundToEven(number))
	return nil
}

// parseBool reads a truth value in the words of Prefect's command line.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "yes", "y", "1", "true", "t":
		return true, nil
	case "no", "n", "0", "false", "f":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", text)
}

// truth is a boolean flag.
type truth struct{ value *bool }

func (b truth) String() string { return strconv.FormatBool(b.value != nil && *b.value) }
func (truth) Type() string     { return "bool" }
func (truth) IsBoolFlag() bool { return true }
func (b truth) Set(text string) (err error) {
	*b.value, err = parseBool(text)
	return err
}

// addBool adds --x and, as Prefect's command line has it, --no-x. That is not
// listed: --x=false says the same.
func addBool(flags *pflag.FlagSet, value *bool, name, usage string) {
	flags.VarPF(truth{value}, name, "", usage).NoOptDefVal = "true"
	flags.BoolFunc("no-"+name, "the opposite of --"+name, func(text string) error {
		yes, err := parseBool(text)
		if err != nil {
			return err
		}
		return flags.Set(name, strconv.FormatBool(!yes))
	})
	_ = flags.MarkHidden("no-" + name) // it was defined the line before
}

// dashes lets --work_queue be --work-queue, as Prefect's command line does.
func dashes(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}

// arrangeArgs puts what Prefect's command line takes before the command behind
// it, where our parser knows it: -p is --profile there, and --pool afterwards.
func arrangeArgs(args []string) []string {
	var session []string
	for i := 0; i < len(args); i++ {
		switch name, _, withValue := strings.Cut(args[i], "="); {
		case args[i] == "worker":
			return slices.Concat(args[i:i+1], session, args[i+1:])
		case name == "--prompt" || name == "--no-prompt" || name == "--profile" && withValue:
			session = append(session, args[i])
		case (args[i] == "--profile" || args[i] == "-p") && i+1 < len(args):
			session = append(session, "--profile", args[i+1])
			i++
		default:
			return args
		}
	}
	return args
}
