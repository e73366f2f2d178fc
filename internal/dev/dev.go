// Package dev is the local stack: a real Prefect server, emulated AWS behind the
// AWS front, real containers and the same Terraform module, on one machine.
//
// Up builds it step by step and may be called at any time: what runs already is
// left alone, what died is started anew. Down ends everything that Up started.
// All state is below one directory (Layout).
package dev

import (
	"context"
	"log/slog"
	"time"
)

// Versions of the locked parts, shown to the user.
const (
	PrefectVersion   = "3.8.8"
	MinistackVersion = "1.5.33"
	MotoVersion      = "5.2.5"
	region           = "us-east-1"
	// accountID is the AWS account that the emulators play. Ministack takes a
	// twelve-digit access key as the account id, and moto's own is this one.
	accountID = "123456789012"
	// secretKey signs requests to the emulators, which check no signature.
	secretKey = "test"
	// PoolName is the work pool that the stack's worker serves.
	PoolName = "fargate"
)

// Ports are the TCP ports of the stack on this machine; zero means any free one.
type Ports struct {
	Prefect int `json:"prefect"` // Prefect server: API and pages, loopback only
	Cloud   int `json:"cloud"`   // Prefect front: Cloud's URL form, for the containers
	AWS     int `json:"aws"`     // AWS front
	// Inner ports, always chosen.
	Ministack int `json:"ministack"`
	Moto      int `json:"moto"`
}

// Options are the inputs of Up.
type Options struct {
	Layout Layout
	Ports  Ports

	// Executable is the faber binary that runs the fronts.
	Executable string
	// WorkerBinary is the Linux binary for the worker's image; "" uses Executable.
	WorkerBinary string
	// APIKey is the key that the Prefect front accepts; "" keeps the stack's own.
	APIKey string
	// Faults are injected once the stack is up; nil leaves the fronts as they are.
	Faults *Faults

	Env     func(string) (string, bool)
	Environ []string
	Home    string // the user's home directory, "" when unknown
	Steps   *Steps
	Logger  *slog.Logger
}

// Stack is a stack that is up.
type Stack struct {
	State State
	// Changes is what terraform changed: add + change + destroy.
	Changes int
	Took    time.Duration
}

// Up brings the stack up, or back up, and returns when a worker on emulated
// Fargate is online in the work pool.
func Up(ctx context.Context, o Options) (*Stack, error) {
	begun := time.Now()
	u, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	defer u.release()

	steps := []namedStep{
		{"python", u.pythonEnvironments},
		{"engine", u.containerEngine},
		{"worker image", u.workerImage},
		{"prefect", u.prefectServer},
		{"aws", u.emulators},
		{"fronts", u.fronts},
		{"flow image", u.flowImage},
		{"terraform", u.terraform},
		{"work pool", u.workPool},
		{"worker", u.workerOnline},
	}
	if o.Faults != nil {
		// Last: what is rehearsed is the life of a stack, not its birth.
		steps = append(steps, namedStep{"faults", u.injectFaults})
	}
	for _, s := range steps {
		if err := o.Steps.Run(ctx, s.name, s.run); err != nil {
			return nil, err
		}
		if err := u.save(); err != nil {
			return nil, err
		}
	}
	return &Stack{State: u.state, Changes: u.changes, Took: time.Since(begun)}, nil
}
