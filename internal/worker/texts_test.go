package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"

	"github.com/google/go-cmp/cmp"
)

func TestWhatARunsLogTells(t *testing.T) {
	const by = "prefect.flow_runs.worker: "
	t.Run("of a child that fails", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) { w.launcher.typ, o.TailLines = "process", -1 }, func(w *world) {
			id, pid := w.running()
			w.launcher.end(pid, launch.Exit{Kind: launch.ExitNonZero, Code: code(7), Message: "Process exited with status code: 7. Process exited with an unexpected status code.", Hint: "Check."})
			w.after(time.Minute)
			name := w.api.run(id).Name
			want := []string{
				"INFO " + by + "Worker 'w1' submitting flow run '" + id + "'",
				"INFO " + by + "Flow run '" + name + "' submitted to infrastructure",
				"ERROR " + by + "Process exited with status code: 7. Process exited with an unexpected status code.",
				"INFO " + by + "Reported flow run '" + id + "' as crashed: Process exited with status code: 7. Process exited with an unexpected status code.",
				"INFO " + by + "Check.",
			}
			if diff := cmp.Diff(want, w.log.told(id)); diff != "" {
				t.Error(diff)
			}
			if got := w.api.last(id).Message; got != "Process exited with status code: 7. Process exited with an unexpected status code." {
				t.Errorf("message %q", got)
			}
		})
	})
	t.Run("of a child that was killed", func(t *testing.T) {
		inWorld(t, func(w *world, o *Options) { w.launcher.typ, o.TailLines = "process", -1 }, func(w *world) {
			id, pid := w.running()
			w.launcher.end(pid, launch.Exit{Kind: launch.ExitNonZero, Code: code(-9), Message: "Killed."})
			w.after(time.Minute)
			if told := w.log.told(id); !slices.Contains(told, "INFO "+by+"Killed.") {
				t.Errorf("told %q", told)
			}
		})
	})
	t.Run("of a task that fails", func(t *testing.T) {
		inWorld(t, func(w *world, _ *Options) { w.launcher.typ = "ecs" }, func(w *world) {
			id, pid := w.running()
			w.launcher.end(pid, launch.Exit{Kind: launch.ExitNonZero, Code: code(1), Message: "It stopped.", Hint: "Essential container exited: because."})
			w.after(time.Minute)
			told := w.log.told(id)
			want := []string{
				"ERROR prefect.flow_runs.observer: Essential container exited: because.",
				"INFO " + by + "Reported flow run '" + id + "' as crashed: It stopped.",
				"INFO prefect.flow_runs.observer: last words of " + pid,
			}
			for _, line := range want {
				if !slices.Contains(told, line) {
					t.Errorf("no %q in %q", line, told)
				}
			}
		})
	})
	for name, answer := range map[string]struct {
		status prefect.SetStateStatus
		state  prefect.StateType
		want   string
	}{
		"another worker was faster": {prefect.StatusAbort, prefect.StatePending, "Aborted submission of flow run '%s'. Server sent an abort signal: somebody did"},
		"no slot is free":           {prefect.StatusReject, prefect.StateScheduled, "Aborted submission of flow run '%s': Server returned a non-pending state 'SCHEDULED'"},
	} {
		t.Run("when "+name, func(t *testing.T) {
			inWorld(t, func(w *world, _ *Options) {
				w.api.answer = func(id string, _ prefect.State) *prefect.OrchestrationResult {
					r := &prefect.OrchestrationResult{Status: answer.status, State: &prefect.State{Type: answer.state}}
					r.Details.Reason = "somebody did"
					return r
				}
			}, func(w *world) {
				id := w.api.schedule("deployment-id")
				w.after(5 * time.Second)
				w.after(10 * time.Second)
				if told := w.log.told(id); !slices.Contains(told, "INFO "+by+fmt.Sprintf(answer.want, id)) {
					t.Errorf("told %q", told)
				}
			})
		})
	}
	t.Run("when the launch fails", func(t *testing.T) {
		inWorld(t, func(w *world, _ *Options) {
			w.launcher.launch = func(launch.Job, int) error {
				return &launch.Failure{Kind: launch.FailurePermanent, Message: "No such cluster", Hint: "Make one."}
			}
		}, func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(20 * time.Second)
			want := "ERROR " + by + "Failed to submit flow run '" + w.api.run(id).Name + "' to infrastructure.\nRuntimeError: No such cluster. Make one."
			if told := w.log.told(id); !slices.Contains(told, want) {
				t.Errorf("told %q", told)
			}
		})
	})
	t.Run("when no state can be proposed", func(t *testing.T) {
		inWorld(t, failing("SetFlowRunState/Pending", &prefect.StatusError{Code: 403}), func(w *world) {
			id := w.api.schedule("deployment-id")
			w.after(5 * time.Second)
			w.after(10 * time.Second)
			if told := w.log.told(id); !slices.ContainsFunc(told, func(line string) bool {
				return strings.HasPrefix(line, "ERROR "+by+"Failed to update state of flow run '"+id+"'")
			}) {
				t.Errorf("told %q", told)
			}
		})
	})
}

// cloudAPI is a fake API whose workers can be seen.
type cloudAPI struct{ *fakePrefect }

func (cloudAPI) WorkerURL(pool, id string) string { return "https://ui/" + pool + "/" + id }

func TestOnCloudTheLogNamesTheWorker(t *testing.T) {
	inWorld(t, func(w *world, o *Options) {
		o.API, o.WorkerID = cloudAPI{w.api}, func() string { return "w-id" }
	}, func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(20 * time.Second)
		want := "INFO prefect.flow_runs.worker: Running on worker id: w-id. See worker logs here: https://ui/pool/w-id"
		if told := w.log.told(id); len(told) < 2 || told[1] != want {
			t.Errorf("told %q", told)
		}
		// The worker's own lines go to the API, too, and those of runs not twice.
		own := w.log.told("")
		if !slices.Contains(own, "INFO prefect.workers.fake.w1: Worker 'w1' started!") {
			t.Errorf("own lines %q", own)
		}
		if slices.ContainsFunc(own, func(line string) bool { return strings.Contains(line, "submitting flow run") }) {
			t.Errorf("lines of runs among the worker's own: %q", own)
		}
	})
	t.Run("and elsewhere not", func(t *testing.T) {
		inWorld(t, nil, func(w *world) {
			w.after(time.Minute)
			if own := w.log.told(""); len(own) != 0 {
				t.Errorf("own lines %q", own)
			}
		})
	})
}

func TestOwnLogLines(t *testing.T) {
	log := &recorder{}
	known := false
	handler := &ownLog{Handler: slog.DiscardHandler, name: "n", known: func() bool { return known }, runLog: log}
	logger := slog.New(handler).With("a", 1).WithGroup("g")
	logger.Info("before there is an id")
	known = true
	logger.Warn("text", "b", "two")
	logger.Info("of a run", "logger", runLogger)
	if diff := cmp.Diff([]string{"WARN n: text a=1 b=two"}, log.told("")); diff != "" {
		t.Error(diff)
	}
}

// withClass is an error that knows Python's name for itself.
type withClass struct{ error }

func (withClass) Class() string { return "KeyError" }

func TestErrorsCarryPythonsNames(t *testing.T) {
	failure := func(message string, cause error) error {
		return &launch.Failure{Kind: launch.FailurePermanent, Message: message, Err: cause}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{failure("Failed to run ECS task: x", nil), "RuntimeError: Failed to run ECS task: x"},
		{failure("ValueError: x", nil), "ValueError: x"},
		{failure("x", withClass{errors.New("y")}), "KeyError: x"},
		{failure("Flow run could not start: x", nil), "Flow run could not start: x"},
		{withClass{errors.New("a\nb")}, "KeyError: a\nb"},
		{fmt.Errorf("read: %w", errNotFound), "ObjectNotFound: read: GET /: 404 Not Found"},
		{errDown, "PrefectHTTPStatusError: GET /: 500 Internal Server Error"},
		{fmt.Errorf("%w: no route", prefect.ErrUnreachable), "ConnectError: the Prefect API cannot be reached: no route"},
		{errors.New("size: must be a number"), "ValidationError: size: must be a number"},
	} {
		if got := pythonError(tt.err); got != tt.want {
			t.Errorf("%v became %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestAChildThatCouldNotStart(t *testing.T) {
	inWorld(t, func(w *world, _ *Options) {
		w.launcher.typ = "process"
		w.launcher.launch = func(launch.Job, int) error {
			return &launch.Failure{Kind: launch.FailurePermanent, Message: "Flow run could not start: [Errno 2] No such file or directory: 'x'"}
		}
	}, func(w *world) {
		id := w.api.schedule("deployment-id")
		w.after(20 * time.Second)
		if got := w.api.last(id).Message; got != "Flow run could not start: [Errno 2] No such file or directory: 'x'" {
			t.Errorf("message %q", got)
		}
	})
}

// explaining is a fake launcher that knows exit codes.
type explaining struct{ *fakeLauncher }

func (explaining) Explain(code int) (meaning, hint string) {
	return "?", fmt.Sprintf("About code %d.", code)
}

func TestTheExitCodeThatARunReportsOfItself(t *testing.T) {
	for message, want := range map[string]string{
		"Process exited with status code: 7. Process exited with an unexpected status code.": "7",
		"Process exited with status code: -9. Process exited due to a SIGKILL signal.":       "-9",
		"Flow run process was killed.": "0",
	} {
		inWorld(t, func(w *world, o *Options) {
			w.launcher.typ, o.Launcher = "process", explaining{w.launcher}
		}, func(w *world) {
			id, pid := w.running()
			w.api.mu.Lock()
			w.api.set(id, prefect.State{Type: prefect.StateCrashed, Name: "Crashed", Message: message})
			w.api.mu.Unlock()
			w.launcher.end(pid, cleanExit) // Prefect's command ends well when its engine did not
			w.after(time.Minute)
			executed := w.log.named("prefect.worker.executed-flow-run")
			explained := slices.Contains(w.log.told(id), "INFO prefect.flow_runs.worker: About code "+want+".")
			if explained != (want != "0") {
				t.Errorf("told %q", w.log.told(id))
			}
			if len(executed) != 1 || executed[0].Related[2]["prefect.infrastructure.status-code"] != want {
				t.Errorf("%s: events %v", message, executed)
			}
		})
	}
}

func TestWhereADeploymentComesFrom(t *testing.T) {
	got := deploymentResource(&prefect.Deployment{
		ID: "d", Name: "dep", Branch: "main", Base: "b", Root: "r", VersionID: "v", VersionInfo: &prefect.VersionInfo{Type: "git", Version: "abc"},
	})
	want := prefect.Resource{
		"prefect.resource.id": "prefect.deployment.d", "prefect.resource.role": "deployment", "prefect.resource.name": "dep",
		"prefect.deployment.branch": "main", "prefect.deployment.base": "prefect.deployment.b", "prefect.deployment.root": "prefect.deployment.r",
		"prefect.deployment.version-id": "v", "prefect.deployment.version-type": "git", "prefect.deployment.version": "abc",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := deploymentResource(&prefect.Deployment{ID: "d", Name: "dep"}); len(got) != 3 {
		t.Errorf("resource %v", got)
	}
}
