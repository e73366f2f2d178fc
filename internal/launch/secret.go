package launch

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Masked stands where a secret is not shown.
const Masked = "********"

// SecretName reports whether what has this name, an environment variable or a field,
// is a secret: it is not to be shown, in no part of it.
func SecretName(name string) bool {
	name = strings.ToLower(name)
	for _, end := range []string{"_arn", "secretarn", "_name", "_id", "secretid", "clienttoken", "nexttoken"} {
		if strings.HasSuffix(name, end) {
			return false // names of secrets, and tokens of idempotence and paging
		}
	}
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

var secretWords = []string{
	"secret", "passw", "passphrase", "token", "api_key", "apikey", "access_key", "auth_string", "authorization",
	"credential", "private_key", "privatekey", "connection_string", "connection_url", "dsn",
}

// String is the variable for the eye: the value of a secret is masked.
func (v EnvVar) String() string {
	if SecretName(v.Name) && v.Value != "" {
		return v.Name + "=" + Masked
	}
	return v.Name + "=" + v.Value
}

// GoString is String.
func (v EnvVar) GoString() string { return v.String() }

// LogValue is String.
func (v EnvVar) LogValue() slog.Value { return slog.StringValue(v.String()) }

// String names the job: its environment and configuration hold secrets.
func (j Job) String() string {
	return fmt.Sprintf("job of flow run %s, claim %s", j.FlowRunID, j.ClaimID)
}

// GoString is String.
func (j Job) GoString() string { return j.String() }

// LogValue is String.
func (j Job) LogValue() slog.Value { return slog.StringValue(j.String()) }
