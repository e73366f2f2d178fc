package ecs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"faber/internal/launch"
)

func TestSpotLaunches(t *testing.T) {
	spot := set("FARGATE_SPOT", "task_run_request", "launchType")
	strategy := func(providers ...string) func(map[string]any) {
		var list []any
		for _, provider := range providers {
			list = append(list, map[string]any{"capacityProvider": provider, "weight": 1.0})
		}
		return set(list, "task_run_request", "capacityProviderStrategy")
	}
	clusters := func(kinds ...any) func(map[string]any) {
		return func(c map[string]any) {
			set(kinds, "task_definition", "requiresCompatibilities")(c)
			set("awsvpc", "task_definition", "networkMode")(c)
			set("1024", "task_definition", "cpu")(c)
			set("2048", "task_definition", "memory")(c)
			set("", "task_run_request", "launchType")(c)
		}
	}
	templated := set([]any{map[string]any{"environment": []any{map[string]any{"name": envSigterm, "value": "reschedule"}}}}, "task_run_request", "overrides", "containerOverrides")
	defined := set([]any{map[string]any{"name": "prefect", "environment": []any{map[string]any{"name": envSigterm, "value": "crash"}}}}, "task_definition", "containerDefinitions")
	again, last := launch.Attempt{Number: 1, Rescheduled: true}, launch.Attempt{Number: 3, Last: true}
	for _, tt := range []struct {
		name    string
		attempt launch.Attempt
		changes []func(map[string]any)
		env     []launch.EnvVar
		sigterm string
		where   []any // launch type and strategy
	}{
		{"not rescheduled", launch.Attempt{Number: 1}, []func(map[string]any){spot}, nil, "", []any{nil, spots("FARGATE_SPOT")}},
		{"rescheduled", again, []func(map[string]any){spot}, nil, "relinquish", []any{nil, spots("FARGATE_SPOT")}},
		{"on demand", again, nil, nil, "", []any{"FARGATE", nil}},
		{"one Spot among others", again, []func(map[string]any){strategy("FARGATE", "FARGATE_SPOT")}, nil, "relinquish", []any{nil, spots("FARGATE", "FARGATE_SPOT")}},
		{"a strategy without Spot", again, []func(map[string]any){strategy("FARGATE", "mine")}, nil, "", []any{nil, spots("FARGATE", "mine")}},
		{"the cluster decides", again, []func(map[string]any){clusters("EC2", "FARGATE")}, nil, "relinquish", []any{nil, nil}},
		{"the cluster decides, and Fargate is out of the question", again, []func(map[string]any){clusters("EC2")}, nil, "", []any{nil, nil}},
		{"the job sets it", again, []func(map[string]any){spot}, []launch.EnvVar{{Name: envSigterm, Value: ""}}, "=", []any{nil, spots("FARGATE_SPOT")}},
		{"the template sets it", again, []func(map[string]any){spot, templated}, nil, "reschedule", []any{nil, spots("FARGATE_SPOT")}},
		{"the definition sets it", again, []func(map[string]any){spot, defined}, nil, "", []any{nil, spots("FARGATE_SPOT")}},
		{"the last", last, []func(map[string]any){spot}, nil, "", []any{"FARGATE", nil}},
		{"the last of a strategy", last, []func(map[string]any){strategy("FARGATE", "FARGATE_SPOT")}, nil, "", []any{"FARGATE", nil}},
		{"the last, elsewhere", last, []func(map[string]any){strategy("mine")}, nil, "", []any{nil, spots("mine")}},
		{"the last, and the cluster decides", last, []func(map[string]any){clusters("EC2", "FARGATE")}, nil, "", []any{nil, nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeAWS(t)
			job := testJob(tt.changes...)
			job.Attempt, job.Env = tt.attempt, append(job.Env, tt.env...)
			lines := logTo(&job)
			l := newLauncher(t, f)
			if err := l.Check(job); err != nil {
				t.Fatal(err)
			}
			mustLaunch(t, l, job)
			request := f.Bodies("RunTask")[0]
			if diff := cmp.Diff(tt.where, []any{request["launchType"], request["capacityProviderStrategy"]}); diff != "" {
				t.Error(diff)
			}
			got, there := f.Tasks()[0].Env("prefect")[envSigterm]
			if want := strings.TrimPrefix(tt.sigterm, "="); got != want || there != (tt.sigterm != "") {
				t.Errorf("%s is %q", envSigterm, got)
			}
			left := tt.attempt.Last && request["launchType"] == "FARGATE"
			if said := strings.Contains(lines(), "goes to FARGATE instead of FARGATE_SPOT"); said != left {
				t.Errorf("the log says:\n%s", lines())
			}
		})
	}
}

func spots(providers ...string) []any {
	var list []any
	for _, provider := range providers {
		list = append(list, map[string]any{"capacityProvider": provider, "weight": 1.0})
	}
	return list
}
