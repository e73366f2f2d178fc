package launch

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretName(t *testing.T) {
	for name, want := range map[string]bool{
		"PREFECT_API_KEY": true, "PREFECT_API_AUTH_STRING": true, "DB_PASSWORD": true, "github_token": true, "AWS_SECRET_ACCESS_KEY": true,
		"AWS_SESSION_TOKEN": true, "aws_access_key_id": false, "PREFECT_API_URL": false, "prefect_api_key_secret_arn": false, "clientToken": false,
		"SECRET_NAME": false, "PATH": false, "SSH_PRIVATE_KEY": true, "PREFECT__FLOW_RUN_ID": false, "SENTRY_DSN": true,
	} {
		if got := SecretName(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestSecretsDoNotPrint: by no way of printing that is usual.
func TestSecretsDoNotPrint(t *testing.T) {
	env := EnvVar{Name: "DB_PASSWORD", Value: "hunter2"}
	job := Job{FlowRunID: "r", Env: []EnvVar{env}, Configuration: map[string]any{"password": "hunter2"}}
	var out bytes.Buffer
	for _, v := range []any{env, &env, []EnvVar{env}, job, &job, struct{ J Job }{job}} {
		fmt.Fprintf(&out, "%v %+v %#v %s\n", v, v, v, v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Error(out.String())
	}
	if got := fmt.Sprint(EnvVar{Name: "A", Value: "b"}, EnvVar{Name: "DB_PASSWORD"}); got != "A=b DB_PASSWORD=" {
		t.Errorf("%q", got)
	}
}
