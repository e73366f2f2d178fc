package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// State is what a stack remembers between two calls of faber. It holds no secret.
type State struct {
	Name      string             `json:"name"`
	Ports     Ports              `json:"ports"`
	Engine    Engine             `json:"engine"`
	Processes map[string]Process `json:"processes"`
	// Emulator names the life of the emulator that terraform's state belongs to:
	// the emulator keeps everything in memory, so a new life knows nothing.
	Emulator    string `json:"emulator"`
	WorkerImage string `json:"worker_image"`
	FlowImage   string `json:"flow_image"`

	AccountID   string `json:"account_id"` // Prefect Cloud's ids, as the front plays them
	WorkspaceID string `json:"workspace_id"`

	Cluster  string `json:"cluster"` // ARN
	Service  string `json:"service"`
	FlowLogs string `json:"flow_logs"` // log group
}

// PrefectURL is the root of the Prefect server on this machine.
func (s State) PrefectURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.Ports.Prefect) }

// CloudURL is the root of the Prefect front on this machine.
func (s State) CloudURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.Ports.Cloud) }

// AWSURL is the AWS endpoint on this machine.
func (s State) AWSURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.Ports.AWS) }

// ErrNoStack means that the stack was never brought up, or was taken down.
var ErrNoStack = errors.New("no such stack")

// LoadState reads the state of a stack; ErrNoStack when there is none.
func LoadState(l Layout) (State, error) {
	var s State
	data, err := os.ReadFile(l.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return s, ErrNoStack
	}
	if err != nil {
		return s, fmt.Errorf("read the stack's state: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, &Problem{
			Message: "the stack's state cannot be read: " + l.stateFile(),
			Hint:    "run 'faber dev down', or remove " + l.Dir() + " if that fails too",
			Err:     err,
		}
	}
	return s, nil
}

// writeFile replaces a file as a whole: a crash leaves the old one or the new one.
func writeFile(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(name), err)
	}
	temp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(name), err)
	}
	_, err = temp.Write(append(data, '\n'))
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(name), errors.Join(err, os.Remove(temp.Name())))
	}
	return nil
}
