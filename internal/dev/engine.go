package dev

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Engine is the container engine that a stack uses.
type Engine struct {
	Host string `json:"host"` // address of its API
	Own  bool   `json:"own"`  // a podman that the stack started for itself
	// Gateway is the address under which containers reach this machine; "" where
	// that is loopback, as with Docker Desktop.
	Gateway string `json:"gateway"`
	Bridge  string `json:"bridge"` // network interface of an own podman
	Arch    string `json:"arch"`   // amd64 or arm64
	Subnet  string `json:"subnet"`
	Version string `json:"version"`
}

// engineChoice is how a container engine will be had.
type engineChoice struct {
	docker string // address of a running Docker engine
	podman string // path of podman
	apt    bool   // install podman first
}

// chooseEngine finds a running Docker, or a podman to start, or a way to install
// one. Podman is used as root only: without, its containers cannot reach this
// machine under one address.
func chooseEngine(ctx context.Context, o Options, hosts []string) (engineChoice, error) {
	for _, host := range hosts {
		client, err := newEngineClient(host)
		if err == nil && client.ping(ctx) == nil {
			return engineChoice{docker: host}, nil
		}
	}
	if host, ok := o.Env("DOCKER_HOST"); ok && host != "" {
		return engineChoice{}, &Problem{
			Message: "no container engine answers at DOCKER_HOST=" + host,
			Hint:    "start it, or unset DOCKER_HOST",
		}
	}
	root := os.Geteuid() == 0
	podman, err := lookPath(o, "podman")
	switch {
	case err == nil && root && runtime.GOOS == "linux":
		return engineChoice{podman: podman}, nil
	case canApt(o):
		return engineChoice{apt: true}, nil
	}
	p := &Problem{Message: "no container engine: no Docker answers"}
	switch {
	case runtime.GOOS == "darwin":
		p.Hint = "start Docker Desktop (or another engine with Docker's API, and set DOCKER_HOST)"
	case err == nil:
		p.Message += ", and podman is used as root only"
		p.Hint = "start Docker, or run this as root"
	default:
		p.Message += ", and there is no podman on PATH"
		p.Hint = "install one: sudo apt-get install podman runc netavark (Debian, Ubuntu), or Docker Engine"
	}
	return engineChoice{}, p
}

// dockerHosts are the places where a Docker engine may listen, likeliest first.
func dockerHosts(o Options) []string {
	if host, ok := o.Env("DOCKER_HOST"); ok && host != "" {
		return []string{host}
	}
	hosts := []string{"unix:///var/run/docker.sock"}
	if o.Home != "" {
		hosts = append(hosts,
			"unix://"+filepath.Join(o.Home, ".docker/run/docker.sock"),
			"unix://"+filepath.Join(o.Home, ".colima/default/docker.sock"))
	}
	return hosts
}

// podmanPackages are what a podman of our own needs on Debian and Ubuntu.
var podmanPackages = []string{"podman", "runc", "netavark", "iptables", "ca-certificates"} //nolint:gochecknoglobals // a constant list

// containerEngine makes sure that an engine answers, and learns how containers
// reach this machine.
func (u *up) containerEngine(ctx context.Context, step *Step) error {
	if u.state.Engine.Own && u.state.Processes["engine"].Alive() {
		client, err := newEngineClient(u.state.Engine.Host)
		if err == nil && client.ping(ctx) == nil {
			u.engine = client
			step.Done("kept: %s", u.state.Engine.Version)
			return nil
		}
	}
	choice := u.tools.engine
	if choice.docker != "" {
		return u.useDocker(ctx, step, choice.docker)
	}
	if choice.apt {
		if err := aptInstall(ctx, u.Options, step, podmanPackages...); err != nil {
			return err
		}
		podman, err := lookPath(u.Options, "podman")
		if err != nil {
			return err
		}
		choice.podman = podman
	}
	return u.startPodman(ctx, step, choice.podman)
}

func (u *up) useDocker(ctx context.Context, step *Step, host string) error {
	client, err := newEngineClient(host)
	if err != nil {
		return err
	}
	info, err := client.info(ctx)
	if err != nil {
		return err
	}
	if info.OSType != "" && info.OSType != "linux" {
		return &Problem{Message: "the container engine runs " + info.OSType + " containers", Hint: "switch it to Linux containers"}
	}
	engine := Engine{Host: host, Arch: goArch(info.Architecture), Version: "docker, " + info.OperatingSystem}
	// Docker Desktop and the engines in virtual machines that are like it lead
	// host.docker.internal to the loopback of this machine.
	if runtime.GOOS == "linux" && !strings.Contains(info.OperatingSystem, "Docker Desktop") {
		if engine.Gateway, err = client.gateway(ctx); err != nil {
			return err
		}
	}
	u.engine, u.state.Engine = client, engine
	step.Done("%s", engine.Version)
	return nil
}

func goArch(machine string) string {
	switch machine {
	case "x86_64", "amd64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	default:
		return machine
	}
}

// startPodman starts a podman that belongs to this stack alone: images,
// containers and network are below the stack's directory, so that it touches no
// other podman of this machine and leaves nothing behind.
func (u *up) startPodman(ctx context.Context, step *Step, podman string) error {
	step.Note("starting podman")
	engine, err := u.configurePodman()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(u.Layout.socket()); err != nil {
		return fmt.Errorf("remove an old socket: %w", err)
	}
	env := podmanEnv(u.Layout)
	version, err := u.podmanVersion(ctx, podman, env)
	if err != nil {
		return err
	}
	engine.Version = version
	if err := u.start("engine", env, podman, "system", "service", "--time=0", engine.Host); err != nil {
		return err
	}
	client, err := newEngineClient(engine.Host)
	if err != nil {
		return err
	}
	if err := u.await(ctx, "engine", 30*time.Second, client.ping); err != nil {
		return err
	}
	u.engine, u.state.Engine = client, engine
	step.Done("%s, a store and a network of its own", version)
	return nil
}

func (u *up) podmanVersion(ctx context.Context, podman string, env []string) (string, error) {
	cmd := command(ctx, u.Options, podman, "info", "--format", "podman {{.Version.Version}} ({{.Host.OCIRuntime.Name}}, {{.Host.NetworkBackend}})")
	cmd.Env = append(append([]string{}, u.Environ...), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", &Problem{
			Message: "podman does not work here:\n" + lastLines(string(out)),
			Hint:    "try: apt-get install podman runc netavark iptables",
			Err:     err,
		}
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1], nil
}

func podmanEnv(l Layout) []string {
	return []string{
		"CONTAINERS_CONF=" + filepath.Join(l.engineDir(), "containers.conf"),
		"CONTAINERS_STORAGE_CONF=" + filepath.Join(l.engineDir(), "storage.conf"),
	}
}

// configurePodman writes podman's configuration. What each setting is for:
//
//   - runc, because crun refuses the mixed cgroup hierarchies of some machines;
//   - ulimits that need no CAP_SYS_RESOURCE, because raising them is refused in
//     some virtual machines;
//   - a hosts file of our own, because podman 4.3 does not know the entry
//     host.docker.internal:host-gateway that the emulator asks for;
//   - log and event files, because there may be no journal.
//
// The directories that podman derives from its store are left to it: the process
// that cleans up after a container is started without these files and has to
// arrive at the same ones.
func (u *up) configurePodman() (Engine, error) {
	dir := u.Layout.engineDir()
	if err := u.forgetLastBoot(); err != nil {
		return Engine{}, err
	}
	engine := u.state.Engine
	_, err := os.Stat(filepath.Join(dir, "networks", "faber.json"))
	fresh := err != nil || !engine.Own || engine.Subnet == ""
	if fresh {
		subnet, gateway, err := freeSubnet()
		if err != nil {
			return Engine{}, err
		}
		engine = Engine{Own: true, Subnet: subnet, Gateway: gateway, Bridge: "fbr" + u.Layout.id()}
	}
	engine.Arch = runtime.GOARCH
	engine.Host = "unix://" + u.Layout.socket()
	runtimeLine := ""
	if _, err := lookPath(u.Options, "runc"); err == nil {
		runtimeLine = "runtime = \"runc\"\n"
	}
	var id [32]byte
	if _, err := rand.Read(id[:]); err != nil {
		return Engine{}, fmt.Errorf("make a network id: %w", err)
	}
	files := map[string]string{
		"containers.conf": fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
base_hosts_file = %q
log_driver = "k8s-file"
[engine]
%scgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = %q
[network]
network_backend = "netavark"
default_network = "faber"
network_config_dir = %q
`, filepath.Join(dir, "hosts"), runtimeLine, filepath.Join(dir, "run", "libpod"), filepath.Join(dir, "networks")),
		"storage.conf": fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n",
			filepath.Join(dir, "storage"), filepath.Join(dir, "run", "storage")),
		"hosts": fmt.Sprintf("127.0.0.1 localhost\n%s host.docker.internal\n", engine.Gateway),
	}
	if fresh {
		files["networks/faber.json"] = fmt.Sprintf(`{"name": "faber", "id": %q, "driver": "bridge", "network_interface": %q,
 "created": "2026-01-01T00:00:00Z", "subnets": [{"subnet": %q, "gateway": %q}],
 "ipv6_enabled": false, "internal": false, "dns_enabled": false, "ipam_options": {"driver": "host-local"}}
`, hex.EncodeToString(id[:]), engine.Bridge, engine.Subnet, engine.Gateway)
	}
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o750); err != nil {
			return Engine{}, fmt.Errorf("configure podman: %w", err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			return Engine{}, fmt.Errorf("configure podman: %w", err)
		}
	}
	return engine, nil
}

// forgetLastBoot removes what podman keeps for one boot only. It expects a file
// system in memory there; left behind, it would take dead containers for live.
func (u *up) forgetLastBoot() error {
	dir := u.Layout.engineDir()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("read the boot id: %w", err)
	}
	file := filepath.Join(dir, "boot")
	last, err := os.ReadFile(file)
	if err == nil && string(last) == string(boot) {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(dir, "run")); err != nil {
		return fmt.Errorf("clear podman's run directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make podman's directory: %w", err)
	}
	return os.WriteFile(file, boot, 0o600)
}

// freeSubnet picks a private /24 that no network of this machine overlaps.
func freeSubnet() (subnet, gateway string, err error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", "", fmt.Errorf("list this machine's addresses: %w", err)
	}
	var taken []*net.IPNet
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok {
			taken = append(taken, n)
		}
	}
	var start [1]byte
	if _, err := rand.Read(start[:]); err != nil {
		return "", "", fmt.Errorf("pick a subnet: %w", err)
	}
	for i := range 256 {
		third := (int(start[0]) + i) % 256
		_, candidate, err := net.ParseCIDR(fmt.Sprintf("10.213.%d.0/24", third))
		if err != nil {
			return "", "", fmt.Errorf("pick a subnet: %w", err)
		}
		if !overlaps(candidate, taken) {
			return candidate.String(), fmt.Sprintf("10.213.%d.1", third), nil
		}
	}
	return "", "", errors.New("every network 10.213.x.0/24 is in use on this machine")
}

func overlaps(candidate *net.IPNet, taken []*net.IPNet) bool {
	for _, t := range taken {
		if t.Contains(candidate.IP) || candidate.Contains(t.IP) {
			return true
		}
	}
	return false
}
