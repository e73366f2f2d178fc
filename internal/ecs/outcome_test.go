package ecs

import (
	"errors"
	"testing"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

// What AWS says last must not hide that an earlier try may have started a task.
func TestOutcomeOfLaunchesThatFail(t *testing.T) {
	throttled := fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded", Times: -1}
	for name, tt := range map[string]struct {
		faults  []fakeaws.Fault
		kind    launch.FailureKind
		unknown bool
	}{
		"throttled":             {[]fakeaws.Fault{throttled}, launch.FailureRetry, false},
		"lost, then throttled":  {[]fakeaws.Fault{{Lost: true}, throttled}, launch.FailureRetry, true},
		"server's fault":        {[]fakeaws.Fault{{Status: 500, Code: "ServerException", Times: -1}}, launch.FailureRetry, true},
		"refused":               {[]fakeaws.Fault{{Code: "AccessDeniedException", Message: "no", Times: -1}}, launch.FailurePermanent, false},
		"lost, then refused":    {[]fakeaws.Fault{{Lost: true}, {Code: "AccessDeniedException", Message: "no", Times: -1}}, launch.FailurePermanent, true},
		"before it was to run":  {nil, launch.FailureRetry, false},
		"cut before its effect": {[]fakeaws.Fault{{Dropped: true, Times: -1}}, launch.FailureRetry, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAWS(t)
			if tt.faults == nil {
				f.Fail("RegisterTaskDefinition", fakeaws.Fault{Status: 500, Code: "ServerException", Times: -1})
			}
			f.Fail("RunTask", tt.faults...)
			l := newLauncher(t, f, func(o *Options) { o.patience = 1 })
			_, err := l.Launch(t.Context(), testJob())
			var failure *launch.Failure
			if !errors.As(err, &failure) || failure.Kind != tt.kind || failure.Unknown != tt.unknown {
				t.Errorf("failure %+v", failure)
			}
		})
	}
}
