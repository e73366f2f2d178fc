package infra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/terraform-exec/tfexec"
	tfjson "github.com/hashicorp/terraform-json"
)

// PlanOptions are the input of a plan.
type PlanOptions struct {
	// Vars are stored in the plan.
	Vars Vars
	// Secrets are values of ephemeral variables: stored nowhere, and needed once
	// more, the very same, when the plan is applied.
	Secrets Vars
	// Destroy plans to take everything away.
	Destroy bool
	// SkipRefresh trusts the state instead of asking AWS about every resource.
	SkipRefresh bool
}

// Plan is what Terraform would do. It is saved in the working directory and can
// be applied once.
type Plan struct {
	File    string
	Add     int
	Change  int
	Destroy int
	Import  int
	Changes []Change
	// Warnings are Terraform's, in one line each. What a check block found is among them.
	Warnings []string
	// Changed is false when applying the plan would do nothing at all. Outputs
	// alone may change, without a resource.
	Changed bool

	secrets Vars
}

// Total is the number of changes to resources; a replacement counts twice.
func (p *Plan) Total() int { return p.Add + p.Change + p.Destroy + p.Import }

// Plan compares the configuration with what there is and saves what would be
// done.
func (s *Stack) Plan(ctx context.Context, o PlanOptions) (*Plan, error) {
	files, err := newVarFiles(s.o.Environ, o.Vars, o.Secrets)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.o.Dir, planName)
	opts := []tfexec.PlanOption{tfexec.Out(file), tfexec.Destroy(o.Destroy), tfexec.Refresh(!o.SkipRefresh)}
	for _, path := range files.paths {
		opts = append(opts, tfexec.VarFile(path))
	}
	var changed bool
	out, err := s.run(ctx, "plan", 0, func(w io.Writer) (err error) {
		if s.o.UsersFolder {
			changed, err = s.planAsUser(ctx, w, file, o, files.paths)
			return err
		}
		changed, err = s.tf.PlanJSON(ctx, w, opts...)
		return err
	})
	if err := errors.Join(err, files.remove()); err != nil {
		return nil, err
	}
	counts := out.counts.Changes
	return &Plan{
		File: file, Changed: changed, secrets: o.Secrets, Changes: out.changes, Warnings: out.texts("warning"),
		Add: counts.Add, Change: counts.Change, Destroy: counts.Remove, Import: counts.Import,
	}, nil
}

// Result is what an apply did.
type Result struct {
	Add     int
	Change  int
	Destroy int
}

// Total is the number of changes that were made.
func (r Result) Total() int { return r.Add + r.Change + r.Destroy }

// Apply does what a plan says and removes the plan. After an error the state
// holds what was done until then, and the next plan goes on from there.
func (s *Stack) Apply(ctx context.Context, p *Plan) (Result, error) {
	// Terraform wants ephemeral values at apply exactly when they were set at plan.
	files, err := newVarFiles(s.o.Environ, p.secrets)
	if err != nil {
		return Result{}, err
	}
	opts := []tfexec.ApplyOption{tfexec.DirOrPlan(p.File)}
	for _, path := range files.paths {
		opts = append(opts, tfexec.VarFile(path))
	}
	out, err := s.run(ctx, "apply", p.Total(), func(w io.Writer) error {
		if s.o.UsersFolder {
			return s.applyAsUser(ctx, w, p, files.paths)
		}
		return s.tf.ApplyJSON(ctx, w, opts...)
	})
	done := out.counts.Changes
	return Result{Add: done.Add, Change: done.Change, Destroy: done.Remove}, errors.Join(err, files.remove(), p.remove())
}

// Discard removes a saved plan that is not going to be applied.
func (p *Plan) Discard() error { return p.remove() }

// remove deletes the saved plan: it holds for the state it was made of only.
func (p *Plan) remove() error {
	if err := os.Remove(p.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the saved plan: %w", err)
	}
	return nil
}

// HasChanges says whether AWS differs from the configuration, and saves nothing.
func (s *Stack) HasChanges(ctx context.Context, o PlanOptions) (bool, error) {
	p, err := s.Plan(ctx, o)
	if err != nil {
		return false, err
	}
	return p.Changed, p.remove()
}

// Destroy takes everything away that the state knows of.
func (s *Stack) Destroy(ctx context.Context, vars Vars) (Result, error) {
	p, err := s.Plan(ctx, PlanOptions{Vars: vars, Destroy: true})
	if err != nil {
		return Result{}, err
	}
	if !p.Changed {
		return Result{}, p.remove()
	}
	return s.Apply(ctx, p)
}

// Outputs are the root module's outputs as JSON.
type Outputs map[string]json.RawMessage

// String returns an output that is a text; "" when it is absent, null or
// something else.
func (o Outputs) String(name string) string {
	var text string
	_ = json.Unmarshal(o[name], &text)
	return text
}

// Decode reads an output into a value of a fitting type.
func (o Outputs) Decode(name string, into any) error {
	raw, ok := o[name]
	if !ok {
		return fmt.Errorf("the terraform state has no output %s", name)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read the terraform output %s: %w", name, err)
	}
	return nil
}

// Outputs reads the outputs of the last apply.
func (s *Stack) Outputs(ctx context.Context) (Outputs, error) {
	if s.o.UsersFolder {
		return s.outputsAsUser(ctx)
	}
	metas, err := s.tf.Output(ctx)
	if err != nil {
		return nil, s.plain(ctx, "output", err)
	}
	outputs := make(Outputs, len(metas))
	for name, meta := range metas {
		outputs[name] = meta.Value
	}
	return outputs, nil
}

// Resources lists the addresses of all resources in the state, sorted. It is
// empty when nothing was applied, or everything was destroyed.
func (s *Stack) Resources(ctx context.Context) ([]string, error) {
	state, err := s.showState(ctx)
	if err != nil {
		return nil, s.plain(ctx, "show", err)
	}
	if state.Values == nil {
		return nil, nil
	}
	var addresses []string
	modules := []*tfjson.StateModule{state.Values.RootModule}
	for len(modules) > 0 {
		module := modules[0]
		modules = append(modules[1:], module.ChildModules...)
		for _, resource := range module.Resources {
			if resource.Mode == tfjson.ManagedResourceMode {
				addresses = append(addresses, resource.Address)
			}
		}
	}
	slices.Sort(addresses)
	return addresses, nil
}

func (s *Stack) plain(ctx context.Context, command string, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("terraform %s: %w", command, err)
}
