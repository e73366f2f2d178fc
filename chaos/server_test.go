//go:build chaos

package chaos

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sharedServers is how many plain Prefect servers the tests are spread over: one
// SQLite file does not bear all of them writing at once.
const sharedServers = 3

// A server is a real Prefect server on loopback.
type server struct {
	url  string // without /api
	home string
	port int
	env  []string
	log  *os.File
	cmd  *exec.Cmd
}

// servers are started when first asked for and ended by TestMain.
var servers struct {
	sync.Mutex
	shared map[string]*sharedServer
}

type sharedServer struct {
	once   sync.Once
	server *server
	err    error
}

// plainServer is a server as it is out of the box, shared by many tests: a test
// may only rely on what it made itself.
func plainServer(t *testing.T) *server {
	t.Helper()
	sum := fnv.New32a()
	sum.Write([]byte(t.Name()))
	return namedServer(t, fmt.Sprint("plain-", sum.Sum32()%sharedServers))
}

// namedServer is a server with settings of its own, started once for all tests
// that give this name and the same settings.
func namedServer(t *testing.T, name string, env ...string) *server {
	t.Helper()
	servers.Lock()
	if servers.shared == nil {
		servers.shared = map[string]*sharedServer{}
	}
	shared := servers.shared[name]
	if shared == nil {
		shared = &sharedServer{}
		servers.shared[name] = shared
	}
	servers.Unlock()
	shared.once.Do(func() { shared.server, shared.err = startServer(env) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// ownServer is a server that the test may stop and start.
func ownServer(t *testing.T, env ...string) *server {
	t.Helper()
	s, err := startServer(env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	return s
}

func stopServers() {
	servers.Lock()
	defer servers.Unlock()
	for _, shared := range servers.shared {
		if shared.server != nil {
			shared.server.remove()
		}
	}
}

// starting has one server start after the other: a start takes a processor for ten
// seconds, and three at once have everything else wait.
var starting sync.Mutex

func startServer(env []string) (*server, error) {
	starting.Lock()
	defer starting.Unlock()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	home, err := os.MkdirTemp("", "chaos-server-")
	if err != nil {
		return nil, err
	}
	s := &server{url: fmt.Sprintf("http://127.0.0.1:%d", port), home: home, port: port, env: env}
	if err := s.start(); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

// start starts the server's process and waits until it answers.
func (s *server) start() error {
	log, err := os.OpenFile(filepath.Join(s.home, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(suite.prefect, "server", "start", "--host", "127.0.0.1", "--port", fmt.Sprint(s.port))
	cmd.Env = append(cleanEnviron(), append([]string{
		"PREFECT_HOME=" + s.home, "PREFECT_SERVER_ANALYTICS_ENABLED=false",
		"PREFECT_SERVER_DATABASE_TIMEOUT=60", "PREFECT_LOGGING_LEVEL=WARNING",
	}, s.env...)...)
	if !slices.Contains(s.env, manyConnections) {
		database, err := s.database()
		if err != nil {
			return err
		}
		cmd.Env = append(cmd.Env, "PREFECT_SERVER_DATABASE_CONNECTION_URL="+database)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.log = cmd, log
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		response, err := http.Get(s.url + "/api/health")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the Prefect server does not answer:\n%s", said)
		}
	}
}

// database is the URL of the server's SQLite file, which must outlive a restart.
// Prefect gives a database whose URL has ":memory:" in it a single connection.
// With more of them a server that is written to from many sides hangs for its
// busy time-out of 60 s: one connection waits for the lock that another one holds,
// and Python's garbage collector, in the thread that everything goes through, for
// the one that waits.
func (s *server) database() (string, error) {
	dir := filepath.Join(s.home, ":memory:")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return "sqlite+aiosqlite:///" + filepath.Join(dir, "prefect.db"), nil
}

// manyConnections among a server's settings leaves it the connections that Prefect
// gives it: with one alone it cannot pause a queue, for it wants another to tell.
const manyConnections = "CONFORMANCE_CONNECTIONS=many"

// stop kills the server's processes.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait()
	_ = s.log.Close()
	s.cmd = nil
}

func (s *server) remove() {
	s.stop()
	_ = os.RemoveAll(s.home)
}

// cleanEnviron is this process's environment without anything a worker, a
// server or an AWS SDK would read.
func cleanEnviron() []string {
	var env []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		switch {
		case strings.HasPrefix(name, "PREFECT_"), strings.HasPrefix(name, "FABER"), strings.HasPrefix(name, "AWS_"),
			strings.HasPrefix(name, "CONFORMANCE_"), strings.HasSuffix(strings.ToUpper(name), "_PROXY"), name == "SSL_CERT_FILE":
		default:
			env = append(env, pair)
		}
	}
	return env
}
