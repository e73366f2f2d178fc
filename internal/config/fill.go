package config

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// fill sets the typed fields. Values that cannot be read were reported by
// collect and count as unset here.
func (s *Settings) fill(l Lookup) []error {
	s.fillClient(l)
	s.QuerySeconds = s.float("PREFECT_WORKER_QUERY_SECONDS")
	s.HeartbeatSeconds = s.truncated("PREFECT_WORKER_HEARTBEAT_SECONDS")
	s.PrefetchSeconds = s.truncated("PREFECT_WORKER_PREFETCH_SECONDS")
	s.EnableCancellation = s.bool("PREFECT_WORKER_ENABLE_CANCELLATION")
	s.CancellationPollSeconds = s.float("PREFECT_WORKER_CANCELLATION_POLL_SECONDS")
	s.WorkerDebugMode = s.bool("PREFECT_WORKER_DEBUG_MODE")
	s.WebserverHost = s.text("PREFECT_WORKER_WEBSERVER_HOST")
	s.WebserverPort = s.int("PREFECT_WORKER_WEBSERVER_PORT")

	s.LogsToAPI = s.bool("PREFECT_LOGGING_TO_API_ENABLED")
	s.LogsBatchInterval = s.duration("PREFECT_LOGGING_TO_API_BATCH_INTERVAL")
	s.LogsBatchSize = s.int("PREFECT_LOGGING_TO_API_BATCH_SIZE")
	s.LogsMaxSize = s.int("PREFECT_LOGGING_TO_API_MAX_LOG_SIZE")
	s.LoggingLevel = s.text("PREFECT_LOGGING_LEVEL")
	if s.bool("PREFECT_DEBUG_MODE") {
		s.LoggingLevel = "DEBUG"
		s.alter("PREFECT_LOGGING_LEVEL", "DEBUG", "set by PREFECT_DEBUG_MODE")
		// Debug mode sets these levels, so they are no longer explicitly set.
		delete(s.found, "PREFECT_LOGGING_LEVEL")
		delete(s.found, "PREFECT_INTERNAL_LOGGING_LEVEL")
	}

	const observer = "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_"
	s.ObserverEnabled = s.bool(observer + "ENABLED")
	s.ObserverQueueName = s.text(observer + "SQS_QUEUE_NAME")
	s.ObserverQueueRegion = s.text(observer + "SQS_QUEUE_REGION")
	s.ForwardCrashedRunLogs = s.bool(observer + "FORWARD_CRASHED_RUN_LOGS")
	s.ForwardCrashedRunLogsMaxEvents = s.int(observer + "FORWARD_CRASHED_RUN_LOGS_MAX_EVENTS")

	s.Prompt = s.text("PREFECT_CLI_PROMPT")
	s.standard["PREFECT_HOME"] = filepath.Join(l.Home, ".prefect")
	s.Home = s.text("PREFECT_HOME")
	return append(s.retryCodes(), s.checkRanges()...)
}

// fillClient sets what the API client needs.
func (s *Settings) fillClient(l Lookup) {
	s.APIKey = Secret(s.text(apiKeyName))
	s.APIAuthString = Secret(s.text("PREFECT_API_AUTH_STRING"))
	s.RequestTimeout = s.duration("PREFECT_API_REQUEST_TIMEOUT")
	s.TLSInsecureSkipVerify = s.bool("PREFECT_API_TLS_INSECURE_SKIP_VERIFY")
	s.SSLCertFile = s.text("PREFECT_API_SSL_CERT_FILE")
	if file, _ := l.env("SSL_CERT_FILE"); s.SSLCertFile == "" && file != "" {
		s.SSLCertFile = file
		s.alter("PREFECT_API_SSL_CERT_FILE", file, "from the environment's SSL_CERT_FILE")
	}
	s.EnableHTTP2 = s.bool("PREFECT_API_ENABLE_HTTP2")

	s.MaxRetries = s.int("PREFECT_CLIENT_MAX_RETRIES")
	s.RetryJitterFactor = s.float("PREFECT_CLIENT_RETRY_JITTER_FACTOR")
	s.CSRFEnabled = s.bool("PREFECT_CLIENT_CSRF_SUPPORT_ENABLED")
	s.ServerVersionCheck = s.bool("PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED")
	s.MetricsEnabled = s.bool("PREFECT_CLIENT_METRICS_ENABLED")
	s.MetricsPort = s.int("PREFECT_CLIENT_METRICS_PORT")
	_, s.CustomHeaders, _ = headers(s.found["PREFECT_CLIENT_CUSTOM_HEADERS"].orText())
}

// checkRanges finds values that can be read and that Prefect would take, but
// that make no sense.
func (s *Settings) checkRanges() []error {
	var problems []error
	check := func(ok bool, name, rule string) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s (%s) is %s: %s", name, s.Source(name), s.text(name), rule))
		}
	}
	check(s.RequestTimeout > 0, "PREFECT_API_REQUEST_TIMEOUT", "it must be more than 0 seconds")
	check(s.QuerySeconds > 0, "PREFECT_WORKER_QUERY_SECONDS", "it must be more than 0")
	check(s.HeartbeatSeconds > 0, "PREFECT_WORKER_HEARTBEAT_SECONDS", "it must be at least 1")
	check(s.PrefetchSeconds >= 0, "PREFECT_WORKER_PREFETCH_SECONDS", "it must not be negative")
	check(s.CancellationPollSeconds > 0, "PREFECT_WORKER_CANCELLATION_POLL_SECONDS", "it must be more than 0")
	check(isPort(s.WebserverPort), "PREFECT_WORKER_WEBSERVER_PORT", "it must be a port, 0 to 65535")
	check(isPort(s.MetricsPort), "PREFECT_CLIENT_METRICS_PORT", "it must be a port, 0 to 65535")
	check(s.LogsBatchInterval > 0, "PREFECT_LOGGING_TO_API_BATCH_INTERVAL", "it must be more than 0 seconds")
	check(s.LogsMaxSize > 0, "PREFECT_LOGGING_TO_API_MAX_LOG_SIZE", "it must be more than 0")
	check(s.LogsBatchSize >= s.LogsMaxSize, "PREFECT_LOGGING_TO_API_BATCH_SIZE", "it must not be less than PREFECT_LOGGING_TO_API_MAX_LOG_SIZE")
	return problems
}

// adaptToCloud makes of the settings what Prefect Cloud wants.
func (s *Settings) adaptToCloud() {
	if !s.IsCloud {
		return
	}
	if most := s.int("PREFECT_CLOUD_MAX_LOG_SIZE"); s.LogsMaxSize > most {
		s.LogsMaxSize = most
		s.alter("PREFECT_LOGGING_TO_API_MAX_LOG_SIZE", strconv.Itoa(most), "capped by PREFECT_CLOUD_MAX_LOG_SIZE")
	}
	if s.APIKey == "" && s.APIAuthString == "" && !s.ownAuthorization() {
		s.warn("%s is not set: Prefect Cloud will not let this worker in", apiKeyName)
	}
}

// ownAuthorization reports a custom header that takes the place of the key.
func (s *Settings) ownAuthorization() bool {
	for name := range s.CustomHeaders {
		if strings.EqualFold(name, "Authorization") {
			return true
		}
	}
	return false
}
