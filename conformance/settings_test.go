//go:build conformance

package conformance

import (
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/relay"
)

func Test011CustomHeaders(t *testing.T) {
	b := newBench(t, "11", "custom headers reach HTTP and WebSocket upgrades; protected ones are ignored with a warning")
	b.createPool("process", nil)
	w := b.worker("process", withEnv("PREFECT_CLIENT_CUSTOM_HEADERS", `{"X-Tenant":"blue","User-Agent":"mine","Prefect-Csrf-Token":"mine"}`))
	b.waitPolled(1)
	b.waitEmitted("prefect.worker.started", 20*time.Second)
	exchanges, sockets := b.relay.Exchanges(), b.relay.Sockets("")
	for _, x := range exchanges {
		protected := x.Header.Get("User-Agent") == "mine" || x.Header.Get("Prefect-Csrf-Token") != ""
		if x.Header.Get("X-Tenant") != "blue" || protected && !versionProbe(x) {
			t.Errorf("%s %s has X-Tenant %q, User-Agent %q, Prefect-Csrf-Token %q", x.Method, x.Path,
				x.Header.Get("X-Tenant"), x.Header.Get("User-Agent"), x.Header.Get("Prefect-Csrf-Token"))
		}
	}
	paths := map[string]bool{}
	for _, s := range sockets {
		paths[s.Path[strings.LastIndex(s.Path, "/")+1:]] = true
		if s.Header.Get("X-Tenant") != "blue" || s.Header.Get("User-Agent") == "mine" {
			t.Errorf("socket %s has X-Tenant %q, User-Agent %q", s.Path, s.Header.Get("X-Tenant"), s.Header.Get("User-Agent"))
		}
	}
	if !paths["connect"] || !paths["in"] {
		t.Errorf("not all sockets were seen: %v", paths)
	}
	for _, name := range []string{"User-Agent", "Prefect-Csrf-Token"} {
		w.waitLog(10*time.Second, "Custom header '"+name+"' is ignored because it conflicts with a protected header managed by Prefect")
	}
	b.saw("X-Tenant on %d calls and %d sockets; two warnings of protected headers, neither sent", len(exchanges), len(sockets))
}

// writeFile writes a file below dir.
func (b *bench) writeFile(dir, name, text string) string {
	b.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return file
}

// asKeys starts workers on lanes of their own, and checks that each uses the API
// key it should: a key is a setting like any other, and shows on the wire.
func (b *bench) asKeys(cases []keyCase) {
	b.Helper()
	lanes := make([]*bench, len(cases))
	for i, c := range cases {
		lanes[i] = b.lane()
		lanes[i].worker("process", func(o *workerOptions) {
			o.API = ""
			c.change(o, lanes[i].relay.API())
		})
	}
	for i, c := range cases {
		lanes[i].waitPolled(1)
		for _, x := range lanes[i].relay.Exchanges() {
			if got := x.Header.Get("Authorization"); got != "Bearer "+c.want {
				b.Errorf("%s: %s %s has Authorization %q, want the key %q", c.name, x.Method, x.Path, got, c.want)
			}
		}
		b.saw("%s: %s", c.name, c.want)
	}
}

type keyCase struct {
	name   string
	change func(o *workerOptions, api string)
	want   string
}

// profiles is a profiles.toml whose profiles each have a key of their name.
func profiles(api, active string, names ...string) string {
	text := "active = \"" + active + "\"\n"
	for _, name := range names {
		text += "\n[profiles." + name + "]\nPREFECT_API_URL = \"" + api + "\"\nPREFECT_API_KEY = \"" + name + "\"\n"
	}
	return text
}

func Test012Profiles(t *testing.T) {
	b := newBench(t, "12", "settings of the active profile are used; env overrides; PREFECT_PROFILE and --profile select")
	b.createPool("process", nil)
	file := func(o *workerOptions, api string) {
		o.Env["PREFECT_PROFILES_PATH"] = b.writeFile(b.TempDir(), "mine.toml", profiles(api, "one", "one", "two", "three"))
	}
	b.asKeys([]keyCase{
		{"active", file, "one"},
		{"env", func(o *workerOptions, api string) {
			file(o, api)
			o.Env["PREFECT_API_KEY"] = "env"
		}, "env"},
		{"PREFECT_PROFILE=two", func(o *workerOptions, api string) {
			file(o, api)
			o.Env["PREFECT_PROFILE"] = "two"
		}, "two"},
		{"PREFECT_PROFILE=two --profile three", func(o *workerOptions, api string) {
			file(o, api)
			o.Env["PREFECT_PROFILE"] = "two"
			o.Global = []string{"--profile", "three"}
		}, "three"},
	})
}

func Test013SettingsFiles(t *testing.T) {
	b := newBench(t, "13", "PREFECT_HOME/profiles.toml is read; prefect.toml and pyproject.toml beat the profile")
	b.createPool("process", nil)
	home := func(o *workerOptions, api string) {
		o.Env["PREFECT_HOME"] = b.TempDir()
		o.Dir = b.TempDir()
		b.writeFile(o.Env["PREFECT_HOME"], "profiles.toml", profiles(api, "home", "home"))
	}
	b.asKeys([]keyCase{
		{"PREFECT_HOME/profiles.toml", home, "home"},
		{"with pyproject.toml", func(o *workerOptions, api string) {
			home(o, api)
			b.writeFile(o.Dir, "pyproject.toml", "[project]\nname = \"x\"\n\n[tool.prefect.api]\nkey = \"pyproject\"\n")
		}, "pyproject"},
		{"with pyproject.toml and prefect.toml", func(o *workerOptions, api string) {
			home(o, api)
			b.writeFile(o.Dir, "pyproject.toml", "[tool.prefect.api]\nkey = \"pyproject\"\n")
			b.writeFile(o.Dir, "prefect.toml", "[api]\nkey = \"toml\"\n")
		}, "toml"},
	})
}

func Test014TLS(t *testing.T) {
	b := newBench(t, "14", "self-signed TLS: fails by default, works with SSL_CERT_FILE, PREFECT_API_SSL_CERT_FILE and skip-verify")
	b.createPool("process", nil)
	secure := func() *bench {
		lane := b.lane()
		lane.relay = relay.NewTLS(t, b.server.url)
		return lane
	}
	untrusting := secure()
	authority := b.writeFile(t.TempDir(), "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: untrusting.relay.Certificate().Certificate[0]})))
	refuser := untrusting.worker("process")
	settings := [][2]string{{"SSL_CERT_FILE", authority}, {"PREFECT_API_SSL_CERT_FILE", authority}, {"PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "true"}}
	var lanes []*bench
	for _, setting := range settings {
		lane := secure()
		lane.worker("process", withEnv(setting[0], setting[1]))
		lanes = append(lanes, lane)
	}
	for i, lane := range lanes {
		lane.waitPolled(1)
		lane.waitReady()
		lane.waitEmitted("prefect.worker.started", 20*time.Second)
		b.saw("%s: %d calls, channel ready, event sent over TLS", settings[i][0], len(lane.relay.Exchanges()))
	}
	said := refuser.waitLog(time.Minute, `(?i)certificate[ _]verify[ _]failed|failed to verify certificate`)
	if exchanges, sockets := untrusting.relay.Exchanges(), untrusting.relay.Sockets(""); len(exchanges)+len(sockets) > 0 {
		t.Errorf("without any setting there were %d calls and %d sockets", len(exchanges), len(sockets))
	}
	b.saw("without: no call came through, %q", said)
}

// versionIs lets the server say that it is of another version.
func (b *bench) versionIs(version string) {
	b.relay.InterceptWorker("GET", "/admin/version", -1, relay.Answer{Status: http.StatusOK, Body: `"` + version + `"`})
}

func Test015ServerVersion(t *testing.T) {
	b := newBench(t, "15", "a server of another major version is refused, an older minor one is warned of; a Cloud URL is not asked")
	b.createPool("process", nil)
	other, older, cloud := b.lane(), b.lane(), b.lane()
	other.versionIs("4.0.1")
	older.versionIs("3.0.2")
	cloud.relay.Intercept(func(r *http.Request, _ []byte) *relay.Answer {
		if !strings.HasSuffix(r.URL.Path, "/api/me/workspaces") {
			return nil
		}
		parts := strings.Split(cloud.relay.Workspace(), "/")
		return &relay.Answer{Status: http.StatusOK, Body: `[{"account_id":"` + parts[len(parts)-3] + `","workspace_id":"` + parts[len(parts)-1] + `"}]`}
	})
	refused := other.worker("process")
	warned := older.worker("process")
	cloud.worker("process", withEnv("PREFECT_CLOUD_API_URL", cloud.relay.API()), withEnv("PREFECT_API_KEY", "pnu_123"),
		func(o *workerOptions) { o.API = cloud.relay.Workspace() })

	refused.waitLog(time.Minute, `Found incompatible versions: client: 3\.[\d.]+, server: 4\.0\.1\. Major versions must match\.`)
	code := refused.waitExit(20 * time.Second)
	if polls := other.polls(); code <= 0 || len(polls) > 0 {
		t.Errorf("it ended with %d, after %d polls", code, len(polls))
	}
	warned.waitLog(time.Minute, `(?s)older version of Prefect than your client.*from version 3\.0\.2 to version 3\.`)
	older.waitPolled(1)
	cloud.waitPolled(1)
	if asked := cloud.calls("GET", "/admin/version"); len(asked) > 0 {
		t.Errorf("%d calls of /admin/version at Cloud", len(asked))
	}
	b.saw("4.0.1: exit code %d; 3.0.2: warning, %d polls; Cloud: %d calls, none of /admin/version", code, len(older.polls()), len(cloud.relay.Exchanges()))
}
