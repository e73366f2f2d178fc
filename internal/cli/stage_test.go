package cli

import (
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/fakeprefect"
)

// gate is a port before a server. Closed, it accepts everything and answers nothing,
// on connections that it has already, too.
type gate struct {
	listener net.Listener
	target   string
	closed   atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
	piped sync.WaitGroup
}

func newGate(t *testing.T, url string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: listener, target: strings.TrimPrefix(url, "http://")}
	g.piped.Go(g.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		g.mu.Lock()
		for _, c := range g.conns {
			_ = c.Close()
		}
		g.mu.Unlock()
		g.piped.Wait()
	})
	return g
}

func (g *gate) url() string { return "http://" + g.listener.Addr().String() }

func (g *gate) serve() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", g.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		g.mu.Lock()
		g.conns = append(g.conns, client, server)
		g.mu.Unlock()
		g.piped.Go(func() { g.pipe(server, client) })
		g.piped.Go(func() { g.pipe(client, server) })
	}
}

// pipe passes on what comes while the gate is open, and swallows it afterwards.
func (g *gate) pipe(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !g.closed.Load() {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !g.closed.Load() {
				_ = to.Close()
			}
			return
		}
	}
}

// stage is a Prefect server and an AWS, both fake, each behind a gate.
type stage struct {
	prefect              *fakeprefect.Server
	aws                  *fakeaws.Server
	toPrefect, toAWS     *gate
	flowID, deploymentID string
}

// newStage has a pool "p" of a type, and one deployment with its job variables.
func newStage(t *testing.T, poolType, jobVariables string) *stage {
	t.Helper()
	s := &stage{prefect: fakeprefect.New(), aws: fakeaws.New(t)}
	api := httptest.NewServer(s.prefect)
	t.Cleanup(api.Close)
	s.toPrefect, s.toAWS = newGate(t, api.URL), newGate(t, s.aws.URL)
	s.prefect.AddPool(fakeprefect.Pool{Name: "p", Type: poolType})
	s.flowID = s.prefect.AddFlow(fakeprefect.Flow{Name: "f"}).ID
	s.deploymentID = s.prefect.AddDeployment(fakeprefect.Deployment{Name: "d", FlowID: s.flowID, WorkPoolName: "p", JobVariables: []byte(jobVariables)}).ID
	return s
}

// run schedules a flow run of the deployment for now.
func (s *stage) run() (id string) {
	return s.prefect.AddRun(fakeprefect.FlowRun{Name: "r", FlowID: s.flowID, DeploymentID: &s.deploymentID, WorkPoolName: "p"}).ID
}

// env is what a worker needs to find the stage, and nothing else of this machine.
func (s *stage) env(t *testing.T, more ...string) []string {
	t.Helper()
	return append([]string{
		"PREFECT_API_URL=" + s.toPrefect.url() + "/api", "AWS_ENDPOINT_URL=" + s.toAWS.url(), "AWS_REGION=eu-central-1",
		"AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "AWS_EC2_METADATA_DISABLED=true",
		"HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "PATH=/usr/bin:/bin",
	}, more...)
}
