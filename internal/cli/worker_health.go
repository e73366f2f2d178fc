package cli

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthPort is where a worker with the same settings serves its health. Settings
// that no worker would start with do not matter here: it is asked all the same.
func healthPort(std *IO, profile string) int {
	if settings, err := loadSettings(std, profile); err == nil {
		return settings.WebserverPort
	}
	if port, err := strconv.Atoi(std.env("PREFECT_WORKER_WEBSERVER_PORT")); err == nil {
		return port
	}
	return 8080
}

func newWorkerHealthCommand(std *IO, f *workerFlags) *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a worker on this machine whether it is healthy",
		Long: strings.TrimSpace(`
Exits 0 when the worker that was started with --with-healthcheck on this machine
answers its /healthz with 200, else 1: for a container's health check, since the
image has no shell. That is what Prefect's worker says on /health, that polls for
flow runs are answered, and that no part of the worker is stuck. What must work for
flow runs to be served, an API that is down included, is told by its /readyz.`),
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if port == 0 {
				port = healthPort(std, f.profile)
			}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(port)+"/healthz", nil)
			if err != nil {
				return fmt.Errorf("ask for health: %w", err)
			}
			// Never through a proxy: it is this machine that is asked.
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Do(req)
			if err != nil {
				return &UserError{Message: fmt.Sprintf("no worker answers: %s", err), Hint: "start it with --with-healthcheck; the port is PREFECT_WORKER_WEBSERVER_PORT or --port", Err: err}
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return &UserError{Message: fmt.Sprintf("the worker is not healthy: /healthz answered %s", resp.Status), Hint: "its /status tells what each part is doing"}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&port, "port", 0, "`port` of the worker's health checks (default: PREFECT_WORKER_WEBSERVER_PORT, 8080)")
	return cmd
}
