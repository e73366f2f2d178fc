package ecs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"faber/internal/launch"
)

func block(fields map[string]any) func(map[string]any) { return set(fields, "aws_credentials") }

func TestCredentialsBlock(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	mustLaunch(t, l, testJob(block(map[string]any{
		"aws_access_key_id": "AKIABLOCK", "aws_secret_access_key": "s3cret", "aws_session_token": "session", "region_name": "us-west-2",
		"aws_client_parameters": map[string]any{"use_ssl": true, "verify": nil, "endpoint_url": f.URL, "config": nil},
	})))
	header := last(t, f, "RunTask").Header
	if got := header.Get("Authorization"); !strings.Contains(got, "Credential=AKIABLOCK/") || !strings.Contains(got, "/us-west-2/ecs/") {
		t.Errorf("signed as %q", got)
	}
	if header.Get("X-Amz-Security-Token") != "session" {
		t.Error("no session token")
	}
	mustLaunch(t, l, testJob(block(map[string]any{})))
	if got := last(t, f, "RunTask").Header.Get("Authorization"); !strings.Contains(got, "Credential=machine/") || !strings.Contains(got, "/eu-central-1/") {
		t.Errorf("an empty block is signed as %q", got)
	}
}

func TestAssumedRole(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	role := block(map[string]any{
		"assume_role_arn":    "arn:aws:iam::1:role/r",
		"assume_role_kwargs": map[string]any{"DurationSeconds": 900.0, "ExternalId": "ext", "Tags": []any{map[string]any{"Key": "k", "Value": "v"}}, "Policy": nil},
	})
	job := testJob(role)
	handle := mustLaunch(t, l, job)
	job.ClaimID = "next"
	mustLaunch(t, l, job)
	asked := f.Bodies("AssumeRole")
	if len(asked) != 1 {
		t.Fatalf("%d sessions for two launches", len(asked))
	}
	if asked[0]["RoleArn"] != "arn:aws:iam::1:role/r" || asked[0]["ExternalId"] != "ext" || asked[0]["DurationSeconds"] != "900" || asked[0]["Tags.member.1.Key"] != "k" {
		t.Errorf("asked %v", asked[0])
	}
	if name := stringField(asked[0], "RoleSessionName"); !strings.HasPrefix(name, "prefect-session-") || len(name) != 24 {
		t.Errorf("session name %q", name)
	}
	if _, err := l.Describe(t.Context(), []launch.Handle{handle}); err != nil {
		t.Fatal(err)
	}
	if got := last(t, f, "DescribeTasks").Header.Get("Authorization"); !strings.Contains(got, "Credential=assumed/") {
		t.Errorf("the task is looked at as %q", got)
	}
}

func TestParseCredentials(t *testing.T) {
	r := &reader{}
	got := parseCredentials(r, map[string]any{
		"profile_name": "p", "aws_client_parameters": map[string]any{"verify": false},
		"assume_role_arn": "arn", "assume_role_kwargs": map[string]any{"RoleSessionName": "n", "PolicyArns": []any{map[string]any{"arn": "a"}}, "TransitiveTagKeys": []any{"k"}, "TokenCode": "1"},
	})
	if len(r.problems) > 0 || got.Profile != "p" || !got.SkipVerify || *got.Role.RoleSessionName != "n" || *got.Role.PolicyArns[0].Arn != "a" || got.Role.TransitiveTagKeys[0] != "k" {
		t.Errorf("%+v, %v", got, r.problems)
	}
	r = &reader{}
	if parseCredentials(r, map[string]any{"aws_access_key_id": "only", "region_name": 5.0}); len(r.problems) != 2 {
		t.Errorf("problems %v", r.problems)
	}
	if strings.Contains(credentials{SecretAccessKey: "s3cret"}.key(), "s3cret") {
		t.Error("the key shows the secret")
	}
}

func TestCACertificates(t *testing.T) {
	if _, err := httpClient(credentials{CAFile: filepath.Join(t.TempDir(), "none.pem")}); err == nil {
		t.Error("a missing file passed")
	}
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := httpClient(credentials{CAFile: junk}); err == nil || !strings.Contains(err.Error(), "junk.pem") {
		t.Errorf("a file without certificates: %v", err)
	}
	client, err := httpClient(credentials{SkipVerify: true})
	if err != nil || !client.GetTransport().TLSClientConfig.InsecureSkipVerify || client.GetTimeout() != callTimeout {
		t.Errorf("%v, %v", client, err)
	}
	if callTimeout <= receiveWait+5*time.Second {
		t.Error("a long poll would time out")
	}
}
