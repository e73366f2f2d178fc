package dev

import (
	"context"
	_ "embed" // the launcher of the Prefect server
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

//go:embed prefect/server.py
var prefectLauncher []byte

// prefectServer starts the Prefect server on loopback, with its database below
// the stack's directory.
func (u *up) prefectServer(ctx context.Context, step *Step) error {
	url := u.state.PrefectURL()
	if u.state.Processes["prefect"].Alive() {
		step.Done("kept: %s", url)
		return nil
	}
	if err := os.MkdirAll(u.Layout.prefectHome(), 0o750); err != nil {
		return fmt.Errorf("make Prefect's home: %w", err)
	}
	step.Note("starting the server")
	env := []string{
		"PREFECT_HOME=" + u.Layout.prefectHome(),
		"PREFECT_PROFILES_PATH=" + u.Layout.prefectHome() + "/profiles.toml",
		"PREFECT_API_URL=",
		"PREFECT_SERVER_ANALYTICS_ENABLED=false",
		"PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT=false",
		"DO_NOT_TRACK=1",
		// The page asks the API under the address it was loaded from.
		"PREFECT_SERVER_UI_API_URL=" + url + "/api",
		// Late runs are noticed sooner than after the default 15 s.
		"PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS=15",
	}
	launcher := filepath.Join(u.Layout.prefectHome(), "server.py")
	if err := os.WriteFile(launcher, prefectLauncher, 0o600); err != nil {
		return fmt.Errorf("write Prefect's launcher: %w", err)
	}
	err := u.start("prefect", env, u.venv("prefect").bin("python"), launcher, "server", "start",
		"--host", "127.0.0.1", "--port", fmt.Sprint(u.state.Ports.Prefect))
	if err != nil {
		return err
	}
	if err := u.await(ctx, "prefect", 2*time.Minute, healthy(url+"/api/health")); err != nil {
		return err
	}
	step.Done("%s", url)
	return nil
}

// emulators starts ministack, which runs ECS tasks as containers of the engine,
// and moto beside it. Whoever reaches ministack's own port sees no front: only
// the front's port is given to anybody.
func (u *up) emulators(ctx context.Context, step *Step) error {
	kept := 0
	if u.state.Processes["ministack"].Alive() {
		kept++
	} else {
		if err := u.startMinistack(ctx); err != nil {
			return err
		}
	}
	if u.state.Processes["moto"].Alive() {
		kept++
	} else {
		err := u.start("moto", []string{"MOTO_IAM_LOAD_MANAGED_POLICIES=true"}, u.venv("aws").bin("moto_server"),
			"-H", "127.0.0.1", "-p", fmt.Sprint(u.state.Ports.Moto))
		if err != nil {
			return err
		}
	}
	step.Note("waiting for ministack and moto")
	if err := u.await(ctx, "ministack", time.Minute, healthy(fmt.Sprintf("http://127.0.0.1:%d/_ministack/health", u.state.Ports.Ministack))); err != nil {
		return err
	}
	if err := u.await(ctx, "moto", time.Minute, healthy(fmt.Sprintf("http://127.0.0.1:%d/moto-api/", u.state.Ports.Moto))); err != nil {
		return err
	}
	verb := "started"
	if kept == 2 {
		verb = "kept"
	}
	step.Done("%s: ministack and moto, account %s", verb, accountID)
	return nil
}

func (u *up) startMinistack(ctx context.Context) error {
	// A new emulator knows none of the containers of the last one.
	if err := removeContainers(ctx, u.engine, u.Layout); err != nil {
		return err
	}
	env := []string{
		"DOCKER_HOST=" + u.state.Engine.Host,
		// What containers are told to call is the front's port, on the front's address.
		fmt.Sprintf("GATEWAY_PORT=%d", u.state.Ports.AWS),
		"MINISTACK_HOSTNAME=" + containerOwner(u.Layout),
		"MINISTACK_ACCOUNT_ID=" + accountID,
		"MINISTACK_REGION=" + region,
		"BIND_HOST=127.0.0.1",
		"IOT_MTLS_ENABLED=0",
		"SFTP_ENABLED=0",
		// It forwards what a container writes for as long as no pause is longer than
		// this, 10 s by default: a flow run that is slow to begin then has no log.
		"MINISTACK_DOCKER_TIMEOUT=3600",
		"LOG_LEVEL=INFO",
		"TMPDIR=" + u.Layout.Dir(),
		"S3_DATA_DIR=" + u.Layout.Dir() + "/s3",
		"STATE_DIR=" + u.Layout.Dir() + "/ministack",
	}
	err := u.start("ministack", env, u.venv("aws").bin("python"), "-m", "hypercorn", "ministack.app:app",
		"--bind", fmt.Sprintf("127.0.0.1:%d", u.state.Ports.Ministack), "--keep-alive", "75")
	if err != nil {
		return err
	}
	// The fronts remember what the emulators were told: they begin anew as well.
	return stopProcess(u.state.Processes["fronts"], stopGrace)
}

// containerOwner is the name that ministack labels its containers with.
func containerOwner(l Layout) string { return "faber-" + l.Name + "-" + l.id() }

// healthy asks an address until it answers well.
func healthy(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("%s answers %s", url, res.Status)
		}
		return nil
	}
}
