package worker

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"faber/internal/prefect"
)

// followGap is how far apart two events may be for one to name the other.
const followGap = 5 * time.Minute

// emit sends one of the worker's own events; follows may be empty.
func (w *Worker) emit(name string, related []prefect.Resource, follows prefect.Event) prefect.Event {
	if w.opts.Events == nil {
		return prefect.Event{}
	}
	event := prefect.Event{
		Event: name, Occurred: time.Now().UTC(), Related: related, Payload: map[string]any{},
		Resource: prefect.Resource{
			"prefect.resource.id":   w.resourceID(),
			"prefect.resource.name": w.name,
			"prefect.version":       prefect.Version,
			"prefect.worker-type":   w.launcher.Type(),
		},
	}
	if follows.ID != "" && event.Occurred.Sub(follows.Occurred).Abs() < followGap {
		event.Follows = &follows.ID
	}
	return w.opts.Events.Emit(event)
}

func (w *Worker) poolResource() []prefect.Resource {
	view := w.pool.Load()
	if view == nil {
		return nil
	}
	return []prefect.Resource{resource("work-pool", view.pool.ID, view.pool.Name)}
}

func resource(role, id, name string) prefect.Resource {
	return prefect.Resource{
		"prefect.resource.id":   "prefect." + role + "." + id,
		"prefect.resource.role": role,
		"prefect.resource.name": name,
	}
}

func (w *Worker) emitStarted() {
	started := w.emit("prefect.worker.started", w.poolResource(), prefect.Event{})
	w.started.Store(&started)
}

func (w *Worker) emitStopped() {
	if started := w.started.Load(); started != nil {
		w.emit("prefect.worker.stopped", w.poolResource(), *started)
	}
}

func (w *Worker) emitSubmitted(s *submission) prefect.Event {
	return w.emit("prefect.worker.submitted-flow-run", w.related(s.run, s.flow, s.deployment, nil), prefect.Event{})
}

// executedAtLaunch reports when a run's infrastructure counts as executed.
// Prefect's worker does not wait for infrastructure that lives on without it: it
// says so right after the launch, with status code 0, and automations hang on
// that. A child is executed when it has ended.
func (w *Worker) executedAtLaunch() bool { return w.launcher.Type() != "process" }

// emitEnded tells, once, that infrastructure was executed which counts as that
// when it has ended. The code is the run's own word for it, if there is one.
func (w *Worker) emitEnded(ctx context.Context, a *attempt) {
	if w.executedAtLaunch() {
		return
	}
	a.executed.Do(func() {
		code := -1
		switch {
		case a.engineCode != nil:
			code = *a.engineCode
		case a.exit.Code != nil:
			code = *a.exit.Code
		}
		w.emitExecuted(ctx, a, code)
	})
}

// emitExecuted tells that the infrastructure of a run was executed.
func (w *Worker) emitExecuted(ctx context.Context, a *attempt, code int) {
	if w.opts.Events == nil {
		return
	}
	if a.flow.ID == "" { // adopted: what the submission would have known is read now
		timed, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		a.flow, _ = w.api.ReadFlow(timed, a.run.FlowID) // an event with less in it is still an event
		if a.run.DeploymentID != "" {
			if d, err := w.api.ReadDeployment(timed, a.run.DeploymentID); err == nil {
				a.deployment = &d
			}
		}
	}
	w.emit("prefect.worker.executed-flow-run", w.related(a.run, a.flow, a.deployment, prefect.Resource{
		"prefect.infrastructure.identifier":  a.handle.PID,
		"prefect.infrastructure.status-code": strconv.Itoa(code),
	}), a.submitted)
}

// related lists what an event about a run concerns, in Prefect's order.
func (w *Worker) related(run prefect.FlowRun, flow prefect.Flow, deployment *prefect.Deployment, infrastructure prefect.Resource) []prefect.Resource {
	var all []prefect.Resource
	tags := slices.Concat(run.Tags, flow.Tags)
	if deployment != nil {
		all = append(all, deploymentResource(deployment))
		tags = append(tags, deployment.Tags...)
	}
	all = append(all, resource("flow", run.FlowID, flow.Name))
	flowRun := resource("flow-run", run.ID, run.Name)
	maps.Copy(flowRun, infrastructure)
	all = append(all, flowRun)
	slices.Sort(tags)
	for _, tag := range slices.Compact(tags) {
		all = append(all, prefect.Resource{"prefect.resource.id": "prefect.tag." + tag, "prefect.resource.role": "tag"})
	}
	return append(all, w.poolResource()...)
}

// deploymentResource names a deployment, and where it comes from if that is known.
func deploymentResource(d *prefect.Deployment) prefect.Resource {
	r := resource("deployment", d.ID, d.Name)
	set := func(label, prefix, value string) {
		if value != "" {
			r["prefect.deployment."+label] = prefix + value
		}
	}
	set("branch", "", d.Branch)
	set("base", "prefect.deployment.", d.Base)
	set("root", "prefect.deployment.", d.Root)
	if d.VersionID != "" && d.VersionInfo != nil {
		set("version-id", "", d.VersionID)
		set("version-type", "", d.VersionInfo.Type)
		set("version", "", d.VersionInfo.Version)
	}
	return r
}
