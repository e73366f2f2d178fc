package ecs

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// clientConfig is botocore's Config, as far as it decides how AWS is spoken to.
type clientConfig struct {
	ConnectTimeout time.Duration
	ReadTimeout    time.Duration
	Attempts       int               // of each call; 0 is the usual number
	Proxies        map[string]string // URL of the proxy, by scheme of what is called
	CertFile       string            // of the client
	KeyFile        string
	FIPS           *bool
	DualStack      *bool
	AppID          string
	UserAgent      string // said beside the SDK's own
	Unsigned       bool
}

// withoutEffect are options of botocore that make no difference to the calls
// that are made here.
var withoutEffect = []string{
	"user_agent", "parameter_validation", "max_pool_connections", "s3", "s3_disable_express_session_auth", "inject_host_prefix",
	"endpoint_discovery_enabled", "defaults_mode", "tcp_keepalive", "request_min_compression_size_bytes", "disable_request_compression",
	"client_context_params", "sigv4a_signing_region_set", "request_checksum_calculation", "response_checksum_validation",
	"account_id_endpoint_mode", "auth_scheme_preference",
}

func parseClientConfig(r *reader, out *credentials, config map[string]any) {
	const at = "aws_credentials.aws_client_parameters.config"
	c := &out.Client
	for _, key := range sortedKeys(config) {
		path := at + "." + key
		switch value := config[key]; key {
		case "region_name":
			out.Region = firstOf(out.Region, r.stringAt(config, key, path))
		case "connect_timeout":
			c.ConnectTimeout = r.seconds(value, path)
		case "read_timeout":
			c.ReadTimeout = r.seconds(value, path)
		case "retries":
			c.Attempts = r.attempts(r.inner(config, key, at), path)
		case "proxies":
			c.Proxies = r.proxies(r.inner(config, key, at), path)
		case "client_cert":
			c.CertFile, c.KeyFile = r.certificate(value, path)
		case "use_fips_endpoint":
			c.FIPS = r.option(config, key, path)
		case "use_dualstack_endpoint":
			c.DualStack = r.option(config, key, path)
		case "user_agent_appid":
			c.AppID = r.stringAt(config, key, path)
		case "user_agent_extra":
			c.UserAgent = r.stringAt(config, key, path)
		case "signature_version":
			c.Unsigned = r.unsigned(value, path)
		default:
			r.otherOption(key, value, path)
		}
	}
}

// otherOption deals with the options that are not honoured.
func (r *reader) otherOption(key string, value any, path string) {
	switch {
	case value == nil || value == false && key == "ignore_configured_endpoint_urls":
	case slices.Contains(withoutEffect, key):
		r.warn(path, "has no effect in faber")
	case key == "ignore_configured_endpoint_urls", key == "proxies_config":
		r.problem(path, "is not supported by faber: set the worker's environment instead")
	default:
		r.problem(path, "is no option of botocore's Config")
	}
}

func (r *reader) option(object map[string]any, key, path string) *bool {
	if object[key] == nil {
		return nil
	}
	is := r.boolAt(object, key, path, false)
	return &is
}

func (r *reader) seconds(value any, path string) time.Duration {
	if value == nil {
		return 0
	}
	seconds, err := time.ParseDuration(text(value) + "s")
	if err != nil || seconds <= 0 {
		r.problem(path, "must be a number of seconds")
	}
	return seconds
}

// attempts reads how often a call is made: botocore counts the first one in, or
// does not, by the name of the option.
func (r *reader) attempts(retries map[string]any, path string) int {
	total := 0
	for key, extra := range map[string]int64{"max_attempts": 1, "total_max_attempts": 0} {
		if retries[key] == nil {
			continue
		}
		n, ok := wholeNumber(retries[key])
		if !ok || n+extra < 1 {
			r.problem(path+"."+key, "must be a number of attempts")
			continue
		}
		if key == "total_max_attempts" || total == 0 {
			total = int(n + extra)
		}
	}
	for _, key := range sortedKeys(retries) {
		switch key {
		case "max_attempts", "total_max_attempts", "mode": // there is one way to wait between attempts
		default:
			r.problem(path+"."+key, "is no option of botocore's retries")
		}
	}
	return total
}

func (r *reader) proxies(object map[string]any, path string) map[string]string {
	out := map[string]string{}
	for _, scheme := range sortedKeys(object) {
		address := r.stringAt(object, scheme, path+"."+scheme)
		if address != "" && !strings.Contains(address, "://") {
			address = "http://" + address
		}
		if _, err := url.Parse(address); err != nil {
			r.problem(path+"."+scheme, "must be the URL of a proxy")
		}
		out[scheme] = address
	}
	return out
}

// certificate reads one file that holds certificate and key, or a pair of files.
func (r *reader) certificate(value any, path string) (cert, key string) {
	switch value := value.(type) {
	case nil:
		return "", ""
	case string:
		return value, value
	case []any:
		if len(value) == 2 {
			cert, certOK := value[0].(string)
			key, keyOK := value[1].(string)
			if certOK && keyOK {
				return cert, key
			}
		}
	}
	r.problem(path, "must be a file, or a list of the certificate's file and the key's")
	return "", ""
}

func (r *reader) unsigned(value any, path string) bool {
	switch version, _ := value.(string); {
	case version == "unsigned":
		return true
	case version == "v4" || value == nil:
	default:
		r.problem(path, "is not supported by faber: requests are signed by version 4")
	}
	return false
}
