package dev

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"faber/internal/front/awsfront"
	"faber/internal/front/prefectfront"
)

// FrontsConfig is what the process that serves the fronts is told, by a file
// only its user can read: it holds the API key.
type FrontsConfig struct {
	AWSListen   []string    `json:"aws_listen"`
	CloudListen []string    `json:"cloud_listen"`
	Ministack   string      `json:"ministack"`
	Moto        string      `json:"moto"`
	Prefect     string      `json:"prefect"`
	Credentials Credentials `json:"credentials"`
	// Binary is the digest of the program that serves, so that a new one is started.
	Binary string `json:"binary"`
}

// fronts starts the process that serves both fronts: on loopback for this
// machine, and on the engine's bridge for the containers.
func (u *up) fronts(ctx context.Context, step *Step) error {
	binary, err := digest(u.Executable)
	if err != nil {
		return err
	}
	config := FrontsConfig{
		Binary:      binary,
		AWSListen:   u.listenAddresses(u.state.Ports.AWS),
		CloudListen: u.listenAddresses(u.state.Ports.Cloud),
		Ministack:   fmt.Sprintf("http://127.0.0.1:%d", u.state.Ports.Ministack),
		Moto:        fmt.Sprintf("http://127.0.0.1:%d", u.state.Ports.Moto),
		Prefect:     u.state.PrefectURL(),
		Credentials: u.credentials,
	}
	summary := fmt.Sprintf("AWS %s, Prefect Cloud's form %s", u.state.AWSURL(), u.state.CloudURL())
	same, err := sameAsFile(u.Layout.frontsFile(), config)
	if err != nil {
		return err
	}
	if u.state.Processes["fronts"].Alive() {
		if same {
			step.Done("kept: %s", summary)
			return nil
		}
		if err := stopProcess(u.state.Processes["fronts"], stopGrace); err != nil {
			return err
		}
	}
	if err := writeFile(u.Layout.frontsFile(), config); err != nil {
		return err
	}
	if err := u.start("fronts", nil, u.Executable, "dev", "serve-fronts", u.Layout.frontsFile()); err != nil {
		return err
	}
	for _, url := range []string{u.state.AWSURL(), u.state.CloudURL()} {
		if err := u.await(ctx, "fronts", 30*time.Second, healthy(url+"/_front/health")); err != nil {
			return err
		}
	}
	step.Done("%s", summary)
	return nil
}

func digest(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read this program's file: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read this program's file: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (u *up) listenAddresses(port int) []string {
	addresses := []string{fmt.Sprintf("127.0.0.1:%d", port)}
	if gateway := u.state.Engine.Gateway; gateway != "" {
		addresses = append(addresses, fmt.Sprintf("%s:%d", gateway, port))
	}
	return addresses
}

func sameAsFile(name string, want FrontsConfig) (bool, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return false, nil //nolint:nilerr // no file is no same file
	}
	var have FrontsConfig
	if err := json.Unmarshal(data, &have); err != nil {
		return false, nil //nolint:nilerr // nor is a broken one
	}
	a, err := json.Marshal(have)
	if err != nil {
		return false, err
	}
	b, err := json.Marshal(want)
	return string(a) == string(b), err
}

// ServeFronts serves both fronts until ctx ends.
func ServeFronts(ctx context.Context, configFile string, logger *slog.Logger) error {
	data, err := os.ReadFile(configFile)
	if err != nil {
		return fmt.Errorf("read the fronts' configuration: %w", err)
	}
	var config FrontsConfig
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("read the fronts' configuration: %w", err)
	}
	urls := map[string]*url.URL{}
	for _, raw := range []string{config.Ministack, config.Moto, config.Prefect} {
		if urls[raw], err = url.Parse(raw); err != nil {
			return fmt.Errorf("read the fronts' configuration: %w", err)
		}
	}
	aws := awsfront.New(awsfront.Options{
		Ministack: urls[config.Ministack],
		Moto:      urls[config.Moto],
		AccountID: accountID,
		Region:    region,
		Logger:    logger.With("front", "aws"),
	})
	defer aws.Close()
	cloud := prefectfront.New(prefectfront.Options{
		Server: urls[config.Prefect],
		Logger: logger.With("front", "prefect"),
		APIKeys: map[string][]prefectfront.Workspace{
			config.Credentials.APIKey: {{
				AccountID:   config.Credentials.AccountID,
				WorkspaceID: config.Credentials.WorkspaceID,
			}},
		},
	})
	defer cloud.Close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return aws.Run(ctx) })
	for _, s := range []struct {
		addresses []string
		handler   http.Handler
	}{
		{config.AWSListen, aws.Handler()},
		{config.CloudListen, cloud.Handler()},
	} {
		for _, address := range s.addresses {
			group.Go(func() error { return serve(ctx, address, s.handler) })
		}
	}
	return group.Wait()
}

// serve serves one address until ctx ends.
func serve(ctx context.Context, address string, handler http.Handler) error {
	listener := net.ListenConfig{Control: bindAhead}
	l, err := listener.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { stopped <- server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", address, err)
	}
	return <-stopped
}
