package infra

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// In a folder of the user's own, terraform runs with the user's whole environment.
// terraform-exec refuses to: a program that uses it is to be alone in saying what
// is planned. So the few commands are put together here.

// asUser runs one command of terraform and returns its exit code: 0, or 2 where
// the command says by it that there are changes.
func (s *Stack) asUser(ctx context.Context, out io.Writer, args ...string) (int, error) {
	var stderr bytes.Buffer
	code, err := s.Exec(ctx, ExecOptions{Args: args, Out: out, Err: &stderr})
	switch text := strings.TrimSpace(stderr.String()); {
	case err != nil:
		return code, err
	case code == 0, code == 2 && args[0] == "plan":
		return code, nil
	case text != "":
		return code, fmt.Errorf("exit code %d: %s", code, text)
	}
	return code, fmt.Errorf("exit code %d", code)
}

func (s *Stack) planAsUser(ctx context.Context, w io.Writer, file string, o PlanOptions, varFiles []string) (changed bool, err error) {
	args := []string{"plan", "-json", "-input=false", "-detailed-exitcode", "-out=" + file}
	if o.Destroy {
		args = append(args, "-destroy")
	}
	if o.SkipRefresh {
		args = append(args, "-refresh=false")
	}
	for _, path := range varFiles {
		args = append(args, "-var-file="+path)
	}
	code, err := s.asUser(ctx, w, args...)
	return code == 2, err
}

func (s *Stack) applyAsUser(ctx context.Context, w io.Writer, p *Plan, varFiles []string) error {
	args := []string{"apply", "-json", "-input=false"}
	for _, path := range varFiles {
		args = append(args, "-var-file="+path)
	}
	_, err := s.asUser(ctx, w, append(args, p.File)...)
	return err
}

func (s *Stack) outputsAsUser(ctx context.Context) (Outputs, error) {
	var out bytes.Buffer
	if _, err := s.asUser(ctx, &out, "output", "-json"); err != nil {
		return nil, s.plain(ctx, "output", err)
	}
	var metas map[string]struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(out.Bytes(), &metas); err != nil {
		return nil, s.plain(ctx, "output", err)
	}
	outputs := make(Outputs, len(metas))
	for name, meta := range metas {
		outputs[name] = meta.Value
	}
	return outputs, nil
}

func (s *Stack) showState(ctx context.Context) (*tfjson.State, error) {
	if !s.o.UsersFolder {
		return s.tf.Show(ctx)
	}
	var out bytes.Buffer
	if _, err := s.asUser(ctx, &out, "show", "-json"); err != nil {
		return nil, err
	}
	state := &tfjson.State{}
	return state, json.Unmarshal(out.Bytes(), state)
}

// Show writes a plan as terraform itself shows it to people. Where out is a
// terminal, terraform may colour it.
func (s *Stack) Show(ctx context.Context, p *Plan, out io.Writer, colour bool) error {
	args := []string{"show", "-no-color", p.File}
	if colour {
		args = []string{"show", p.File}
	}
	if _, err := s.asUser(ctx, out, args...); err != nil {
		return s.plain(ctx, "show", err)
	}
	return nil
}

// SavedPlan reads a plan that was saved before, by Plan or by terraform plan -out.
func (s *Stack) SavedPlan(ctx context.Context, file string) (*Plan, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("find the saved plan: %w", err)
	}
	if _, err := os.Stat(file); err != nil {
		return nil, &Problem{Message: "there is no saved plan " + file, Hint: "'faber plan' saves one", Err: err}
	}
	var out bytes.Buffer
	if _, err := s.asUser(ctx, &out, "show", "-json", file); err != nil {
		if ctx.Err() != nil {
			return nil, s.plain(ctx, "show", err)
		}
		return nil, &Problem{Message: file + " cannot be read as a plan of this folder", Hint: "make it anew with 'faber plan'", Err: err}
	}
	var read tfjson.Plan
	if err := json.Unmarshal(out.Bytes(), &read); err != nil {
		return nil, fmt.Errorf("read the saved plan: %w", err)
	}
	plan := &Plan{File: file, Changed: len(read.OutputChanges) > 0}
	for _, resource := range read.ResourceChanges {
		plan.count(resource)
	}
	plan.Changed = plan.Changed || plan.Total() > 0
	return plan, nil
}

// count adds one resource of a saved plan, as terraform's summary counts it.
func (p *Plan) count(resource *tfjson.ResourceChange) {
	if resource.Mode != tfjson.ManagedResourceMode || resource.Change == nil {
		return
	}
	action := ""
	switch actions := resource.Change.Actions; {
	case actions.Replace():
		action, p.Add, p.Destroy = "replace", p.Add+1, p.Destroy+1
	case actions.Create():
		action, p.Add = "create", p.Add+1
	case actions.Update():
		action, p.Change = "update", p.Change+1
	case actions.Delete():
		action, p.Destroy = "delete", p.Destroy+1
	}
	if resource.Change.Importing != nil {
		p.Import++
	}
	if action != "" {
		p.Changes = append(p.Changes, Change{Address: resource.Address, Action: action})
	}
}

// stackOutputs are what faber needs to know of a stack that is deployed.
var stackOutputs = []string{"cluster_arn", "service_name", "work_pool_name", "base_job_template"} //nolint:gochecknoglobals // a constant list

func (o Outputs) complete() bool {
	for _, name := range stackOutputs {
		if o.String(name) == "" {
			return false
		}
	}
	return true
}

// ErrNotApplied means that there is no stack in the state.
var ErrNotApplied = errors.New("nothing is applied in this folder")

// ModuleOutputs are the outputs of the one faber module in the configuration. They
// are found where they are told: as outputs of the root, as one output that holds
// all of them, or, when the root tells none, by asking terraform for those of the
// module call.
func (s *Stack) ModuleOutputs(ctx context.Context) (Outputs, error) {
	root, err := s.Outputs(ctx)
	if err != nil {
		return nil, err
	}
	if root.complete() {
		return root, nil
	}
	for _, value := range root {
		var whole Outputs
		if json.Unmarshal(value, &whole) == nil && whole.complete() {
			return whole, nil
		}
	}
	resources, err := s.Resources(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(resources) == 0:
		return nil, ErrNotApplied
	}
	return s.callOutputs(ctx)
}

// callOutputs asks terraform for the outputs of the module call.
func (s *Stack) callOutputs(ctx context.Context) (Outputs, error) {
	calls, err := s.moduleCalls()
	switch {
	case err != nil:
		return nil, err
	case len(calls) == 0:
		return nil, &Problem{
			Message: "no outputs of a faber module are found in " + s.o.Dir,
			Hint:    "hand the module's outputs on in the root module, at least: " + strings.Join(stackOutputs, ", "),
		}
	case len(calls) > 1:
		return nil, &Problem{
			Message: "there are several faber modules in " + s.o.Dir + ": " + strings.Join(calls, ", "),
			Hint:    "hand the outputs of the one that is meant on in the root module, at least: " + strings.Join(stackOutputs, ", "),
		}
	}
	var out, stderr bytes.Buffer
	code, err := s.Exec(ctx, ExecOptions{
		Args: []string{"console"}, In: strings.NewReader("jsonencode(module." + calls[0] + ")\n"), Out: &out, Err: &stderr,
	})
	if err != nil {
		return nil, err
	}
	outputs := consoleObject(out.Bytes())
	if code != 0 || !outputs.complete() {
		return nil, &Problem{
			Message: "terraform does not tell the outputs of module." + calls[0] + ": " + strings.Join(strings.Fields(stderr.String()+out.String()), " "),
			Hint:    "hand them on in the root module, at least: " + strings.Join(stackOutputs, ", "),
		}
	}
	return outputs, nil
}

// consoleObject reads what terraform console prints of jsonencode: a quoted text
// with an object in it, or with the only element of a list or a map of them, when
// the module has count or for_each.
func consoleObject(printed []byte) Outputs {
	var text string
	if json.Unmarshal(bytes.TrimSpace(printed), &text) != nil {
		return nil
	}
	var one Outputs
	if json.Unmarshal([]byte(text), &one) == nil && one.complete() {
		return one
	}
	var many []Outputs
	if json.Unmarshal([]byte(text), &many) == nil && len(many) == 1 {
		return many[0]
	}
	var named map[string]Outputs
	if json.Unmarshal([]byte(text), &named) == nil && len(named) == 1 {
		for _, only := range named {
			return only
		}
	}
	return nil
}

// moduleCalls are the names of the root's calls of the faber module: known by the
// file that no other module has.
func (s *Stack) moduleCalls() ([]string, error) {
	dataDir := lookup(s.o.Environ, "TF_DATA_DIR")
	if dataDir == "" {
		dataDir = ".terraform"
	}
	if !filepath.IsAbs(dataDir) {
		dataDir = filepath.Join(s.o.Dir, dataDir)
	}
	data, err := os.ReadFile(filepath.Join(dataDir, "modules", "modules.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of modules: %w", err)
	}
	var list struct {
		Modules []struct{ Key, Dir string }
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read the list of modules: %w", err)
	}
	var calls []string
	for _, module := range list.Modules {
		if module.Key == "" || strings.Contains(module.Key, ".") {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.o.Dir, module.Dir, "base_job_template.tf")); err == nil {
			calls = append(calls, module.Key)
		}
	}
	return calls, nil
}
