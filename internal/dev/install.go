package dev

import (
	"context"
	"fmt"
	"os"

	"faber/internal/infra"
)

// Install brings what a stack needs to this machine, and starts nothing.
func Install(ctx context.Context, o Options) error {
	u := &up{Options: o}
	var err error
	if u.tools, err = findTools(ctx, o); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Layout.Cache(), 0o750); err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	return o.Steps.runAll(ctx, []namedStep{
		{"python", u.pythonEnvironments},
		{"terraform", u.installTerraform},
		{"engine", u.installEngine},
	})
}

func (u *up) installTerraform(ctx context.Context, step *Step) error {
	step.Note("looking for terraform")
	found, err := infra.Find(ctx, infra.FindOptions{Environ: u.Environ, InstallDir: u.Layout.Cache()})
	step.Done("terraform %s: %s", found.Version, found.Path)
	return err
}

func (u *up) installEngine(ctx context.Context, step *Step) error {
	if u.tools.engine.apt {
		if err := aptInstall(ctx, u.Options, step, podmanPackages...); err != nil {
			return err
		}
		step.Done("podman installed")
		return nil
	}
	if u.tools.engine.docker != "" {
		step.Done("docker at %s", u.tools.engine.docker)
		return nil
	}
	step.Done("%s", u.tools.engine.podman)
	return nil
}
