package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"faber/internal/jobtemplate"
	"faber/internal/launch"
	"faber/internal/prefect"
)

// render makes the job of a claimed run: the pool's template as it is now,
// filled with the variables of deployment and run. An error is a
// *jobtemplate.Problems when somebody must correct something, else trouble with
// the API.
func (w *Worker) render(ctx context.Context, s *submission) (launch.Job, error) {
	view := w.pool.Load()
	if view.err != nil {
		return launch.Job{}, view.err
	}
	err := persist(ctx, claimTries, func() (err error) {
		s.flow, err = w.api.ReadFlow(ctx, s.run.FlowID)
		return err
	})
	if err != nil {
		return launch.Job{}, err
	}
	input := jobtemplate.Input{
		Run: s.run.JobVariables, Env: w.opts.Env, Source: source{w.api},
		Context: map[string]any{"flow": s.flow.Raw, "flow_run": s.run.Raw},
	}
	if s.deployment != nil {
		input.Deployment = s.deployment.JobVariables
	}
	var resolved *jobtemplate.Resolved
	err = persist(ctx, claimTries, func() (err error) {
		resolved, err = view.template.Resolve(ctx, input)
		return err
	})
	if err != nil {
		return launch.Job{}, err
	}
	if s.policy, err = policyOf(s.run, s.deployment); err != nil {
		return launch.Job{}, err
	}
	if _, known := resolved.Configuration[variableMemoryLadder]; !known && s.policy.memoryLadder != nil {
		resolved.Configuration[variableMemoryLadder] = s.policy.memoryLadder
	}
	pool := view.launchPool()
	runID := s.run.ID
	labels, labelNames := w.labels(s, pool, resolved)
	job := launch.Job{
		FlowRunID: runID, FlowRunName: s.run.Name, ClaimID: s.claim.ID, FlowID: s.run.FlowID,
		DeploymentID: s.run.DeploymentID, Pool: pool, WorkQueue: cmp.Or(s.run.WorkQueueID, s.run.WorkQueueName), WorkerName: w.name, Attempt: w.attemptOf(s),
		Configuration: resolved.Configuration, Document: resolved.Document, Command: resolved.Command,
		Env: w.environment(s, resolved), Labels: labels, LabelNames: labelNames,
		Log: func(level slog.Level, message string) { w.runLog(runID, level, "%s", message) },
	}
	w.opts.Learn(job)
	return job, nil
}

// attemptOf says which launch of the run this is.
func (w *Worker) attemptOf(s *submission) launch.Attempt {
	h := pastOf(s.states, time.Now())
	last := h.launches+1 >= w.launches(s.policy)
	return launch.Attempt{
		Number: h.launches + 1, Last: last, OutOfMemory: h.outOfMemory,
		Rescheduled: !last && s.policy.reschedule && s.run.DeploymentID != "",
	}
}

// environment is the run's complete environment, lowest first: the worker's own
// settings, what names the run, what is configured. A name keeps the place where
// it came first; a null takes it away wherever it came from.
func (w *Worker) environment(s *submission, resolved *jobtemplate.Resolved) []launch.EnvVar {
	all := append([]launch.EnvVar(nil), w.opts.Settings()...)
	add := func(name, value string) { all = append(all, launch.EnvVar{Name: name, Value: value}) }
	add("PREFECT__FLOW_RUN_ID", s.run.ID)
	if id := w.opts.WorkerID(); id != "" {
		add("PREFECT__WORKER_ID", id)
	}
	add("PREFECT__WORKER_NAME", w.name)
	add("PREFECT__FLOW_ID", s.run.FlowID)
	add("PREFECT__FLOW_NAME", s.flow.Name)
	if s.deployment != nil {
		add("PREFECT__DEPLOYMENT_ID", s.deployment.ID)
		add("PREFECT__DEPLOYMENT_NAME", s.deployment.Name)
	}
	ofRun := variablesOf(s.run.JobVariables)
	for _, v := range resolved.Env {
		all = append(all, launch.EnvVar{Name: v.Name, Value: v.Value, OfRun: ofRun[v.Name]})
	}
	unset := make(map[string]bool)
	for _, name := range resolved.Unset {
		unset[name] = true
	}
	place := make(map[string]int)
	env := all[:0]
	for _, v := range all {
		if unset[v.Name] {
			continue
		}
		if i, known := place[v.Name]; known {
			env[i] = v
			continue
		}
		place[v.Name] = len(env)
		env = append(env, v)
	}
	return env
}

// variablesOf are the environment variables that job variables set.
func variablesOf(jobVariables prefect.Document) map[string]bool {
	var of struct {
		Env map[string]json.RawMessage `json:"env"`
	}
	names := map[string]bool{}
	if json.Unmarshal(jobVariables, &of) == nil { // else rendering has said so
		for name := range of.Env {
			names[name] = true
		}
	}
	return names
}

// labels are the labels of a run's infrastructure, and their names in the order of
// Prefect's worker. A configured label takes the place of Prefect's.
func (w *Worker) labels(s *submission, pool launch.Pool, resolved *jobtemplate.Resolved) (labels map[string]string, names []string) {
	labels = map[string]string{}
	add := func(name, value string) {
		if _, known := labels[name]; !known {
			names = append(names, name)
		}
		labels[name] = value
	}
	add("prefect.io/flow-run-id", s.run.ID)
	add("prefect.io/flow-run-name", s.run.Name)
	add("prefect.io/version", prefect.Version)
	add("prefect.io/work-pool-name", pool.Name)
	add("prefect.io/work-pool-id", pool.ID)
	add("prefect.io/worker-name", w.name)
	add("prefect.io/flow-id", s.run.FlowID)
	add("prefect.io/flow-name", s.flow.Name)
	if s.deployment != nil {
		add("prefect.io/deployment-id", s.deployment.ID)
		add("prefect.io/deployment-name", s.deployment.Name)
		if s.deployment.Updated != "" {
			add("prefect.io/deployment-updated", isoFormat(s.deployment.Updated))
		}
	}
	for _, name := range resolved.LabelNames {
		add(name, resolved.Labels[name])
	}
	return labels, names
}

// isoFormat writes a moment of the API as Python's isoformat does in UTC: with six
// digits of a second or none. What is no moment stays as it is.
func isoFormat(moment string) string {
	at, err := time.Parse(time.RFC3339Nano, moment)
	if err != nil {
		return moment
	}
	layout := "2006-01-02T15:04:05.000000-07:00"
	if at.Truncate(time.Microsecond).Nanosecond() == 0 {
		layout = "2006-01-02T15:04:05-07:00"
	}
	return at.UTC().Format(layout)
}

// source reads blocks and variables for the template.
type source struct{ api API }

func (s source) BlockDocument(ctx context.Context, id string) (map[string]any, error) {
	data, err := s.api.BlockDocument(ctx, id)
	return data, sourceError(err)
}

func (s source) BlockDocumentByName(ctx context.Context, slug, name string) (map[string]any, error) {
	data, err := s.api.BlockDocumentByName(ctx, slug, name)
	return data, sourceError(err)
}

func (s source) Variable(ctx context.Context, name string) (any, error) {
	value, err := s.api.Variable(ctx, name)
	return value, sourceError(err)
}

func sourceError(err error) error {
	if errors.Is(err, prefect.ErrNotFound) {
		return jobtemplate.ErrNotFound
	}
	return err
}
