package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"faber/internal/infra"
	"faber/internal/prefect"
	"faber/internal/stack"

	"github.com/spf13/cobra"
)

const statusHelp = `
Tells how the stack in the folder is: the worker's ECS service and its tasks, the
worker and the work pool as Prefect sees them, and the latest flow runs of the pool.

Exit code 3 means that something is not as it should be: fewer tasks than asked for,
no worker ONLINE, a pool that is paused or has another template than the stack's.`

func newStatusCommand(std *IO) *cobra.Command {
	var f deployFlags
	var asJSON bool
	var runs int
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell how the stack is: service, tasks, worker, work pool, flow runs",
		Long:  strings.TrimSpace(statusHelp),
		Example: `  faber status
  faber status --dir production --json | jq .healthy`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			outputs, err := f.outputs(cmd.Context(), std)
			if err != nil {
				return err
			}
			deployed, err := deployedStack(cmd.Context(), outputs)
			if err != nil {
				return err
			}
			view := &statusView{Pool: poolView{Name: outputs.String("work_pool_name")}, now: time.Now()}
			view.askAWS(cmd.Context(), deployed)
			view.askPrefect(cmd.Context(), std, f.profile, outputs, runs)
			if cmd.Context().Err() != nil {
				return context.Cause(cmd.Context())
			}
			view.judge()
			if err := view.print(std.Out, asJSON); err != nil {
				return err
			}
			if !view.Healthy {
				return &silentExit{code: exitFindings}
			}
			return nil
		},
	}
	f.addTo(cmd)
	f.addProfileTo(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().IntVarP(&runs, "runs", "n", 5, "`number` of flow runs to list")
	return cmd
}

// statusView is what 'faber status' shows. Its JSON is an interface: fields may be
// added, and none is renamed or left out.
type statusView struct {
	Healthy  bool           `json:"healthy"`
	Service  *stack.Service `json:"service"`
	Tasks    []stack.Task   `json:"tasks"`
	Pool     poolView       `json:"work_pool"`
	Workers  []workerView   `json:"workers"`
	Runs     []runView      `json:"flow_runs"`
	Problems []string       `json:"problems"`

	now time.Time
}

type poolView struct {
	Name     string `json:"name"`
	Status   string `json:"status"`   // READY, NOT_READY, PAUSED; "" when it is not known
	Template string `json:"template"` // "stack", "other" or ""
}

type workerView struct {
	Name      string     `json:"name"`
	Status    string     `json:"status"`
	Heartbeat *time.Time `json:"last_heartbeat"`
}

type runView struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	State    string     `json:"state"`
	Expected *time.Time `json:"expected_start_time"`
	Started  *time.Time `json:"start_time"`
}

func (v *statusView) problem(format string, args ...any) {
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

// askAWS reads the service and its tasks. What cannot be read is a problem, and the
// rest is shown all the same.
func (v *statusView) askAWS(ctx context.Context, deployed *stack.Stack) {
	v.Tasks, v.Problems = []stack.Task{}, []string{}
	service, err := deployed.ReadService(ctx)
	if err != nil {
		v.problem("AWS: %s", err)
		return
	}
	v.Service = &service
	if service.Image, err = deployed.ReadImage(ctx, service.TaskDefinition); err != nil {
		v.problem("AWS: %s", err)
	}
	if v.Tasks, err = deployed.Tasks(ctx); err != nil {
		v.problem("AWS: %s", err)
	}
	if service.Running >= service.Desired {
		return
	}
	// Why the others do not run.
	stopped, err := deployed.StoppedTasks(ctx)
	if err == nil && len(stopped) > 0 {
		v.problem("task %s stopped: %s", short(stopped[0].ID), strings.TrimSuffix(stopped[0].Reason+". "+stopped[0].Hint, ". "))
	} else if len(service.Events) > 0 {
		v.problem("ECS says: %s", service.Events[0].Message)
	}
}

// askPrefect reads the pool, its workers and its latest runs.
func (v *statusView) askPrefect(ctx context.Context, std *IO, profile string, outputs infra.Outputs, runs int) {
	v.Workers, v.Runs = []workerView{}, []runView{}
	_, client, err := prefectAccess(ctx, std, profile, true, "the rest of the status is above")
	if err != nil {
		v.problem("Prefect: %s", err)
		return
	}
	defer client.Close()
	pool, err := client.ReadWorkPool(ctx, v.Pool.Name)
	switch {
	case errors.Is(err, prefect.ErrNotFound):
		v.problem("work pool %s does not exist; 'faber apply' creates it", v.Pool.Name)
		return
	case err != nil:
		v.problem("Prefect: %s", err)
		return
	}
	v.Pool.Status, v.Pool.Template = pool.Status, "stack"
	if len(differences(json.RawMessage(outputs.String("base_job_template")), pool.BaseJobTemplate)) > 0 {
		v.Pool.Template = "other"
	}
	if err := v.readWorkers(ctx, client); err != nil {
		v.problem("Prefect: %s", err)
	}
	if err := v.readRuns(ctx, client, pool.ID, runs); err != nil {
		v.problem("Prefect: %s", err)
	}
}

func (v *statusView) readWorkers(ctx context.Context, client *prefect.Client) error {
	workers, err := client.Workers(ctx, v.Pool.Name)
	for _, w := range workers {
		if w.Status == "ONLINE" { // those that are gone are legion
			v.Workers = append(v.Workers, workerView{Name: w.Name, Status: w.Status, Heartbeat: w.LastHeartbeat})
		}
	}
	return err
}

func (v *statusView) readRuns(ctx context.Context, client *prefect.Client, poolID string, limit int) error {
	if limit <= 0 {
		return nil
	}
	// Runs that are scheduled for later would fill the list.
	list, err := client.FilterFlowRuns(ctx, map[string]any{
		"work_pools": map[string]any{"id": map[string]any{"any_": []string{poolID}}},
		"flow_runs":  map[string]any{"expected_start_time": map[string]any{"before_": v.now.UTC().Format(time.RFC3339Nano)}},
		"sort":       "EXPECTED_START_TIME_DESC",
		"limit":      limit,
	})
	for _, run := range list {
		v.Runs = append(v.Runs, runView{ID: run.ID, Name: run.Name, State: run.StateName, Expected: run.ExpectedStartTime, Started: run.StartTime})
	}
	return err
}

// judge adds what is not as it should be.
func (v *statusView) judge() {
	if s := v.Service; s != nil {
		switch {
		case s.Rollout == "FAILED":
			v.problem("the service's rollout failed: %s", s.RolloutReason)
		case s.Running < s.Desired:
			v.problem("the service runs %d of %d tasks", s.Running, s.Desired)
		}
	}
	if v.Pool.Status == "PAUSED" {
		v.problem("work pool %s is paused: no flow run is handed out", v.Pool.Name)
	}
	if v.Pool.Template == "other" {
		v.problem("work pool %s has another template than the stack's; 'faber apply' shows where, and replaces it", v.Pool.Name)
	}
	asked := v.Service == nil || v.Service.Desired > 0
	if v.Pool.Status != "" && len(v.Workers) == 0 && asked {
		v.problem("no worker is ONLINE in work pool %s; 'faber logs' shows what it says", v.Pool.Name)
	}
	v.Healthy = len(v.Problems) == 0
}

func (v *statusView) print(w io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(v)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if s := v.Service; s != nil {
		fmt.Fprintf(t, "service\t%s\t%d of %d tasks running%s, image %s\n", s.Name, s.Running, s.Desired, rollout(s), orNone(s.Image))
	}
	for _, task := range v.Tasks {
		fmt.Fprintf(t, "task\t%s\t%s%s\n", short(task.ID), strings.TrimSpace(task.Status+" "+known(task.Health)), v.ago(", since ", task.Started))
	}
	fmt.Fprintf(t, "work pool\t%s\t%s%s\n", v.Pool.Name, orNone(v.Pool.Status), template(v.Pool.Template))
	for _, worker := range v.Workers {
		fmt.Fprintf(t, "worker\t%s\t%s%s\n", worker.Name, worker.Status, v.ago(", heard of ", worker.Heartbeat))
	}
	for _, run := range v.Runs {
		fmt.Fprintf(t, "flow run\t%s\t%s%s\n", run.Name, run.State, v.ago(", due ", run.Expected))
	}
	for _, text := range v.Problems {
		fmt.Fprintf(t, "PROBLEM\t%s\n", text)
	}
	return t.Flush()
}

func rollout(s *stack.Service) string {
	switch s.Rollout {
	case "IN_PROGRESS":
		return ", being rolled out"
	case "FAILED":
		return ", rollout FAILED"
	}
	return ""
}

// known is a health that ECS has an opinion on.
func known(health string) string {
	if health == "UNKNOWN" {
		return ""
	}
	return health
}

func template(is string) string {
	switch is {
	case "stack":
		return ", template of this stack"
	case "other":
		return ", another template"
	}
	return ""
}

// ago is how long something is ago, behind a word; "" when it is not known.
func (v *statusView) ago(word string, t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	age := v.now.Sub(*t)
	switch {
	case age < 0:
		age = 0
	case age > 48*time.Hour:
		return fmt.Sprintf("%s%d days ago", word, int(age.Hours()/24))
	case age > time.Hour:
		return fmt.Sprintf("%s%s ago", word, strings.TrimSuffix(age.Round(time.Minute).String(), "0s"))
	}
	return fmt.Sprintf("%s%s ago", word, age.Round(time.Second))
}
