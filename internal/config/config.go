// Package config finds Prefect's settings where Prefect's own worker finds
// them, says where each one came from, and turns those a worker needs into
// typed values.
package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
)

// Secret is a value that never prints.
type Secret string

const mask = "********"

// Reveal is the value in clear.
func (s Secret) Reveal() string { return string(s) }

// String is a mask.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString is a mask.
func (s Secret) GoString() string { return s.String() }

// LogValue is a mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is a mask.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Source is where a value came from.
type Source struct {
	Kind  string // "env", "dotenv", "prefect.toml", "pyproject.toml", "profile <name>", "default", "built from ..."
	Where string // path of the file, "" when there is none
	As    string // the name it is set under, when that is not the setting's own
}

// String is the source in words: "env", "dotenv /dir/.env".
func (s Source) String() string {
	text := strings.TrimSpace(s.Kind + " " + s.Where)
	if s.As != "" {
		text += " (" + s.As + ")"
	}
	return text
}

// NameValue is a setting as an environment variable.
type NameValue struct{ Name, Value string }

// Lookup is what Load may see of the machine.
type Lookup struct {
	Env     func(string) (string, bool)
	Environ func() []string
	Dir     string // working directory
	Home    string // the user's home
	Profile string // --profile
}

// Settings are the settings in force.
type Settings struct {
	APIURL        string
	CloudAPIURL   string
	APIKey        Secret
	APIAuthString Secret
	AccountID     string // of a Cloud URL
	WorkspaceID   string
	IsCloud       bool

	RequestTimeout        time.Duration
	TLSInsecureSkipVerify bool
	SSLCertFile           string
	EnableHTTP2           bool

	CustomHeaders      map[string]string
	MaxRetries         int
	RetryJitterFactor  float64
	RetryExtraCodes    []int
	CSRFEnabled        bool
	ServerVersionCheck bool
	MetricsEnabled     bool
	MetricsPort        int

	QuerySeconds            float64
	HeartbeatSeconds        int
	PrefetchSeconds         int
	EnableCancellation      bool
	CancellationPollSeconds float64
	WorkerDebugMode         bool
	WebserverHost           string
	WebserverPort           int

	LoggingLevel      string
	LogsToAPI         bool
	LogsBatchInterval time.Duration
	LogsBatchSize     int
	LogsMaxSize       int

	// The settings of prefect-aws that the worker obeys. Flow runs do not
	// inherit them.
	ObserverEnabled                bool
	ObserverQueueName              string // Source says whether anybody set it
	ObserverQueueRegion            string // "" is the machine's
	ForwardCrashedRunLogs          bool
	ForwardCrashedRunLogsMaxEvents int

	Prompt       string // PREFECT_CLI_PROMPT: "True", "False", "" when it is for the terminal to say
	Home         string // PREFECT_HOME
	Profile      string // name of the profile in force
	ProfilesPath string // file it is read from, "" for a built-in one

	table    []known // Prefect's
	aws      []known
	standard map[string]string // defaults, by name
	found    map[string]found
	altered  map[string]alteration
	unknown  []Unknown
	profile  profile
	warnings []string
}

// alteration is a value in force that is not the one that was set.
type alteration struct{ value, note string }

// String names the API and the profile, and no value that may be secret.
func (s *Settings) String() string {
	return fmt.Sprintf("settings for %s (profile %s)", WithoutPassword(s.APIURL), s.Profile)
}

// GoString is String: the fields hold secrets.
func (s *Settings) GoString() string { return s.String() }

// LogValue is String: the fields hold secrets.
func (s *Settings) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Explicit lists every recognised setting of Prefect's that is explicitly set,
// in the order of Prefect's settings model, secrets in clear: the environment
// that a flow run inherits from its worker. A text that is set to nothing is set.
func (s *Settings) Explicit() []NameValue {
	var all []NameValue
	for _, k := range s.table {
		set, given := s.found[k.name]
		if set.text != "" || given && k.mayBeEmpty() {
			all = append(all, NameValue{k.name, set.text})
		}
	}
	return all
}

// Secrets are the values that must never be shown: of settings that are secret, of
// headers, and the passwords within others.
func (s *Settings) Secrets() []Secret {
	var all []Secret
	for _, k := range s.all() {
		text := s.found[k.name].text
		if k.kind == kindSecret {
			all = append(all, Secret(text))
		}
		if _, rest, ok := strings.Cut(text, "://"); ok {
			authority, _, _ := strings.Cut(rest, "/")
			if user, _, ok := cutLast(authority, "@"); ok {
				all = append(all, Secret(user), Secret(afterColon(user)))
			}
		}
	}
	all = append(all, Secret(afterColon(s.APIAuthString.Reveal())))
	for _, value := range s.CustomHeaders {
		_, token, _ := strings.Cut(value, " ") // "Bearer ..."
		all = append(all, Secret(value), Secret(token))
	}
	return slices.DeleteFunc(all, func(v Secret) bool { return v == "" })
}

func afterColon(text string) string {
	_, after, _ := strings.Cut(text, ":")
	return after
}

func cutLast(text, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(text, sep); i >= 0 {
		return text[:i], text[i+len(sep):], true
	}
	return text, "", false
}

// Warnings are doubts about the settings that do not keep a worker from starting.
func (s *Settings) Warnings() []string {
	if s.bool("PREFECT_SILENCE_API_URL_MISCONFIGURATION") {
		return slices.DeleteFunc(slices.Clone(s.warnings), func(w string) bool { return strings.HasPrefix(w, apiURLName+" ") })
	}
	return slices.Clone(s.warnings)
}

// Source says where the value of a setting came from, by its environment name.
func (s *Settings) Source(name string) Source {
	if set, ok := s.found[name]; ok {
		return set.source
	}
	return Source{Kind: sourceDefault}
}

// IsSet reports that somebody set a setting, by its environment name.
func (s *Settings) IsSet(name string) bool { return s.found[name].text != "" }

// TLS is how to speak TLS to the API, nil when the defaults will do.
func (s *Settings) TLS() (*tls.Config, error) {
	if s.TLSInsecureSkipVerify {
		// The user asked for it in so many words.
		return &tls.Config{InsecureSkipVerify: true}, nil //nolint:gosec // PREFECT_API_TLS_INSECURE_SKIP_VERIFY
	}
	if s.SSLCertFile == "" {
		return nil, nil
	}
	certificates, err := os.ReadFile(s.SSLCertFile)
	if err != nil {
		return nil, fmt.Errorf("read PREFECT_API_SSL_CERT_FILE: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certificates) {
		return nil, fmt.Errorf("read PREFECT_API_SSL_CERT_FILE: no certificate in %s", s.SSLCertFile)
	}
	return &tls.Config{RootCAs: pool}, nil
}
