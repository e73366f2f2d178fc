package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// stopGrace is how long a process of the stack may take to end by itself.
const stopGrace = 10 * time.Second

// stopOrder ends those first that lean on the others. The engine goes last: it
// has to remove containers before.
var stopOrder = []string{"fronts", "ministack", "moto", "prefect", "engine"} //nolint:gochecknoglobals // a constant list

// Down ends everything that Up started: containers, processes, the network.
// Prefect's database stays, and so does the cache; purge removes the first.
func Down(ctx context.Context, o Options, purge bool) error {
	l, steps := o.Layout, o.Steps
	state, err := LoadState(l)
	if errors.Is(err, ErrNoStack) {
		if purge {
			return removeFiles(l)
		}
		fmt.Fprintf(steps.Out, "no stack %s: nothing to do\n", l.Name)
		return nil
	}
	if err != nil {
		return err
	}
	lock, err := lockStack(l)
	if err != nil {
		return err
	}
	defer lock.Unlock() //nolint:errcheck // ends with the process anyway
	d := &down{options: o, layout: l, state: state}
	err = steps.runAll(ctx, []namedStep{
		{"processes", d.stopServers},
		{"containers", d.removeContainers},
		{"engine", d.stopEngine},
		{"records", d.forget},
	})
	if err != nil || !purge {
		return err
	}
	return removeFiles(l)
}

// removeFiles removes everything that is the stack's own.
func removeFiles(l Layout) error {
	if err := unmountBelow(l.engineDir()); err != nil {
		return err
	}
	if err := os.RemoveAll(l.Dir()); err != nil {
		return fmt.Errorf("remove the stack's files: %w", err)
	}
	return nil
}

type down struct {
	options Options
	layout  Layout
	state   State
}

func (d *down) stopServers(_ context.Context, step *Step) error {
	var ended []string
	for _, name := range stopOrder {
		p, known := d.state.Processes[name]
		if !known || name == "engine" {
			continue
		}
		if p.Alive() {
			ended = append(ended, name)
		}
		if err := stopProcess(p, stopGrace); err != nil {
			return fmt.Errorf("end %s: %w", name, err)
		}
		delete(d.state.Processes, name)
		if err := writeFile(d.layout.stateFile(), d.state); err != nil {
			return err
		}
	}
	step.Done("ended: %s", listed(ended))
	return nil
}

func (d *down) removeContainers(ctx context.Context, step *Step) error {
	if d.state.Engine.Host == "" {
		step.Done("none")
		return nil
	}
	engine, err := newEngineClient(d.state.Engine.Host)
	if err != nil {
		return err
	}
	if err := engine.ping(ctx); err != nil {
		if !d.state.Engine.Own {
			step.Done("the engine does not answer: its containers are gone or unreachable")
			return nil
		}
		// Our own podman died; its containers live on without it. Bring it back
		// for the moment that it takes to remove them.
		if engine, err = d.reviveEngine(ctx); err != nil {
			return err
		}
	}
	if err := removeContainers(ctx, engine, d.layout); err != nil {
		return err
	}
	step.Done("removed")
	return nil
}

func (d *down) reviveEngine(ctx context.Context) (*engineClient, error) {
	u := &up{Options: d.options, state: d.state}
	podman, err := lookPath(u.Options, "podman")
	if err != nil {
		return nil, err
	}
	quiet := &Steps{Out: io.Discard}
	err = quiet.Run(ctx, "engine", func(ctx context.Context, step *Step) error { return u.startPodman(ctx, step, podman) })
	d.state = u.state
	return u.engine, err
}

// removeContainers removes the containers that this stack's emulator made.
func removeContainers(ctx context.Context, engine *engineClient, l Layout) error {
	list, err := stackContainers(ctx, engine, l)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := engine.removeContainer(ctx, c.ID); err != nil {
			return fmt.Errorf("remove container %s: %w", strings.Join(c.Names, ","), err)
		}
	}
	return nil
}

// stackContainers lists the containers of this stack. The label's value ends in
// the front's port, which may have been another one in an earlier life.
func stackContainers(ctx context.Context, engine *engineClient, l Layout) ([]container, error) {
	all, err := engine.containers(ctx, "ministack=ecs")
	if err != nil {
		return nil, err
	}
	var ours []container
	for _, c := range all {
		if strings.HasPrefix(c.Labels["ministack.instance"], containerOwner(l)+":") {
			ours = append(ours, c)
		}
	}
	return ours, nil
}

func (d *down) stopEngine(ctx context.Context, step *Step) error {
	if !d.state.Engine.Own {
		step.Done("left running: it was here before")
		return nil
	}
	if err := stopProcess(d.state.Processes["engine"], stopGrace); err != nil {
		return fmt.Errorf("end the container engine: %w", err)
	}
	delete(d.state.Processes, "engine")
	if err := unmountBelow(d.layout.engineDir()); err != nil {
		return err
	}
	if err := removeBridge(ctx, d.state.Engine.Bridge); err != nil {
		return err
	}
	if err := os.RemoveAll(d.layout.socket()); err != nil {
		return fmt.Errorf("remove the engine's socket: %w", err)
	}
	step.Done("ended, network removed")
	return writeFile(d.layout.stateFile(), d.state)
}

// removeBridge removes the bridge of an own podman. It goes with the last
// container; one that died rudely may have left it.
func removeBridge(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	if _, err := net.InterfaceByName(name); err != nil {
		return nil //nolint:nilerr // there is none, which is what is wanted
	}
	out, err := exec.CommandContext(ctx, "ip", "link", "delete", name).CombinedOutput()
	if err != nil {
		return &Problem{
			Message: "the network interface " + name + " could not be removed: " + strings.TrimSpace(string(out)),
			Hint:    "remove it by hand: ip link delete " + name,
			Err:     err,
		}
	}
	return nil
}

// forget drops what would be wrong the next time: the emulator's memory is gone,
// and with it all that terraform made.
func (d *down) forget(_ context.Context, step *Step) error {
	if err := os.RemoveAll(d.layout.Terraform()); err != nil {
		return fmt.Errorf("remove terraform's state: %w", err)
	}
	if err := os.Remove(d.layout.stateFile()); err != nil {
		return fmt.Errorf("remove the stack's state: %w", err)
	}
	step.Done("Prefect's database is kept in %s", d.layout.prefectHome())
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
