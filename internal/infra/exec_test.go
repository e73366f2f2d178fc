package infra

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestExecHandsVariablesOver(t *testing.T) {
	f := newFake(t)
	s := f.open(Options{})
	code, err := s.Exec(t.Context(), ExecOptions{
		Args: []string{"state", "list"},
		Vars: Vars{"name": "data", "count": 2, "tags": map[string]string{"a": "b"}, "prefect_credentials": map[string]string{"prefect_api_key": canary}},
	})
	if err != nil || code != 0 {
		t.Fatalf("exit code %d: %v", code, err)
	}
	call := f.calls("state")[0]
	for _, want := range []string{"TF_VAR_name=data", "TF_VAR_count=2", `TF_VAR_tags={"a":"b"}`, `TF_VAR_prefect_credentials={"prefect_api_key":"` + canary + `"}`} {
		if !slices.Contains(call.Environ, want) {
			t.Errorf("%s is not in the environment", want)
		}
	}
	if strings.Contains(strings.Join(call.Argv, " "), canary) {
		t.Errorf("the secret is an argument: %q", call.Argv)
	}
}

func TestExecExitCode(t *testing.T) {
	f := newFake(t)
	var out bytes.Buffer
	s := f.open(Options{})
	code, err := s.Exec(t.Context(), ExecOptions{Args: []string{"plan"}, Out: &out})
	if err != nil || code != 2 || !strings.Contains(out.String(), "Plan: 1 to add") {
		t.Errorf("exit code %d, output %q: %v", code, &out, err)
	}
}

func TestExecCancel(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := f.open(Options{Environ: f.environ(fakeHang + "=console")})
	_, err := s.Exec(ctx, ExecOptions{Args: []string{"console"}, Out: writerFunc(func(p []byte) (int, error) {
		cancel() // it runs and listens
		return len(p), nil
	})})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }
