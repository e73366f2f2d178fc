package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// found is a setting that some source sets.
type found struct {
	raw    any
	text   string // as a flow run's environment has it
	source Source
}

// Load reads all sources and checks them; every problem is in the error.
func Load(l Lookup) (*Settings, error) {
	files, err := l.readFiles()
	if err != nil {
		return nil, err
	}
	active, err := l.profile(files)
	if err != nil {
		return nil, err
	}
	s := &Settings{table: knownSettings(), found: map[string]found{}, Profile: active.name, ProfilesPath: active.path}
	if active.warning != "" {
		s.warn("%s", active.warning)
	}
	problems := s.collect(l, l.sources(files, active))
	problems = append(problems, s.fill(l)...)
	problems = append(problems, s.resolveAPI()...)
	if s.IsCloud {
		s.LogsMaxSize = min(s.LogsMaxSize, s.int("PREFECT_CLOUD_MAX_LOG_SIZE", 25_000))
		if s.APIKey == "" && s.APIAuthString == "" && !s.ownAuthorization() {
			s.warn("%s is not set: Prefect Cloud will not let this worker in", apiKeyName)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return s, nil
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

// collect takes each setting from the highest source that has it.
func (s *Settings) collect(l Lookup, sources []source) []error {
	var problems []error
	for _, k := range slices.Concat(s.table, ownSettings()) {
		for _, from := range sources {
			raw, ok := from.find(k)
			if !ok {
				continue
			}
			text, err := textForm(k.kind, raw)
			if plain(raw) == "" && k.kind != kindHeaders {
				text, err = "", nil // set to nothing: hides lower sources, and that is all
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s (%s): %w", k.name, from.Source, err))
			}
			if k.name == "PREFECT_HOME" && text != "" {
				text = l.absolute(text)
			}
			s.found[k.name] = found{raw: raw, text: text, source: from.Source}
			break
		}
	}
	return problems
}

// fill sets the typed fields. Values that cannot be read were reported by
// collect and count as unset here.
func (s *Settings) fill(l Lookup) []error {
	s.APIKey = Secret(s.text(apiKeyName, ""))
	s.APIAuthString = Secret(s.text("PREFECT_API_AUTH_STRING", ""))
	s.RequestTimeout = s.duration("PREFECT_API_REQUEST_TIMEOUT", 60)
	s.TLSInsecureSkipVerify = s.bool("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", false)
	caFile, _ := l.env("SSL_CERT_FILE")
	s.SSLCertFile = s.text("PREFECT_API_SSL_CERT_FILE", caFile)
	s.EnableHTTP2 = s.bool("PREFECT_API_ENABLE_HTTP2", false)

	s.MaxRetries = s.int("PREFECT_CLIENT_MAX_RETRIES", 5)
	s.RetryJitterFactor = s.float("PREFECT_CLIENT_RETRY_JITTER_FACTOR", 0.2)
	s.CSRFEnabled = s.bool("PREFECT_CLIENT_CSRF_SUPPORT_ENABLED", true)
	s.ServerVersionCheck = s.bool("PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED", true)
	s.MetricsEnabled = s.bool("PREFECT_CLIENT_METRICS_ENABLED", false)
	s.MetricsPort = s.int("PREFECT_CLIENT_METRICS_PORT", 4201)
	_, s.CustomHeaders, _ = headers(s.found["PREFECT_CLIENT_CUSTOM_HEADERS"].orText())

	s.QuerySeconds = s.float("PREFECT_WORKER_QUERY_SECONDS", 10)
	s.HeartbeatSeconds = int(s.float("PREFECT_WORKER_HEARTBEAT_SECONDS", 30))
	s.PrefetchSeconds = int(s.float("PREFECT_WORKER_PREFETCH_SECONDS", 10))
	s.EnableCancellation = s.bool("PREFECT_WORKER_ENABLE_CANCELLATION", false)
	s.CancellationPollSeconds = s.float("PREFECT_WORKER_CANCELLATION_POLL_SECONDS", 120)
	s.WorkerDebugMode = s.bool("PREFECT_WORKER_DEBUG_MODE", false)
	s.WebserverHost = s.text("PREFECT_WORKER_WEBSERVER_HOST", "0.0.0.0")
	s.WebserverPort = s.int("PREFECT_WORKER_WEBSERVER_PORT", 8080)

	s.LogsToAPI = s.bool("PREFECT_LOGGING_TO_API_ENABLED", true)
	s.LogsBatchInterval = s.duration("PREFECT_LOGGING_TO_API_BATCH_INTERVAL", 2)
	s.LogsBatchSize = s.int("PREFECT_LOGGING_TO_API_BATCH_SIZE", 4_000_000)
	s.LogsMaxSize = s.int("PREFECT_LOGGING_TO_API_MAX_LOG_SIZE", 1_000_000)
	s.LoggingLevel = s.text("PREFECT_LOGGING_LEVEL", "INFO")
	if s.bool("PREFECT_DEBUG_MODE", false) {
		s.LoggingLevel = "DEBUG"
		// Debug mode sets these levels, so they are no longer explicitly set.
		delete(s.found, "PREFECT_LOGGING_LEVEL")
		delete(s.found, "PREFECT_INTERNAL_LOGGING_LEVEL")
	}
	s.Home = s.text("PREFECT_HOME", filepath.Join(l.Home, ".prefect"))
	return append(s.retryCodes(), s.checkRanges()...)
}

func (s *Settings) retryCodes() []error {
	const name = "PREFECT_CLIENT_RETRY_EXTRA_CODES"
	var problems []error
	for _, item := range listItems(s.text(name, "")) {
		code, err := strconv.Atoi(item)
		if err != nil || code < 100 || code > 599 {
			problems = append(problems, fmt.Errorf("%s (%s): %q is no HTTP status code", name, s.Source(name), item))
			continue
		}
		s.RetryExtraCodes = append(s.RetryExtraCodes, code)
	}
	return problems
}

// checkRanges finds values that can be read but make no sense.
func (s *Settings) checkRanges() []error {
	var problems []error
	check := func(ok bool, name, rule string) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s (%s) is %s: %s", name, s.Source(name), s.found[name].text, rule))
		}
	}
	check(s.RequestTimeout > 0, "PREFECT_API_REQUEST_TIMEOUT", "it must be more than 0 seconds")
	check(s.MaxRetries >= 0, "PREFECT_CLIENT_MAX_RETRIES", "it must not be negative")
	check(s.RetryJitterFactor >= 0, "PREFECT_CLIENT_RETRY_JITTER_FACTOR", "it must not be negative")
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

func isPort(n int) bool { return n >= 0 && n <= 65535 }

// orText is the raw value, or the empty text of an unset setting.
func (f found) orText() any {
	if f.raw == nil {
		return ""
	}
	return f.raw
}

func (s *Settings) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// text is the value of a setting, or the default when it is unset, set to
// nothing or unreadable.
func (s *Settings) text(name, otherwise string) string {
	if text := s.found[name].text; text != "" {
		return text
	}
	return otherwise
}

func (s *Settings) bool(name string, otherwise bool) bool {
	if text := s.text(name, ""); text != "" {
		return text == "True"
	}
	return otherwise
}

func (s *Settings) int(name string, otherwise int) int {
	number, err := strconv.Atoi(s.text(name, ""))
	if err != nil {
		return otherwise
	}
	return number
}

func (s *Settings) float(name string, otherwise float64) float64 {
	number, err := strconv.ParseFloat(s.text(name, ""), 64)
	if err != nil || math.IsNaN(number) {
		return otherwise
	}
	return number
}

func (s *Settings) duration(name string, otherwise float64) time.Duration {
	const longest = 365 * 24 * 3600 // keeps a slip of the finger within what a Duration holds
	return time.Duration(min(s.float(name, otherwise), longest) * float64(time.Second))
}

// String is the source in words: "env", "dotenv /dir/.env".
func (s Source) String() string { return strings.TrimSpace(s.Kind + " " + s.Where) }
