package front

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
)

// Cut stands in the ledger where a secret was.
const Cut = "********"

// secretName matches names whose values are secrets: fields of API calls, and
// environment variables inside them.
func secretName(name string) bool {
	switch strings.ToLower(name) {
	case "clienttoken", "clientrequesttoken", "nexttoken", "next_token", "tokens", "secretid", "secretarn", "secrets", "secretsmanager", "keyid", "kmskeyid":
		return false // Tokens of idempotence and paging, and names of secrets, not secrets.
	}
	name = strings.ToLower(name)
	for _, word := range []string{"secret", "passw", "token", "api_key", "apikey", "auth_string", "authorization", "credential", "private_key", "privatekey"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// Redact returns a request body without its secrets: the values of JSON fields
// and form parameters whose names say so, at any depth, and the value of a
// {name, value} pair with such a name. What is neither JSON nor a form is
// described, not kept.
func Redact(body []byte) []byte {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil
	}
	if body[0] == '{' || body[0] == '[' {
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var v any
		if d.Decode(&v) == nil {
			if out, err := json.Marshal(RedactValue(v)); err == nil {
				return out
			}
		}
	}
	if form, err := url.ParseQuery(string(body)); err == nil && form.Get("Action") != "" {
		for name := range form {
			if secretName(name) {
				form.Set(name, Cut)
			}
		}
		return []byte(form.Encode())
	}
	return []byte("(not kept: neither JSON nor a form)")
}

// RedactValue is Redact for decoded JSON; it changes v in place.
func RedactValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if secretName(name) && value != nil {
				v[name] = Cut
				continue
			}
			v[name] = RedactValue(value)
		}
		for _, keys := range [][2]string{{"name", "value"}, {"Name", "Value"}, {"key", "value"}, {"Key", "Value"}} {
			if name, ok := v[keys[0]].(string); ok && v[keys[1]] != nil && secretName(name) {
				v[keys[1]] = Cut
			}
		}
	case []any:
		for i := range v {
			v[i] = RedactValue(v[i])
		}
	}
	return v
}
