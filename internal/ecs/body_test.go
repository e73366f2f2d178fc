package ecs

import (
	"testing"

	"faber/internal/fake/fakeaws"

	"github.com/google/go-cmp/cmp"
)

// What the SDK sends again after an error is our own body, too.
func TestBodyIsSentAgain(t *testing.T) {
	f := newFakeAWS(t)
	f.Fail("RunTask", fakeaws.Fault{Status: 500, Code: "ServerException"})
	strategy := []any{map[string]any{"capacityProvider": "mine", "weight": 0, "base": 0}}
	mustLaunch(t, newLauncher(t, f), testJob(set(strategy, "task_run_request", "capacityProviderStrategy")))
	sent := f.Bodies("RunTask")
	if len(sent) != 2 {
		t.Fatalf("%d calls", len(sent))
	}
	want := []any{map[string]any{"capacityProvider": "mine", "weight": 0.0, "base": 0.0}}
	for _, body := range sent {
		if diff := cmp.Diff(any(want), body["capacityProviderStrategy"]); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(sent[0], sent[1]); diff != "" {
		t.Error(diff)
	}
}
