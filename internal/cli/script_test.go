package cli_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"faber/internal/cli"
	"faber/internal/fake/fakeprefect"
)

// TestMain makes this test binary the program `faber` inside the scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"faber":          func() { os.Exit(cli.Main(context.Background(), os.Args[1:], cli.System())) },
		"fake-terraform": fakeTerraform,
	})
}

// TestScripts types commands as a user does and looks at what comes back.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			// Where the program under test is; the scripts choose all other programs.
			bin, _, _ := strings.Cut(env.Getenv("PATH"), string(os.PathListSeparator))
			env.Setenv("FABER_BIN", bin)
			env.Setenv("FAKE_CALLS", filepath.Join(env.WorkDir, "terraform.log"))
			env.Setenv("FAKE_OUTPUTS", filepath.Join(env.WorkDir, "outputs.json"))
			env.Values[netKey{}] = &scriptNet{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"api": startAPI, "aws": startAWS, "proxy": startProxy, "seen": haveSeen,
		},
	})
}

type netKey struct{}

// scriptNet is what a script starts on loopback.
type scriptNet struct {
	mu   sync.Mutex
	log  []string // what the API and the proxy were asked
	addr string   // of the API
}

func (n *scriptNet) apiAddr() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr
}

func (n *scriptNet) note(who string, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, who+" "+r.Method+" "+r.Host+r.URL.Path)
}

// startAPI starts a Prefect API and sets $API to its address, without /api:
//
//	api [pool=<name>] [type=<type>] [paused] [template=<file>] [worker=<name>] [run=<name>] [queues=<name>,...] [queues-paused=<name>,...] [version=<version>] [page] [tls]
//
// The worker sends a heartbeat whenever somebody asks for workers; the run is due.
// With page it answers everything with a web page; with tls, $WORK/cert.pem is
// its certificate.
func startAPI(ts *testscript.TestScript, _ bool, args []string) {
	network := ts.Value(netKey{}).(*scriptNet)
	words := map[string]string{}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		words[name] = value
	}
	_, paused := words["paused"]
	server := fakeprefect.New()
	if words["pool"] != "" {
		pool := fakeprefect.Pool{Name: words["pool"], Type: words["type"], IsPaused: paused}
		if words["template"] != "" {
			pool.BaseJobTemplate = []byte(ts.ReadFile(words["template"]))
		}
		server.AddPool(pool)
	}
	if words["run"] != "" {
		flow := server.AddFlow(fakeprefect.Flow{Name: "f"}).ID
		server.AddRun(fakeprefect.FlowRun{Name: words["run"], FlowID: flow, WorkPoolName: words["pool"]})
	}
	mux := http.NewServeMux()
	mux.Handle("/", server)
	if words["version"] != "" {
		mux.HandleFunc("GET /api/admin/version", answer("application/json", `"`+words["version"]+`"`))
	}
	if names := words["queues"] + words["queues-paused"]; names != "" {
		mux.HandleFunc("POST /api/work_pools/{pool}/queues/filter", answer("application/json", queues(words["queues"], words["queues-paused"])))
	}
	if words["worker"] != "" {
		mux.HandleFunc("POST /api/work_pools/{pool}/workers/filter", func(w http.ResponseWriter, r *http.Request) {
			beat := httptest.NewRequest(http.MethodPost, "/api/work_pools/"+r.PathValue("pool")+"/workers/heartbeat", strings.NewReader(`{"name":"`+words["worker"]+`"}`))
			server.ServeHTTP(httptest.NewRecorder(), beat)
			server.ServeHTTP(w, r)
		})
	}
	_, page := words["page"]
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		network.note("api", r)
		if page {
			answer("text/html", "<!doctype html><title>Prefect</title>")(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
	api := httptest.NewUnstartedServer(handler)
	if _, secure := words["tls"]; secure {
		api.StartTLS()
		certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
		ts.Check(os.WriteFile(ts.MkAbs("cert.pem"), certificate, 0o600))
	} else {
		api.Start()
	}
	ts.Defer(api.Close)
	network.mu.Lock()
	network.addr = api.Listener.Addr().String()
	network.mu.Unlock()
	ts.Setenv("API", api.URL)
}

func answer(kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, body)
	}
}

func queues(running, paused string) string {
	var all []string
	for names, isPaused := range map[string]bool{running: false, paused: true} {
		for name := range strings.FieldsFuncSeq(names, func(r rune) bool { return r == ',' }) {
			all = append(all, fmt.Sprintf(`{"id":%q,"name":%q,"is_paused":%t}`, name, name, isPaused))
		}
	}
	return "[" + strings.Join(all, ",") + "]"
}

// startProxy starts a forward proxy and sets $PROXY to its URL. Every name leads
// to the API.
func startProxy(ts *testscript.TestScript, _ bool, _ []string) {
	network := ts.Value(netKey{}).(*scriptNet)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		network.note("proxy", r)
		if r.Method != http.MethodConnect {
			forward(network.apiAddr(), w, r)
			return
		}
		far, err := net.Dial("tcp", network.apiAddr())
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		near, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			_ = far.Close()
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go relay(near, far)
		go relay(far, near)
	}))
	ts.Defer(proxy.Close)
	ts.Setenv("PROXY", proxy.URL)
}

func relay(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

func forward(addr string, w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Host = "", addr
	response, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

// haveSeen looks for a request that the API or the proxy got:
//
//	seen 'api GET .*/api/work_pools/p'
func haveSeen(ts *testscript.TestScript, not bool, args []string) {
	network := ts.Value(netKey{}).(*scriptNet)
	pattern, err := regexp.Compile(strings.Join(args, " "))
	ts.Check(err)
	network.mu.Lock()
	defer network.mu.Unlock()
	if log := strings.Join(network.log, "\n"); pattern.MatchString(log) == not {
		ts.Fatalf("%q found: %t, in\n%s", pattern, !not, log)
	}
}
