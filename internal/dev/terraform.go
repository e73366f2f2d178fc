package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"faber/internal/infra"
)

// example is the root configuration that the stack applies: the same module as
// for AWS, with a provider block for the emulator.
const example = "examples/local"

func (l Layout) terraformRoot() string { return filepath.Join(l.Terraform(), example) }

// terraform applies the module to the emulator.
func (u *up) terraform(ctx context.Context, step *Step) error {
	found, err := infra.Find(ctx, infra.FindOptions{Environ: u.Environ, InstallDir: u.Layout.Cache()})
	if err != nil {
		return err
	}
	if err := u.forgetLastEmulator(); err != nil {
		return err
	}
	if err := infra.Unpack(u.Layout.Terraform()); err != nil {
		return err
	}
	stack, err := infra.Open(infra.Options{
		Dir:       u.Layout.terraformRoot(),
		Terraform: found.Path,
		Environ:   append(append([]string{}, u.Environ...), u.state.AWSEnv()...),
		Logger:    u.Logger,
		Progress: func(p infra.Progress) {
			if p.Total > 0 {
				step.Note("%s: %d of %d, %s", p.Command, p.Done, p.Total, p.Address)
				return
			}
			step.Note("%s", p.Command)
		},
	})
	if err != nil {
		return err
	}
	defer stack.Close()
	if err := u.apply(ctx, stack); err != nil {
		return err
	}
	if u.outputs, err = stack.Outputs(ctx); err != nil {
		return err
	}
	u.state.Cluster = u.outputs.String("cluster_arn")
	u.state.Service = u.outputs.String("service_name")
	u.state.FlowLogs = u.outputs.String("flow_run_log_group_name")
	switch u.changes {
	case 0:
		step.Done("no changes (terraform %s)", found.Version)
	case 1:
		step.Done("1 resource changed (terraform %s)", found.Version)
	default:
		step.Done("%d resources changed (terraform %s)", u.changes, found.Version)
	}
	return nil
}

func (u *up) apply(ctx context.Context, stack *infra.Stack) error {
	if err := stack.Init(ctx); err != nil {
		return err
	}
	err := u.applyOnce(ctx, stack)
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), answerLost) {
		return err
	}
	// What was made and not answered is nobody's, and goes with the emulator; the next
	// plan makes the rest, under other names.
	return u.applyOnce(ctx, stack)
}

// answerLost stands in Terraform's error when the provider repeats a call whose first
// answer its HTTP client has dropped: what it makes is there already.
const answerLost = "EntityAlreadyExists"

func (u *up) applyOnce(ctx context.Context, stack *infra.Stack) error {
	plan, err := stack.Plan(ctx, infra.PlanOptions{
		Vars:    moduleVars(u.state, u.Layout),
		Secrets: secretVars(u.credentials),
	})
	if err != nil {
		return err
	}
	if !plan.Changed {
		return nil
	}
	result, err := stack.Apply(ctx, plan)
	u.changes = result.Total()
	if err != nil {
		return &Problem{
			Message: "the Terraform module could not be applied to the emulator",
			Hint:    "see 'faber dev logs ministack' and 'faber dev logs fronts'; 'faber dev up' goes on where this stopped",
			Err:     err,
		}
	}
	return nil
}

// forgetLastEmulator drops the state of an emulator that is gone: it kept
// everything in memory, so nothing in the state exists any more.
func (u *up) forgetLastEmulator() error {
	life := u.state.Processes["ministack"].String()
	if u.state.Emulator == life {
		return nil
	}
	for _, name := range []string{"terraform.tfstate", "terraform.tfstate.backup"} {
		err := os.Remove(filepath.Join(u.Layout.terraformRoot(), name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("drop terraform's state of an emulator that is gone: %w", err)
		}
	}
	u.state.Emulator = life
	return u.save()
}

// moduleVars are the inputs of the example. The emulated worker gets static
// credentials: AWS's SDK takes those of the emulated task role over https or
// from loopback only.
func moduleVars(s State, l Layout) infra.Vars {
	architecture := "X86_64"
	if s.Engine.Arch == "arm64" || s.Engine.Arch == "" && runtime.GOARCH == "arm64" {
		architecture = "ARM64"
	}
	return infra.Vars{
		"name":                  l.Deployment(),
		"region":                region,
		"account_id":            accountID,
		"work_pool_name":        PoolName,
		"image":                 s.WorkerImage,
		"cpu_architecture":      architecture,
		"prefect_cloud_api_url": fmt.Sprintf("http://host.docker.internal:%d/api", s.Ports.Cloud),
		"flow_run_image":        s.FlowImage,
		"flow_run_cpu":          256,
		"flow_run_memory":       512,
		"worker_environment": map[string]string{
			"AWS_ACCESS_KEY_ID":     accountID,
			"AWS_SECRET_ACCESS_KEY": secretKey,
		},
	}
}

func secretVars(c Credentials) infra.Vars {
	return infra.Vars{"prefect_credentials": c}
}

// TerraformOptions are the inputs of Terraform.
type TerraformOptions struct {
	Layout  Layout
	Args    []string
	Env     func(string) (string, bool)
	Environ []string
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
}

// Terraform runs terraform with a person's arguments on the stack's deployment
// and returns its exit code.
func Terraform(ctx context.Context, o TerraformOptions) (int, error) {
	state, err := LoadState(o.Layout)
	if errors.Is(err, ErrNoStack) || err == nil && state.Emulator == "" {
		return 0, notUp(o.Layout)
	}
	if err != nil {
		return 0, err
	}
	found, err := infra.Find(ctx, infra.FindOptions{Environ: o.Environ, InstallDir: o.Layout.Cache()})
	if err != nil {
		return 0, err
	}
	u := &up{Options: Options{Layout: o.Layout}}
	if err := u.loadCredentials(); err != nil {
		return 0, err
	}
	stack, err := infra.Open(infra.Options{
		Dir:       o.Layout.terraformRoot(),
		Terraform: found.Path,
		Environ:   append(append([]string{}, o.Environ...), state.AWSEnv()...),
	})
	if err != nil {
		return 0, err
	}
	defer stack.Close()
	vars := moduleVars(state, o.Layout)
	maps.Copy(vars, secretVars(u.credentials))
	return stack.Exec(ctx, infra.ExecOptions{Args: o.Args, Vars: vars, In: o.In, Out: o.Out, Err: o.Err})
}
