package dev

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"faber/internal/image"
)

// RunOptions say which sample flow is run, and how.
type RunOptions struct {
	Flow         string         // name of a sample flow: "hello"
	Parameters   map[string]any // of the flow
	JobVariables map[string]any // of the run
	Deployment   string         // name of the deployment; "" means "demo"
	Patience     time.Duration  // how long to wait for a final state
}

// Run is a flow run that reached a final state, or did not in time.
type Run struct {
	ID      string
	Name    string
	State   string // name of the last state
	Message string // of the last state
	Pool    string
	PID     string // infrastructure_pid
	Phases  []Phase
}

// TaskARN is the ECS task of the run, "" when none was started.
func (r Run) TaskARN() string {
	_, arn, _ := strings.Cut(r.PID, "::")
	return arn
}

// Phase is the time between two states.
type Phase struct {
	From, To string
	Took     time.Duration
}

// runState is a state in a run's history.
type runState struct {
	Type      string    `json:"type"`
	Name      string    `json:"name"`
	Message   string    `json:"message"`
	Timestamp time.Time `json:"timestamp"`
}

// final state types; see the state types of Prefect's API.
func (s runState) final() bool {
	switch s.Type {
	case "COMPLETED", "FAILED", "CRASHED", "CANCELLED":
		return true
	default:
		return false
	}
}

// RunFlow runs a sample flow on the stack's emulated Fargate and follows it to
// its end.
func RunFlow(ctx context.Context, l Layout, o RunOptions, steps *Steps) (Run, error) {
	state, err := LoadState(l)
	if errors.Is(err, ErrNoStack) {
		return Run{}, notUp(l)
	}
	if err != nil {
		return Run{}, err
	}
	api := newPrefectAPI(state)
	var run Run
	err = steps.Run(ctx, "deployment", func(ctx context.Context, step *Step) error {
		deployment, err := api.ensureDeployment(ctx, o)
		if err != nil {
			return err
		}
		run, err = api.createRun(ctx, deployment, o)
		step.Done("%s/%s, flow run %s", o.Flow, o.deployment(), run.Name)
		return err
	})
	if err != nil {
		return run, err
	}
	err = steps.Run(ctx, "flow run", func(ctx context.Context, step *Step) error {
		err := api.follow(ctx, &run, o.Patience, step)
		step.Done("%s %s", run.Name, run.State)
		return err
	})
	return run, err
}

func notUp(l Layout) error {
	return &Problem{
		Message: "the stack " + l.Name + " is not up",
		Hint:    "run 'faber dev up' first",
	}
}

func (o RunOptions) deployment() string {
	if o.Deployment == "" {
		return "demo"
	}
	return o.Deployment
}

// ensureDeployment makes the flow's deployment; making it again updates it.
func (a *prefectAPI) ensureDeployment(ctx context.Context, o RunOptions) (string, error) {
	flows, err := readFlows()
	if err != nil {
		return "", err
	}
	if flows[o.Flow+".py"] == nil {
		return "", &Problem{Message: fmt.Sprintf("there is no sample flow %q", o.Flow), Hint: "there are: hello, sleep"}
	}
	var flow, deployment struct {
		ID string `json:"id"`
	}
	if err := a.call(ctx, http.MethodPost, "/flows/", map[string]any{"name": o.Flow}, &flow); err != nil {
		return "", err
	}
	err = a.call(ctx, http.MethodPost, "/deployments/", map[string]any{
		"name":           o.deployment(),
		"flow_id":        flow.ID,
		"work_pool_name": PoolName,
		"entrypoint":     o.Flow + ".py:" + o.Flow,
		"path":           image.FlowsDir,
		"pull_steps": []any{map[string]any{
			"prefect.deployments.steps.set_working_directory": map[string]any{"directory": image.FlowsDir},
		}},
		"enforce_parameter_schema": false,
	}, &deployment)
	return deployment.ID, err
}

func (a *prefectAPI) createRun(ctx context.Context, deployment string, o RunOptions) (Run, error) {
	body := map[string]any{"state": map[string]any{"type": "SCHEDULED"}}
	if o.Parameters != nil {
		body["parameters"] = o.Parameters
	}
	if o.JobVariables != nil {
		body["job_variables"] = o.JobVariables
	}
	var made struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	err := a.call(ctx, http.MethodPost, "/deployments/"+deployment+"/create_flow_run", body, &made)
	return Run{ID: made.ID, Name: made.Name, Pool: PoolName}, err
}

// follow waits for a final state and fills in what is known of the run.
func (a *prefectAPI) follow(ctx context.Context, run *Run, patience time.Duration, step *Step) error {
	deadline, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		states, err := a.states(deadline, run.ID)
		if err == nil && len(states) > 0 {
			last := states[len(states)-1]
			run.State, run.Message, run.Phases = last.Name, last.Message, phases(states)
			step.Note("%s", last.Name)
			if last.final() {
				return a.finish(ctx, run, last)
			}
		}
		select {
		case <-tick.C:
		case <-deadline.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &Problem{
				Message: fmt.Sprintf("the flow run %s is %s after %s", run.Name, run.State, patience),
				Hint:    "look at 'faber dev status' and 'faber dev logs worker'",
			}
		}
	}
}

func (a *prefectAPI) finish(ctx context.Context, run *Run, last runState) error {
	var flowRun struct {
		PID string `json:"infrastructure_pid"`
	}
	if err := a.call(ctx, http.MethodGet, "/flow_runs/"+run.ID, nil, &flowRun); err != nil {
		return err
	}
	run.PID = flowRun.PID
	if last.Type != "COMPLETED" {
		return &Problem{
			Message: fmt.Sprintf("the flow run %s ended %s: %s", run.Name, last.Name, last.Message),
			Hint:    "its log is on Prefect's page; the worker's is 'faber dev logs worker'",
		}
	}
	return nil
}

func (a *prefectAPI) states(ctx context.Context, id string) ([]runState, error) {
	var states []runState
	err := a.call(ctx, http.MethodGet, "/flow_run_states/?flow_run_id="+id, nil, &states)
	return states, err
}

func phases(states []runState) []Phase {
	list := make([]Phase, 0, len(states))
	for i := 1; i < len(states); i++ {
		list = append(list, Phase{
			From: states[i-1].Name,
			To:   states[i].Name,
			Took: states[i].Timestamp.Sub(states[i-1].Timestamp),
		})
	}
	return list
}
