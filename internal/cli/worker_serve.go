package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"faber/internal/config"
	"faber/internal/telemetry"
	"faber/internal/worker"

	"github.com/prometheus/client_golang/prometheus"
)

// workerHolder lets health be asked before there is a worker.
type workerHolder struct {
	settings    *config.Settings
	log         *slog.Logger
	begun       time.Time
	maintenance func() time.Time // end of the latest pause that the server asked for

	mu sync.Mutex
	w  *worker.Worker
}

func (h *workerHolder) set(w *worker.Worker) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.w = w
}

func (h *workerHolder) get() *worker.Worker {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.w
}

// live is nil while the process does its work. Whoever asks and is told
// otherwise may restart it, so the log says why.
func (h *workerHolder) live() error { return h.judge((*worker.Worker).Live) }

func (h *workerHolder) alive() error { return h.judge((*worker.Worker).Alive) }

func (h *workerHolder) judge(how func(*worker.Worker) error) error {
	err := h.starting()
	if w := h.get(); w != nil {
		err = how(w)
	}
	if err != nil {
		h.log.Error(capitalised(err.Error()))
	}
	return err
}

// starting judges a start-up as a worker that does not poll: it may take as
// long as thirty polls, and longer while the server asks for a pause.
func (h *workerHolder) starting() error {
	since := h.begun
	if pause := h.maintenance(); pause.After(since) {
		since = pause
	}
	age := time.Since(since)
	if age <= time.Duration(30*h.settings.QuerySeconds*float64(time.Second)) {
		return nil
	}
	return fmt.Errorf("worker has not polled in the last %.0f seconds and should be restarted", age.Seconds())
}

// checks are the worker's, in the words of health.
func (h *workerHolder) checks() (checks []telemetry.Check) {
	w := h.get()
	if w == nil {
		return nil
	}
	for _, c := range w.Checks() {
		checks = append(checks, telemetry.Check(c))
	}
	return checks
}

func capitalised(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func (h *workerHolder) health(registry *prometheus.Registry) telemetry.Health {
	return telemetry.Health{
		Live: h.live, Alive: h.alive,
		Ready: func() error {
			if w := h.get(); w != nil {
				return w.Ready()
			}
			return errors.New("worker is starting")
		},
		Checks: h.checks,
		Status: func() string {
			if w := h.get(); w != nil {
				return w.Status()
			}
			return "worker is starting\n"
		},
		Metrics: registry,
	}
}

// serveHealth opens the ports that were asked for and returns what closes them.
func (s *workerStart) serveHealth(holder *workerHolder) (closeAll func(), err error) {
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	closeAll = func() {
		cancel()
		serving.Wait()
	}
	serve := func(server *telemetry.Server, err error) error {
		if err != nil {
			closeAll()
			return &UserError{Message: err.Error(), Hint: "choose another port with PREFECT_WORKER_WEBSERVER_PORT (health) or PREFECT_CLIENT_METRICS_PORT (metrics)", Err: err}
		}
		serving.Go(func() {
			if err := server.Serve(ctx); err != nil {
				s.log.Error("Health and metrics are not served any more", "error", err)
			}
		})
		return nil
	}
	if s.flags.healthcheck {
		addr := net.JoinHostPort(s.settings.WebserverHost, strconv.Itoa(s.settings.WebserverPort))
		if err := serve(telemetry.Listen(addr, holder.health(s.registry))); err != nil {
			return nil, err
		}
	}
	if s.settings.MetricsEnabled {
		if err := serve(telemetry.ListenMetrics(net.JoinHostPort("0.0.0.0", strconv.Itoa(s.settings.MetricsPort)), s.registry)); err != nil {
			return nil, err
		}
	}
	return closeAll, nil
}
