//go:build integration

package modulecheck

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"faber/internal/infra"
)

// everythingOn are the inputs of examples/complete with which each part of the
// stack is made. Names and ids are made up: planning reads the account's zones and
// nothing else.
var everythingOn = infra.Vars{
	"name":               "data",
	"region":             "us-east-1",
	"work_pool_name":     "fargate",
	"image":              "123456789012.dkr.ecr.us-east-1.amazonaws.com/data/worker@sha256:" + digest,
	"nat_mode":           "per_az",
	"secret_value_ready": true,
	"check_secret_keys":  false, // it reads a secret, and there is none yet
	"secret_reader_arns": []string{"arn:aws:iam::123456789012:role/platform-*"},
	"enable_autoscaling": true,
	"alarm_emails":       []string{"platform@example.org"},
	// An existing key: the ARN of one that is yet to be made is not in the plan, and a
	// scanner then finds everything unencrypted.
	"kms_key_arn":      "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000003",
	"enable_flow_logs": true,
	"budget_emails":    []string{"platform@example.org"},
	"repository":       "example/platform",
	"state_bucket":     "data-state",
}

const digest = "0f2b4b1f1a0d4b0c9d3e4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8"

// completePlan is the plan of examples/complete into an empty account, made once
// for all tests of a run.
var completePlan = struct {
	once sync.Once
	data []byte
	err  error
}{}

// planComplete returns that plan, as JSON and parsed.
func planComplete(t *testing.T) ([]byte, *tfjson.Plan) {
	t.Helper()
	completePlan.once.Do(func() { completePlan.data, completePlan.err = planExample(t, "complete", everythingOn) })
	if completePlan.err != nil {
		t.Fatal(completePlan.err)
	}
	var plan tfjson.Plan
	if err := json.Unmarshal(completePlan.data, &plan); err != nil {
		t.Fatal(err)
	}
	return completePlan.data, &plan
}

func planExample(t *testing.T, name string, vars infra.Vars) ([]byte, error) {
	ctx := t.Context()
	// A variable file may name what the example does not know, which Terraform warns of.
	for given := range vars {
		if !slices.ContainsFunc(readModule(t, filepath.Join(moduleDir, "examples", name)).inputs, func(in input) bool { return in.name == given }) {
			t.Errorf("examples/%s has no variable %s", name, given)
		}
	}
	endpoint, stop, err := emulator(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(moduleDir)); err != nil {
		return nil, err
	}
	environ := append(os.Environ(), "AWS_ENDPOINT_URL="+endpoint, "AWS_ACCESS_KEY_ID=123456789012", "AWS_SECRET_ACCESS_KEY=emulated", "AWS_EC2_METADATA_DISABLED=true")
	found, err := infra.Find(ctx, infra.FindOptions{Environ: environ})
	if err != nil {
		return nil, err
	}
	s, err := infra.Open(infra.Options{Dir: filepath.Join(root, "examples", name), Terraform: found.Path, Environ: environ})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.Init(ctx); err != nil {
		return nil, err
	}
	plan, err := s.Plan(ctx, infra.PlanOptions{Vars: vars})
	if err != nil {
		return nil, err
	}
	var out, complaints bytes.Buffer
	code, err := s.Exec(ctx, infra.ExecOptions{Args: []string{"show", "-json", plan.File}, Out: &out, Err: &complaints})
	if err != nil || code != 0 {
		return nil, fmt.Errorf("terraform show: exit code %d: %w\n%s", code, err, &complaints)
	}
	return out.Bytes(), nil
}

// emulator returns an AWS to plan against: the one that FABER_TEST_AWS_ENDPOINT
// names, else moto alone on the loopback interface, which is enough for a plan.
func emulator(ctx context.Context) (endpoint string, stop func(), err error) {
	if endpoint := os.Getenv("FABER_TEST_AWS_ENDPOINT"); endpoint != "" {
		return endpoint, func() {}, nil
	}
	python := os.Getenv("FABER_TEST_MINISTACK")
	if python == "" {
		return "", nil, fmt.Errorf("FABER_TEST_MINISTACK is not set: it names the Python that has moto, .dev/cache/python-aws/bin/python after `make tools`")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return "", nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command(python, "-m", "moto.server", "-H", "127.0.0.1", "-p", port)
	var out bytes.Buffer
	server.Stdout, server.Stderr = &out, &out
	server.WaitDelay = time.Second
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // a busy machine
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/moto-api/", nil)
		if err != nil {
			stop()
			return "", nil, err
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			_ = answer.Body.Close()
			return "http://" + address, stop, nil
		}
		select {
		case <-ctx.Done():
			stop()
			return "", nil, fmt.Errorf("moto does not answer: %w\n%s", ctx.Err(), &out)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
