package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is a machine with chosen programs on it.
type machine struct {
	path string
	env  map[string]string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{path: t.TempDir(), env: map[string]string{}}
	m.program(t, "python3", `echo 3 11`)
	m.program(t, "terraform", `echo '{"terraform_version": "1.11.4"}'`)
	return m
}

func (m *machine) program(t *testing.T, name, script string) {
	t.Helper()
	text := "#!/bin/sh\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(m.path, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// docker makes an engine answer on this machine.
func (m *machine) docker(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "faber") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "OK") }))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	m.env["DOCKER_HOST"] = "unix://" + socket
}

func (m *machine) options(t *testing.T) Options {
	t.Helper()
	m.env["PATH"] = m.path
	var environ []string
	for name, value := range m.env {
		environ = append(environ, name+"="+value)
	}
	layout, err := NewLayout(filepath.Join(t.TempDir(), "dev"), "test")
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Layout:  layout,
		Environ: environ,
		Env:     func(name string) (string, bool) { v, ok := m.env[name]; return v, ok },
		Steps:   &Steps{Out: io.Discard},
	}
}

// TestRefusesBeforeAnythingIsBegun holds that wrong inputs are clear errors with
// a next step, and that nothing was made on the disk.
func TestRefusesBeforeAnythingIsBegun(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	for name, c := range map[string]struct {
		arrange       func(*testing.T, *machine, *Options)
		message, hint string
	}{
		"no engine answers": {
			func(_ *testing.T, m *machine, _ *Options) { m.env["DOCKER_HOST"] = "unix:///nowhere/docker.sock" },
			"no container engine answers at DOCKER_HOST=unix:///nowhere/docker.sock", "unset DOCKER_HOST",
		},
		"terraform too old": {
			func(t *testing.T, m *machine, _ *Options) {
				m.docker(t)
				m.program(t, "terraform", `echo '{"terraform_version": "1.5.7"}'`)
			},
			"terraform 1.5.7 is too old: 1.11.0 or later", "update it",
		},
		"python too old": {
			func(t *testing.T, m *machine, _ *Options) { m.docker(t); m.program(t, "python3", `echo 3 9`) },
			"python3 is 3.9", "install one",
		},
		"port taken": {
			func(t *testing.T, m *machine, o *Options) { m.docker(t); o.Ports.Prefect = port },
			fmt.Sprintf("port %d is taken by another program", port), "give another --prefect-port",
		},
		"two at once": {
			func(_ *testing.T, m *machine, _ *Options) {
				m.env["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
				os.Remove(filepath.Join(m.path, "python3"))
			},
			"no Python 3.10 to 3.14 on PATH", "nothing was begun",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			o := m.options(t)
			c.arrange(t, m, &o)
			ports := o.Ports
			o = m.withEnv(o)
			o.Ports = ports
			_, err := Up(t.Context(), o)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.message) {
				t.Errorf("message %q does not contain %q", err, c.message)
			}
			var hinted interface{ UserHint() string }
			if !errors.As(err, &hinted) || !strings.Contains(hinted.UserHint(), c.hint) {
				t.Errorf("hint of %q does not contain %q", err, c.hint)
			}
			if _, err := os.Stat(o.Layout.Root); err == nil {
				t.Error("something was made on the disk")
			}
		})
	}
}

// withEnv renews the environment list after the machine's variables changed.
func (m *machine) withEnv(o Options) Options {
	o.Environ = nil
	for name, value := range m.env {
		o.Environ = append(o.Environ, name+"="+value)
	}
	return o
}

func TestNoEngineAtAll(t *testing.T) {
	m := newMachine(t)
	_, err := chooseEngine(t.Context(), m.options(t), nil)
	var p *Problem
	if !errors.As(err, &p) || !strings.Contains(p.Message, "no container engine") || p.Hint == "" {
		t.Errorf("error %v", err)
	}
}

func TestPortsAreKeptAndFreeOnesFound(t *testing.T) {
	u := &up{state: State{Processes: map[string]Process{}}}
	if err := u.choosePorts(); err != nil {
		t.Fatal(err)
	}
	first := u.state.Ports
	seen := map[int]bool{}
	for _, p := range []int{first.Prefect, first.Cloud, first.AWS, first.Ministack, first.Moto} {
		if p == 0 || seen[p] {
			t.Errorf("ports %+v", first)
		}
		seen[p] = true
	}
	if err := u.choosePorts(); err != nil || u.state.Ports != first {
		t.Errorf("chosen again: %+v, %v; want %+v", u.state.Ports, err, first)
	}
}

func TestLayoutNames(t *testing.T) {
	for _, bad := range []string{"", "a", "Demo", "1st", "x_y", "ends-", strings.Repeat("x", 17), "../up"} {
		if _, err := NewLayout(".dev", bad); err == nil {
			t.Errorf("%q is taken for a name", bad)
		}
	}
	deep, err := NewLayout(filepath.Join(t.TempDir(), strings.Repeat("deep/", 30)), "demo")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(deep.socket()); n > 100 {
		t.Errorf("the socket's path has %d bytes: %s", n, deep.socket())
	}
}

func TestProcessLife(t *testing.T) {
	layout, err := NewLayout(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(layout.Logs(), 0o750); err != nil {
		t.Fatal(err)
	}
	u := &up{Options: Options{Layout: layout}, state: State{Processes: map[string]Process{}}}
	// A child of the leader, deaf to SIGTERM, goes with its group.
	err = u.start("sleeper", []string{"PATH=/usr/bin:/bin"}, "/bin/sh", "-c", `(trap "" TERM; sleep 60) & echo begun; wait`)
	if err != nil {
		t.Fatal(err)
	}
	p := u.state.Processes["sleeper"]
	err = u.await(t.Context(), "sleeper", 10*time.Second, func(context.Context) error {
		if data, _ := os.ReadFile(p.Log); !strings.Contains(string(data), "begun") {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if (Process{PID: p.PID, Started: "another life"}).Alive() {
		t.Error("a process of another life counts as this one")
	}
	if err := stopProcess(p, 5*time.Second); err != nil {
		t.Error(err)
	}
	if p.Alive() {
		t.Error("it is alive after its end")
	}
	if err := stopProcess(p, time.Second); err != nil {
		t.Errorf("ending it twice: %v", err)
	}
}

func TestDeadProcessShowsItsLog(t *testing.T) {
	layout, err := NewLayout(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(layout.Logs(), 0o750); err != nil {
		t.Fatal(err)
	}
	u := &up{Options: Options{Layout: layout}, state: State{Processes: map[string]Process{}}}
	err = u.start("server", nil, "/bin/sh", "-c", "echo the address is taken; exit 1")
	if err == nil {
		err = u.await(t.Context(), "server", 10*time.Second, func(context.Context) error { return errors.New("no answer") })
	}
	if err == nil || !strings.Contains(err.Error(), "the address is taken") {
		t.Errorf("error %v", err)
	}
}

func TestDemultiplex(t *testing.T) {
	stream := "\x01\x00\x00\x00\x00\x00\x00\x06hello\n" + "\x02\x00\x00\x00\x00\x00\x00\x04bye\n"
	if got := demultiplex([]byte(stream)); got != "hello\nbye\n" {
		t.Errorf("got %q", got)
	}
	if got := demultiplex([]byte("plain\n")); got != "plain\n" {
		t.Errorf("got %q", got)
	}
	if got := demultiplex([]byte("\x01\x00\x00\x00\xff\xff\xff\xffcut")); got != "cut" {
		t.Errorf("got %q", got)
	}
}

func TestOverlaps(t *testing.T) {
	parse := func(s string) *net.IPNet {
		ip, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		return &net.IPNet{IP: ip, Mask: n.Mask}
	}
	_, candidate, _ := net.ParseCIDR("10.213.7.0/24")
	for network, want := range map[string]bool{
		"10.213.7.1/24": true, "10.0.0.5/8": true, "10.213.7.130/25": true, "10.213.8.1/24": false, "192.0.2.2/24": false,
	} {
		if got := overlaps(candidate, []*net.IPNet{parse(network)}); got != want {
			t.Errorf("%s: %v", network, got)
		}
	}
}

func TestStepsOffATerminal(t *testing.T) {
	var out strings.Builder
	steps := &Steps{Out: &out}
	_ = steps.Run(t.Context(), "one", func(_ context.Context, s *Step) error { s.Done("made %d", 3); return nil })
	err := steps.Run(t.Context(), "two", func(context.Context, *Step) error { return errors.New("broken") })
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err == nil || len(lines) != 2 || !strings.HasPrefix(lines[0], "ok ") || !strings.HasSuffix(lines[0], "made 3") || !strings.HasPrefix(lines[1], "FAIL") {
		t.Errorf("%v, printed:\n%s", err, out.String())
	}
}
