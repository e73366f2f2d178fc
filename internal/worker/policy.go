package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"faber/internal/prefect"
)

// policy is what a deployment, or one of its runs, asks of the worker itself. It
// is read from the job variables, whatever the work pool's template knows of them.
type policy struct {
	maxLaunches int // how often a run is launched; 0 is the worker's own number
	// reschedule says that a run may begin anew when its capacity is taken away.
	reschedule bool
	maxRuntime time.Duration // from the run's start; 0 is none
	// memoryLadder is passed on to the launcher as it is written.
	memoryLadder any
}

// The job variables that make up a policy.
const (
	variableMaxLaunches  = "max_launches"
	variableReschedule   = "reschedule_on_interruption"
	variableMaxRuntime   = "max_runtime"
	variableMemoryLadder = "memory_ladder"
)

// policyOf reads a policy. The run's own variables come before its deployment's. The
// error names everything that is wrong with them.
func policyOf(run prefect.FlowRun, deployment *prefect.Deployment) (policy, error) {
	variables := map[string]any{}
	sources := []prefect.Document{run.JobVariables}
	if deployment != nil {
		sources = []prefect.Document{deployment.JobVariables, run.JobVariables}
	}
	for _, source := range sources {
		decoder := json.NewDecoder(bytes.NewReader(source))
		decoder.UseNumber()
		_ = decoder.Decode(&variables) // what is no object is told when the template is filled
	}
	p := policy{reschedule: true}
	var problems []error
	problem := func(name string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("job variable %s: %w", name, err))
		}
	}
	for name, value := range variables {
		if value == nil {
			continue
		}
		switch name {
		case variableMaxLaunches:
			n, err := readCount(value)
			p.maxLaunches = n
			problem(name, err)
		case variableReschedule:
			yes, ok := value.(bool)
			p.reschedule = yes
			if !ok {
				problem(name, fmt.Errorf("true or false is needed, not %v", value))
			}
		case variableMaxRuntime:
			d, err := readDuration(value)
			p.maxRuntime = d
			problem(name, err)
		case variableMemoryLadder:
			p.memoryLadder = value
		}
	}
	return p, errors.Join(problems...)
}

func readCount(value any) (int, error) {
	n, err := strconv.Atoi(fmt.Sprint(value))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("a whole number of 1 or more is needed, not %v", value)
	}
	return n, nil
}

// readDuration reads seconds, or a text like "1h30m".
func readDuration(value any) (time.Duration, error) {
	text := fmt.Sprint(value)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		text = strconv.FormatFloat(seconds, 'f', -1, 64) + "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("seconds, or a duration like \"1h30m\", of at least a second is needed, not %v", value)
	}
	return d, nil
}

// launches is how often a run is launched at most.
func (w *Worker) launches(p policy) int {
	if p.maxLaunches > 0 {
		return p.maxLaunches
	}
	return w.opts.MaxLaunches
}

// policyFor reads the policy of a run whose deployment may have to be read first. A
// deployment that is gone, or says nonsense by now, asks for nothing.
func (w *Worker) policyFor(run prefect.FlowRun, deployment *prefect.Deployment) policy {
	p, err := policyOf(run, deployment)
	if err != nil {
		w.log.Warn("A flow run's job variables are not obeyed", "flow_run", run.ID, "error", err)
	}
	return p
}
