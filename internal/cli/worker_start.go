package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

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
	// drainTimeout and flushTimeout together stay inside the 30 s that ECS and
	// Docker give a container between SIGTERM and SIGKILL by default.
	drainTimeout = 24 * time.Second
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
	consoleLevel := level
	if settings.WorkerDebugMode {
		consoleLevel = slog.LevelDebug
	}
	s := &workerStart{
		std: std, flags: *f, settings: settings, template: template, level: level,
		log:      slog.New(telemetry.NewHandler(std.Err, consoleLevel, f.logFormat == "json")),
		registry: telemetry.NewRegistry(),
	}
	if s.client, err = newPrefectClient(settings, f.name, s.log); err != nil {
		return nil, err
	}
	return s, nil
}

// newPrefectClient makes a client of Prefect's settings.
func newPrefectClient(s *config.Settings, workerName string, log *slog.Logger) (*prefect.Client, error) {
	if s.APIURL == "" {
		return nil, usageError("set PREFECT_API_URL, or PREFECT_API_KEY, PREFECT_ACCOUNT_ID and PREFECT_WORKSPACE_ID for Prefect Cloud", "`PREFECT_API_URL` must be set to start a Worker.")
	}
	tlsConfig, err := s.TLS()
	if err != nil {
		return nil, &UserError{Message: err.Error(), Hint: "name a file with PEM certificates", Code: exitUsage, Err: err}
	}
	client, err := prefect.New(prefect.Options{
		APIURL: s.APIURL, CloudAPIURL: s.CloudAPIURL,
		APIKey: s.APIKey.Reveal(), AuthString: s.APIAuthString.Reveal(),
		AccountID: s.AccountID, WorkspaceID: s.WorkspaceID,
		CustomHeaders: s.CustomHeaders, RequestTimeout: s.RequestTimeout, TLS: tlsConfig, HTTP2: s.EnableHTTP2,
		MaxRetries: s.MaxRetries, JitterFactor: s.RetryJitterFactor, ExtraRetryCodes: s.RetryExtraCodes,
		CSRF: s.CSRFEnabled, WorkerName: workerName, Logger: log,
	})
	if err != nil {
		return nil, usageError("set PREFECT_API_URL to the URL of the API; it ends in /api for a self-hosted server", "%s", err)
	}
	return client, nil
}

// run starts the worker and returns when it has stopped.
func (s *workerStart) run(ctx context.Context) error {
	defer s.client.Close()
	for _, warning := range s.settings.Warnings() {
		s.log.Warn(warning)
	}
	var w workerHolder
	servers, err := s.serveHealth(&w)
	if err != nil {
		return err
	}
	defer servers()
	if err := s.checkAccess(ctx); err != nil {
		return err
	}
	if err := s.inferType(ctx); err != nil {
		return err
	}
	if s.flags.name == "" {
		s.flags.name = defaultName(s.flags.typ)
		if s.client, err = newPrefectClient(s.settings, s.flags.name, s.log); err != nil {
			return err
		}
	}
	s.notePaused(ctx)
	launcher, err := s.newLauncher(ctx)
	if err != nil {
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
	background.Go(func() { _ = events.Run(stopping) })
	background.Go(func() { _ = runLog.Run(stopping) })

	w, err := worker.New(s.workerOptions(launcher, events, runLog))
	if err == nil {
		holder.set(w)
		err = w.Run(ctx)
	}
	flushing, cancel := context.WithTimeout(stopping, flushTimeout)
	defer cancel()
	closing := make(chan struct{})
	go func() {
		events.Close()
		close(closing)
	}()
	if flushErr := runLog.Flush(flushing); flushErr != nil {
		s.log.Debug("Flush flow run logs", "error", flushErr)
	}
	<-closing
	stopBackground()
	background.Wait()
	return err
}

// newRunLog makes what sends lines to the flow runs' own logs.
func (s *workerStart) newRunLog() *prefect.FlowRunLogger {
	runLog := prefect.NewFlowRunLogger(s.client, s.settings.LogsBatchInterval)
	runLog.MinLevel, runLog.Disabled, runLog.MaxLine = s.level, !s.settings.LogsToAPI, s.settings.LogsMaxSize
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
	var settings []launch.EnvVar
	for _, setting := range s.settings.Explicit() {
		settings = append(settings, launch.EnvVar{Name: setting.Name, Value: setting.Value})
	}
	return worker.Options{
		API: s.client, Launcher: launcher, Events: events, RunLog: runLog,
		Logger: s.log, Metrics: s.registry,
		NewChannel: func(h prefect.Hello, onSnapshot func(prefect.WorkPool), onCleanup prefect.CleanupFunc) worker.Channel {
			channel := prefect.NewChannel(s.client, h, onSnapshot)
			if onCleanup != nil {
				channel.OnCleanup(onCleanup)
			}
			return channel
		},
		Pool: s.flags.pool, Queues: s.flags.queues, Name: s.flags.name, Host: host,
		Limit: s.flags.limit, SubmitLimit: s.flags.submitLimit, RunOnce: s.flags.runOnce,
		CreatePool: s.flags.createPool, BaseJobTemplate: s.template,
		Settings: settings, Env: s.std.Env,
		WorkerID: s.client.WorkerID, MaintenanceUntil: s.client.MaintenanceUntil,
		Prefetch:     time.Duration(s.flags.prefetch) * time.Second,
		Query:        time.Duration(s.settings.QuerySeconds * float64(time.Second)),
		Heartbeat:    time.Duration(s.settings.HeartbeatSeconds) * time.Second,
		DrainTimeout: drainTimeout, DrainGrace: drainGrace,
	}
}

// checkAccess asks the API once whether it lets this worker in. A refusal ends
// the command: no worker gets better by waiting for another key. No answer does
// not: the API may come up later.
func (s *workerStart) checkAccess(ctx context.Context) error {
	err := s.client.CheckAccess(ctx)
	var access *prefect.AccessError
	switch {
	case errors.As(err, &access):
		return &UserError{Message: access.Message, Hint: access.Hint, Code: exitUnauthorised, Err: err}
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		s.log.Warn("Unable to reach the Prefect API while starting up; the worker will keep attempting to connect", "error", err)
		return nil
	}
	if s.settings.ServerVersionCheck {
		if err := s.client.CheckVersion(ctx); errors.Is(err, prefect.ErrIncompatible) {
			return &UserError{Message: err.Error(), Hint: "use a Prefect server of the same major version, or PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED=false to try anyway", Err: err}
		}
	}
	return nil
}

// inferType takes the type from the pool when none was given.
func (s *workerStart) inferType(ctx context.Context) error {
	if s.flags.typ != "" {
		return nil
	}
	pool, err := s.client.ReadWorkPool(ctx, s.flags.pool)
	switch {
	case errors.Is(err, prefect.ErrNotFound):
		s.flags.typ = "process"
	case err != nil:
		return &UserError{Message: fmt.Sprintf("the type of work pool %q is not known: %s", s.flags.pool, err), Hint: "give it with --type ecs or --type process", Err: err}
	default:
		s.flags.typ = pool.Type
	}
	if err := checkType(s.flags.typ); err != nil {
		return err
	}
	s.log.Info(fmt.Sprintf("Worker type '%s' is taken from work pool '%s'.", s.flags.typ, s.flags.pool))
	return nil
}

// notePaused says which of the named queues will give no flow runs for now. The
// pool itself is watched by the worker.
func (s *workerStart) notePaused(ctx context.Context) {
	if len(s.flags.queues) == 0 {
		return
	}
	timed, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	queues, err := s.client.WorkQueues(timed, s.flags.pool, s.flags.queues)
	if err != nil {
		return // pool or queues may come later
	}
	for _, queue := range queues {
		if queue.IsPaused {
			s.log.Warn(fmt.Sprintf("The work queue '%s' is currently paused. This worker will not execute its flow runs until it is unpaused.", queue.Name))
		}
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
	return ecs.Options{
		Logger: s.log, Region: region,
		SecretARN: s.flags.keySecretARN, AuthStringSecretARN: s.flags.authSecretARN,
		RefusePlaintextCredentials: s.flags.refusePlaintext,
		Queue:                      s.flags.eventsQueue,
		QueueRegion:                s.std.env("PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_REGION"),
	}
}

// workerHolder lets health be asked before there is a worker.
type workerHolder struct {
	mu sync.Mutex
	w  *worker.Worker
}

func (h *workerHolder) set(w *worker.Worker) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.w = w
}

func (h *workerHolder) get() *worker.Worker {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.w
}

func (h *workerHolder) health(registry *prometheus.Registry) telemetry.Health {
	return telemetry.Health{
		Live: func() error {
			if w := h.get(); w != nil {
				return w.Live()
			}
			return nil
		},
		Ready: func() error {
			if w := h.get(); w != nil {
				return w.Ready()
			}
			return errors.New("worker is starting")
		},
		Status: func() string {
			if w := h.get(); w != nil {
				return w.Status()
			}
			return "worker is starting\n"
		},
		Metrics: registry,
	}
}

// serveHealth opens the ports that were asked for and returns what closes them.
func (s *workerStart) serveHealth(holder *workerHolder) (closeAll func(), err error) {
	var addrs []string
	if s.flags.healthcheck {
		addrs = append(addrs, net.JoinHostPort(s.settings.WebserverHost, strconv.Itoa(s.settings.WebserverPort)))
	}
	if s.settings.MetricsEnabled {
		addrs = append(addrs, net.JoinHostPort("0.0.0.0", strconv.Itoa(s.settings.MetricsPort)))
	}
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	closeAll = func() {
		cancel()
		serving.Wait()
	}
	for _, addr := range addrs {
		server, err := telemetry.Listen(addr, holder.health(s.registry))
		if err != nil {
			closeAll()
			return nil, &UserError{Message: err.Error(), Hint: "choose another port with PREFECT_WORKER_WEBSERVER_PORT (health) or PREFECT_CLIENT_METRICS_PORT (metrics)", Err: err}
		}
		serving.Go(func() {
			if err := server.Serve(ctx); err != nil {
				s.log.Error("Health checks are not served any more", "error", err)
			}
		})
	}
	return closeAll, nil
}
