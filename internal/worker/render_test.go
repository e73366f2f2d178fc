package worker

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"faber/internal/jobtemplate"
	"faber/internal/launch"
	"faber/internal/prefect"

	"github.com/google/go-cmp/cmp"
)

// TestJobKeepsTheWrittenOrder holds that names of the environment and of labels
// reach the launcher in the order in which they were written.
func TestJobKeepsTheWrittenOrder(t *testing.T) {
	inWorld(t, func(w *world, _ *Options) {
		w.api.pool.BaseJobTemplate = json.RawMessage(`{
			"job_configuration": {"env": {"T": "1", "B": "template"}, "labels": "{{ labels }}", "size": "{{ size }}"},
			"variables": {"type": "object", "properties": {"size": {"default": 1}, "env": {"default": {"D": "2"}}}}}`)
	}, func(w *world) {
		id := w.api.schedule("deployment-id")
		w.api.mu.Lock()
		w.api.runs[id].JobVariables = json.RawMessage(`{"env": {"Z": "3", "B": "run", "A": 1.50}, "labels": {"y": "1", "x": "2", "prefect.io/flow-name": "mine"}}`)
		w.api.mu.Unlock()
		w.after(15 * time.Second)
		job := w.launcher.allJobs()["pid-1"]
		var env []string
		for _, variable := range job.Env {
			env = append(env, variable.Name+"="+variable.Value)
		}
		want := []string{"T=1", "B=run", "D=2", "Z=3", "A=1.5"}
		if diff := cmp.Diff(want, env[max(0, len(env)-len(want)):]); diff != "" {
			t.Errorf("env (-want +got):\n%s", diff)
		}
		if n := len(job.LabelNames); n < 3 || !slices.Equal(job.LabelNames[n-2:], []string{"y", "x"}) || job.LabelNames[7] != "prefect.io/flow-name" {
			t.Errorf("labels %q", job.LabelNames)
		}
		if job.Labels["prefect.io/flow-name"] != "mine" || len(job.Labels) != len(job.LabelNames) {
			t.Errorf("labels %v, named %q", job.Labels, job.LabelNames)
		}
	})
}

// TestDeploymentUpdatedAsPythonWritesIt was recorded from Prefect's worker.
func TestDeploymentUpdatedAsPythonWritesIt(t *testing.T) {
	t.Parallel()
	for moment, want := range map[string]string{
		"2026-11-23T05:28:40.343282Z":      "2026-11-23T05:28:40.343282+00:00",
		"2026-11-23T05:28:40.500Z":         "2026-11-23T05:28:40.500000+00:00",
		"2026-11-23T05:28:40Z":             "2026-11-23T05:28:40+00:00",
		"2026-11-23T07:28:40.000001+02:00": "2026-11-23T05:28:40.000001+00:00",
		"lately":                           "lately",
	} {
		s := &submission{deployment: &prefect.Deployment{ID: "d", Name: "n", Updated: moment}}
		labels, _ := (&Worker{}).labels(s, launch.Pool{}, &jobtemplate.Resolved{})
		if got := labels["prefect.io/deployment-updated"]; got != want {
			t.Errorf("%s became %s, want %s", moment, got, want)
		}
	}
}
