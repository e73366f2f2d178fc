package dev

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"

	"github.com/gofrs/flock"
	"github.com/google/uuid"

	"faber/internal/image"
	"faber/internal/infra"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// up is one call of Up under way.
type up struct {
	Options
	state       State
	lock        *flock.Flock
	credentials Credentials
	tools       tools
	engine      *engineClient
	changes     int
	outputs     infra.Outputs
}

// Credentials are what the stack's Prefect front accepts and its secret holds,
// in the form of Prefect Cloud.
type Credentials struct {
	APIKey      string `json:"prefect_api_key"`
	AccountID   string `json:"prefect_account_id"`
	WorkspaceID string `json:"prefect_workspace_id"`
}

// prepare looks at everything that could stand in the way before anything is
// begun: a stack that cannot come up is refused as a whole.
func prepare(ctx context.Context, o Options) (*up, error) {
	u := &up{Options: o}
	state, err := LoadState(o.Layout)
	switch {
	case errors.Is(err, ErrNoStack):
		state = State{Name: o.Layout.Name}
	case err != nil:
		return nil, err
	}
	u.state = state
	if u.state.Processes == nil {
		u.state.Processes = map[string]Process{}
	}
	if u.tools, err = findTools(ctx, o); err != nil {
		return nil, err
	}
	if err := u.choosePorts(); err != nil {
		return nil, err
	}
	for _, dir := range []string{o.Layout.Dir(), o.Layout.Cache(), o.Layout.Logs()} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, fmt.Errorf("make the stack's directory: %w", err)
		}
	}
	if u.lock, err = lockStack(o.Layout); err != nil {
		return nil, err
	}
	if err := u.loadCredentials(); err != nil {
		u.release()
		return nil, err
	}
	return u, u.save()
}

func (u *up) release() { _ = u.lock.Unlock() } // the lock ends with the process anyway

func (u *up) save() error { return writeFile(u.Layout.stateFile(), u.state) }

// lockStack keeps two calls of faber from building one stack at once.
func lockStack(l Layout) (*flock.Flock, error) {
	lock := flock.New(l.lockFile())
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the stack: %w", err)
	}
	if !held {
		return nil, &Problem{
			Message: "another faber is working on the stack " + l.Name,
			Hint:    "wait until it is done, or use another --name",
		}
	}
	return lock, nil
}

// loadCredentials reads the stack's own credentials or makes them. They stay out
// of the state file, which people show each other.
func (u *up) loadCredentials() error {
	file := u.Layout.credentialsFile()
	data, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := json.Unmarshal(data, &u.credentials); err != nil {
			return fmt.Errorf("read the stack's credentials: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read the stack's credentials: %w", err)
	default:
		var random [16]byte
		if _, err := crand.Read(random[:]); err != nil {
			return fmt.Errorf("make an API key: %w", err)
		}
		u.credentials = Credentials{
			APIKey:      "pnu_local_" + hex.EncodeToString(random[:]),
			AccountID:   uuid.NewString(),
			WorkspaceID: uuid.NewString(),
		}
	}
	if u.APIKey != "" {
		u.credentials.APIKey = u.APIKey
	}
	u.state.AccountID, u.state.WorkspaceID = u.credentials.AccountID, u.credentials.WorkspaceID
	return writeFile(file, u.credentials)
}

// choosePorts keeps the ports of a stack that was up before, takes those that
// were asked for, and finds free ones for the rest.
func (u *up) choosePorts() error {
	chosen := []struct {
		flag, process string
		asked         int
		port          *int
	}{
		{"--prefect-port", "prefect", u.Ports.Prefect, &u.state.Ports.Prefect},
		{"--cloud-port", "fronts", u.Ports.Cloud, &u.state.Ports.Cloud},
		{"--aws-port", "fronts", u.Ports.AWS, &u.state.Ports.AWS},
		{"", "ministack", 0, &u.state.Ports.Ministack},
		{"", "moto", 0, &u.state.Ports.Moto},
	}
	taken := map[int]bool{}
	for _, c := range chosen {
		taken[c.asked], taken[*c.port] = true, true
	}
	for _, c := range chosen {
		running := u.state.Processes[c.process].Alive()
		if c.asked != 0 && c.asked != *c.port {
			if running {
				return &Problem{
					Message: fmt.Sprintf("the stack %s is up with other ports", u.Layout.Name),
					Hint:    "run 'faber dev down' first, or leave out " + c.flag,
				}
			}
			*c.port = c.asked
		}
		if running {
			continue
		}
		if *c.port != 0 && portFree(*c.port) {
			continue
		}
		if c.asked != 0 {
			return &Problem{
				Message: fmt.Sprintf("port %d is taken by another program", c.asked),
				Hint:    "give another " + c.flag + ", or leave it out and faber finds a free one",
			}
		}
		free, err := freePort(taken)
		if err != nil {
			return err
		}
		*c.port, taken[free] = free, true
	}
	return nil
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Ports are looked for below the range that systems take the ports of outgoing
// connections from: one of those could take a port between choice and use.
const (
	firstPort = 20000
	lastPort  = 32000
)

// freePort finds a port that nobody listens on and that is not in taken.
func freePort(taken map[int]bool) (int, error) {
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if !taken[port] && portFree(port) {
			return port, nil
		}
	}
	return 0, errors.New("no free port between 20000 and 32000 on this machine")
}

// workerImage builds the worker's image and hands it to the engine, unless the
// engine has this very content already.
func (u *up) workerImage(ctx context.Context, step *Step) error {
	binary := u.WorkerBinary
	if binary == "" {
		binary = u.Executable
	}
	img, err := image.BuildWorker(image.Worker{Binary: binary})
	if err != nil {
		return err
	}
	u.state.WorkerImage, err = u.loadImage(ctx, "localhost/faber/worker", img)
	step.Done("%s", u.state.WorkerImage)
	return err
}

// loadImage names an image by its content and loads it when the engine lacks it.
func (u *up) loadImage(ctx context.Context, repository string, img v1.Image) (string, error) {
	id, err := img.ConfigName()
	if err != nil {
		return "", fmt.Errorf("digest of %s: %w", repository, err)
	}
	name := repository + ":" + id.Hex[:12]
	known, err := u.engine.hasImage(ctx, name)
	if err != nil || known {
		return name, err
	}
	return name, u.engine.load(ctx, name, img)
}
