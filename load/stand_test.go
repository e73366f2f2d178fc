//go:build load

package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/prometheus/client_golang/prometheus"

	"faber/internal/ecs"
	"faber/internal/fake/fakeaws"
	"faber/internal/fake/fakeprefect"
	"faber/internal/launch"
	"faber/internal/prefect"
	"faber/internal/worker"
)

const (
	pool        = "load"
	queue       = "events"
	query       = 10 * time.Second // between two polls, as by default
	deployments = 10
)

// stand is everything that a load test needs, all in one process.
type stand struct {
	t        *testing.T
	aws      *fakeaws.Server
	prefect  *fakeprefect.Server
	registry *prometheus.Registry
	sweeps   *sweeps
	engine   *engine
	polls    moments
	pulse    pulse
	flow     fakeprefect.Flow
	deployed []string // ids of deployments
	began    time.Time
}

// newStand makes a stand whose worker is not started yet.
func newStand(t *testing.T) *stand {
	s := &stand{t: t, aws: fakeaws.New(t), prefect: fakeprefect.New(), registry: prometheus.NewRegistry()}
	s.prefect.AddPool(fakeprefect.Pool{Name: pool, Type: "ecs", BaseJobTemplate: ecs.DefaultBaseJobTemplate()})
	s.flow = s.prefect.AddFlow(fakeprefect.Flow{Name: "flow"})
	for i := range deployments {
		d := s.prefect.AddDeployment(fakeprefect.Deployment{Name: fmt.Sprint("deployment-", i), FlowID: s.flow.ID, WorkPoolName: pool})
		s.deployed = append(s.deployed, d.ID)
	}
	s.aws.AddQueue(queue)
	s.engine = &engine{aws: s.aws, prefect: s.prefect, life: time.Second}
	s.aws.Play(s.engine.play)
	return s
}

// schedule makes runs of all deployments in turn, each due after its delay.
func (s *stand) schedule(n int, delay func(i int) time.Duration) {
	now := time.Now()
	for i := range n {
		s.add(fmt.Sprint("run-", i), s.deployed[i%len(s.deployed)], now.Add(delay(i)))
	}
}

// add makes a run, and returns its id.
func (s *stand) add(name, deployment string, at time.Time) string {
	due := fakeprefect.Time{Time: at}
	return s.prefect.AddRun(fakeprefect.FlowRun{
		Name: name, FlowID: s.flow.ID, DeploymentID: &deployment, WorkPoolName: pool, NextScheduledStart: &due,
	}).ID
}

// serve answers the worker, and notes when it polled.
func (s *stand) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/get_scheduled_flow_runs") {
		s.polls.now()
	}
	s.prefect.ServeHTTP(w, r)
}

// work runs a worker until all runs are over, and then ends it.
func (s *stand) work(within time.Duration) {
	t := s.t
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	defer server.Close()
	client, err := prefect.New(prefect.Options{APIURL: server.URL + "/api", MaxRetries: 5, JitterFactor: 0.2, WorkerName: "loaded"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	launcher, err := ecs.New(ecs.Options{LoadConfig: s.machine, Queue: queue, Metrics: s.registry})
	if err != nil {
		t.Fatal(err)
	}
	s.sweeps = &sweeps{Launcher: launcher}
	w, err := worker.New(worker.Options{
		API: client, Launcher: s.sweeps, Pool: pool, Name: "loaded", Metrics: s.registry,
		Query: query, Prefetch: query,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() { s.pulse.beat(ctx) })
	defer running.Wait()
	defer stop()
	s.began = time.Now()
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := s.prefect.Until(waiting, s.over); err != nil {
		t.Errorf("after %s not all runs are over: %v", within, s.finals())
	}
}

// machine is an AWS configuration that leads to the stand's own.
func (s *stand) machine(ctx context.Context, options ...func(*config.LoadOptions) error) (aws.Config, error) {
	options = append([]func(*config.LoadOptions) error{
		config.WithRegion(fakeaws.Region), config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("machine", "secret", "")), config.WithBaseEndpoint(s.aws.URL),
	}, options...)
	return config.LoadDefaultConfig(ctx, options...)
}

// sweeps is the launcher, and counts what it is asked to describe.
type sweeps struct {
	*ecs.Launcher

	mu     sync.Mutex
	times  int
	calls  int // that are enough for what was asked, a hundred to a call
	widest int
}

func (s *sweeps) Describe(ctx context.Context, handles []launch.Handle) ([]launch.Observation, error) {
	s.mu.Lock()
	s.times++
	s.calls += (len(handles) + 99) / 100
	s.widest = max(s.widest, len(handles))
	s.mu.Unlock()
	return s.Launcher.Describe(ctx, handles)
}
