package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"faber/internal/cloudwatch"
	"faber/internal/config"
	"faber/internal/ecs"
	"faber/internal/launch"
	"faber/internal/prefect"
	"faber/internal/process"
	"faber/internal/telemetry"
	"faber/internal/worker"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
)

const (
	// drainTimeout and flushTimeout, and the 3 s that events get to be delivered beside
	// the latter, stay inside 25 s when no API answers: ECS and Docker give a container
	// 30 s between SIGTERM and SIGKILL by default.
	drainTimeout = 20 * time.Second
	flushTimeout = 2 * time.Second
)

// workerStart is one `faber worker start`, checked and ready to begin.
type workerStart struct {
	std      *IO
	flags    workerFlags
	settings *config.Settings
	template json.RawMessage
	level    slog.Level
	log      *slog.Logger
	registry *prometheus.Registry
	client   *prefect.Client
	secrets  *telemetry.Secrets
	reporter *cloudwatch.Reporter // nil without metrics for CloudWatch
}

// newWorkerStart checks everything that can be checked without calling anybody.
func newWorkerStart(std *IO, flags *pflag.FlagSet, f *workerFlags) (*workerStart, error) {
	if err := f.fillFromEnv(std, flags); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	settings, err := loadSettings(std, f.profile)
	if err != nil {
		return nil, err
	}
	if err := f.askPool(std, settings.Prompt); err != nil {
		return nil, err
	}
	if !flags.Changed("prefetch-seconds") {
		f.prefetch = settings.PrefetchSeconds
	}
	template, err := readTemplate(std, f.template)
	if err != nil {
		return nil, err
	}
	level, err := telemetry.ParseLevel(settings.LoggingLevel)
	if err != nil {
		return nil, usageError("set PREFECT_LOGGING_LEVEL to one of them", "%s", err)
	}
	secrets := keepSecrets(std, settings)
	consoleLevel := level
	if settings.WorkerDebugMode {
		consoleLevel = slog.LevelDebug
	}
	s := &workerStart{
		std: std, flags: *f, settings: settings, template: template, level: level,
		log:      slog.New(secrets.Handler(telemetry.NewHandler(std.Err, consoleLevel, f.logFormat == "json"))),
		registry: telemetry.NewRegistry(), secrets: secrets,
	}
	if s.client, err = s.newClient(); err != nil {
		return nil, err
	}
	return s, nil
}

// newClient makes the worker's client.
func (s *workerStart) newClient() (*prefect.Client, error) {
	options, err := prefectOptions(s.settings, s.flags.name, s.log)
	if err != nil {
		return nil, err
	}
	if s.flags.apiSecretARN != "" {
		options.Renew = s.renewCredentials
	}
	return clientWith(options)
}

// newPrefectClient makes a client of Prefect's settings.
func newPrefectClient(s *config.Settings, workerName string, log *slog.Logger) (*prefect.Client, error) {
	options, err := prefectOptions(s, workerName, log)
	if err != nil {
		return nil, err
	}
	return clientWith(options)
}

func clientWith(options prefect.Options) (*prefect.Client, error) {
	client, err := prefect.New(options)
	if err != nil {
		return nil, usageError("set PREFECT_API_URL to the URL of the API; it ends in /api for a self-hosted server", "%s", err)
	}
	return client, nil
}

// prefectOptions are what Prefect's settings say of a client.
func prefectOptions(s *config.Settings, workerName string, log *slog.Logger) (prefect.Options, error) {
	if s.APIURL == "" {
		return prefect.Options{}, usageError("set PREFECT_API_URL, or PREFECT_API_KEY, PREFECT_ACCOUNT_ID and PREFECT_WORKSPACE_ID for Prefect Cloud", "`PREFECT_API_URL` must be set to start a Worker.")
	}
	tlsConfig, err := s.TLS()
	if err != nil {
		return prefect.Options{}, &UserError{Message: err.Error(), Hint: "name a file with PEM certificates", Code: exitUsage, Err: err}
	}
	return prefect.Options{
		APIURL: s.APIURL, CloudAPIURL: s.CloudAPIURL,
		APIKey: s.APIKey.Reveal(), AuthString: s.APIAuthString.Reveal(),
		AccountID: s.AccountID, WorkspaceID: s.WorkspaceID,
		CustomHeaders: s.CustomHeaders, RequestTimeout: s.RequestTimeout, TLS: tlsConfig, HTTP2: s.EnableHTTP2,
		MaxRetries: s.MaxRetries, JitterFactor: s.RetryJitterFactor, ExtraRetryCodes: s.RetryExtraCodes,
		CSRF: s.CSRFEnabled, WorkerName: workerName, Logger: log,
	}, nil
}

// run starts the worker and returns when it has stopped.
func (s *workerStart) run(ctx context.Context) error {
	defer s.client.Close()
	s.sayDoubts()
	w := workerHolder{settings: s.settings, redact: s.secrets.Redact, log: s.log, begun: time.Now(), maintenance: s.client.MaintenanceUntil}
	servers, err := s.serveHealth(&w)
	if err != nil {
		return err
	}
	defer servers()
	if err := s.checkAccess(ctx); err != nil {
		return err
	}
	s.noteQueues(ctx)
	if err := s.inferType(ctx); err != nil {
		return err
	}
	if s.flags.name == "" {
		s.flags.name = defaultName(s.flags.typ)
		if s.client, err = s.newClient(); err != nil {
			return err
		}
	}
	launcher, err := s.newLauncher(ctx)
	if err != nil {
		return err
	}
	if s.reporter, err = s.newReporter(ctx, &w); err != nil {
		return err
	}
	return s.serve(ctx, launcher, &w)
}

// serve wires the worker to its logs and events and runs it.
func (s *workerStart) serve(ctx context.Context, launcher launch.Launcher, holder *workerHolder) error {
	var background sync.WaitGroup
	events := prefect.NewEvents(s.client)
	runLog := s.newRunLog()
	stopping, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	background.Go(func() { s.surviving("events", func() { _ = events.Run(stopping) }) })
	background.Go(func() { s.surviving("logs of flow runs", func() { _ = runLog.Run(stopping) }) })

	options := s.workerOptions(launcher, events, runLog)
	flushMetrics := s.reportMetrics(stopping, &options)
	w, err := worker.New(options)
	if err == nil {
		holder.set(w)
		err = w.Run(ctx)
	}
	flushing, cancel := context.WithTimeout(stopping, flushTimeout)
	defer cancel()
	// All of it before the rest is stopped: that would end the time to flush, too.
	var closing sync.WaitGroup
	closing.Go(events.Close)
	closing.Go(func() { flushMetrics(flushing) })
	if flushErr := runLog.Flush(flushing); flushErr != nil {
		s.log.Debug("Flush flow run logs", "error", flushErr)
	}
	closing.Wait()
	stopBackground()
	background.Wait()
	return err
}

// newRunLog makes what sends lines to the flow runs' own logs.
func (s *workerStart) newRunLog() *prefect.FlowRunLogger {
	runLog := prefect.NewFlowRunLogger(s.client, s.settings.LogsBatchInterval)
	runLog.MinLevel, runLog.Disabled = s.level, !s.settings.LogsToAPI
	runLog.MaxLine, runLog.BatchSize = s.settings.LogsMaxSize, s.settings.LogsBatchSize
	return runLog
}

func (s *workerStart) workerOptions(launcher launch.Launcher, events *prefect.Events, runLog *prefect.FlowRunLogger) worker.Options {
	host, err := os.Hostname()
	if err != nil {
		host = "" // processes of a predecessor are then found by what still runs alone
	}
	drainGrace := time.Second
	if s.flags.typ == "process" {
		drainGrace = 10 * time.Second
	}
	options := worker.Options{
		API: blockReader{s.client, s.secrets}, Launcher: launcher,
		Events: redactedEvents{events, s.secrets}, RunLog: redactedLog{runLog, s.secrets},
		Redact: s.secrets.Redact, Learn: s.learn,
		Logger: s.log, Metrics: s.registry,
		NewChannel: func(h prefect.Hello, onSnapshot func(prefect.WorkPool), onCleanup prefect.CleanupFunc) worker.Channel {
			channel := prefect.NewChannel(s.client, h, onSnapshot)
			if onCleanup != nil {
				channel.OnCleanup(onCleanup)
			}
			return channel
		},
		Pool: s.flags.pool, Queues: s.flags.queues, Name: s.flags.name, Host: host, Version: version(),
		Limit: s.flags.limit, LimitCounts: worker.LimitCounts(s.flags.limitCounts), SubmitLimit: s.flags.submitLimit, RunOnce: s.flags.runOnce,
		CreatePool: s.flags.createPool, BaseJobTemplate: s.template, PoolDefaults: s.poolDefaults(),
		Settings: s.settingsForRuns, Env: s.std.Env,
		WorkerID: s.client.WorkerID, MaintenanceUntil: s.client.MaintenanceUntil, LastAnswer: s.client.LastAnswer,
		Prefetch:    time.Duration(s.flags.prefetch) * time.Second,
		Query:       time.Duration(s.settings.QuerySeconds * float64(time.Second)),
		Heartbeat:   s.heartbeat(),
		MaxLaunches: s.flags.maxLaunches, MaxCapacityWait: s.flags.maxCapacityWait, StopLeftovers: s.flags.stopLeftovers,
		DrainTimeout: drainTimeout, DrainGrace: drainGrace,
	}
	options.TailLines, options.UnbegunTailLines = s.tailLines()
	return options
}

// heartbeat is what somebody set, or faber's own: Prefect's default would let the
// runs of a worker that is gone wait for longer than need be.
func (s *workerStart) heartbeat() time.Duration {
	if !s.settings.IsSet("PREFECT_WORKER_HEARTBEAT_SECONDS") {
		return worker.DefaultHeartbeat
	}
	return time.Duration(s.settings.HeartbeatSeconds) * time.Second
}

// tailLines is how much output of infrastructure that failed goes into the logs
// of its flow run: of one that never began to run what prefect-aws's setting says,
// of the others the worker's own measure, unless somebody set another.
func (s *workerStart) tailLines() (begun, unbegun int) {
	most := s.settings.ForwardCrashedRunLogsMaxEvents
	switch {
	case !s.settings.ForwardCrashedRunLogs:
		return -1, -1
	case s.settings.IsSet("PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_FORWARD_CRASHED_RUN_LOGS_MAX_EVENTS"):
		return most, most
	default:
		return 0, most
	}
}

func (s *workerStart) newLauncher(ctx context.Context) (launch.Launcher, error) {
	if s.flags.typ == "process" {
		return process.New(process.Options{Environ: s.std.Environ(), Output: s.std.Out, Logger: s.log}), nil
	}
	machine, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, &UserError{Message: fmt.Sprintf("read the AWS configuration: %s", err), Hint: "check AWS_PROFILE, AWS_CONFIG_FILE and the files under ~/.aws", Code: exitUsage, Err: err}
	}
	if machine.Region == "" {
		// The work pool's credentials may name one; without them each launch says so.
		s.log.Warn("No AWS region is configured on this machine.", "hint", "set AWS_REGION to the region of the cluster, unless the work pool's aws_credentials name one")
	}
	launcher, err := ecs.New(s.ecsOptions(machine.Region))
	if err != nil {
		return nil, usageError("run 'faber worker start --help'", "%s", err)
	}
	return launcher, nil
}

func (s *workerStart) ecsOptions(region string) ecs.Options {
	options := ecs.Options{
		Logger: s.log, Metrics: s.registry, Region: region,
		SecretARN: s.flags.keySecretARN, AuthStringSecretARN: s.flags.authSecretARN,
		RefusePlaintextCredentials: s.flags.refusePlaintext,
	}
	if !s.settings.ObserverEnabled {
		return options // no queue, no events
	}
	options.Queue, options.QueueRegion = s.flags.eventsQueue, s.settings.ObserverQueueRegion
	if options.Queue == "" {
		options.Queue = s.settings.ObserverQueueName
		options.QueueOptional = !s.settings.IsSet(queueSetting)
	}
	return options
}
