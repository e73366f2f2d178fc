package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry returns a registry of our own, with what Go and the process tell
// of themselves already in it.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

// Health answers the server's questions. A nil function counts as "all is well".
type Health struct {
	// Live is nil while the process does its work, as Prefect's worker judges that of
	// itself.
	Live func() error
	// Alive is nil while a restart of the process would not help; nil stands for Live.
	Alive func() error
	// Ready is nil while the process serves flow runs.
	Ready func() error
	// Checks are what Ready is made of.
	Checks func() []Check
	// Status describes every part in plain words, for people.
	Status func() string
	// Metrics are served on /metrics; nil serves none.
	Metrics prometheus.Gatherer
}

// Server serves health or metrics on one port.
type Server struct {
	what     string
	listener net.Listener
	http     *http.Server
}

// Listen opens the port, so that a port that is taken is known at once.
func Listen(addr string, h Health) (*Server, error) {
	return listen("health checks", addr, h.handler())
}

// ListenMetrics opens a port for metrics alone, on any path, as Prefect's
// client serves them.
func ListenMetrics(addr string, metrics prometheus.Gatherer) (*Server, error) {
	return listen("metrics", addr, promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
}

func listen(what, addr string, handler http.Handler) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", what, err)
	}
	return &Server{what: what, listener: l, http: &http.Server{
		Handler: handler,
		// A request that takes longer than this is none.
		ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.http.Close() })
	defer stop()
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.what, err)
	}
	return nil
}

// Close ends the server, whether it serves or not.
func (s *Server) Close() {
	_ = s.http.Close() // nothing is under way that would have to be finished
	_ = s.listener.Close()
}

func (h Health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", h.prefectHealth)
	mux.HandleFunc("GET /healthz", h.alive)
	mux.HandleFunc("GET /readyz", h.ready)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if h.Status != nil {
			fmt.Fprint(w, h.Status())
		}
	})
	if h.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(h.Metrics, promhttp.HandlerOpts{}))
	}
	return mux
}

// prefectHealth answers byte for byte as Prefect's worker does: health checks
// written for that one must keep working.
func (h Health) prefectHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if h.Live != nil && h.Live() != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"message":"Worker may be unresponsive at this time"}`)
		return
	}
	fmt.Fprint(w, `{"message":"OK"}`)
}
