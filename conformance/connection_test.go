//go:build conformance

package conformance

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/relay"
)

// guardedServer wants an auth string, and CSRF tokens with every change. Few tests
// use it, so it can do with as many database connections as it likes.
func guardedServer(t *testing.T) *server {
	return namedServer(t, "guarded", "PREFECT_SERVER_API_AUTH_STRING=admin:opensesame", "PREFECT_SERVER_CSRF_PROTECTION_ENABLED=true",
		manyConnections)
}

// versionProbe is the one call that Prefect's worker makes with a bare HTTP
// client: without Prefect's headers, and without the rules for custom ones.
func versionProbe(x relay.Exchange) bool { return strings.HasSuffix(x.Path, "/admin/version") }

// calls are the worker's calls so far with this method and end of address.
func (b *bench) calls(method, suffix string) []relay.Exchange {
	return b.relay.Exchanges(relay.Calls(method, suffix))
}

// answered are those of them that the server answered with this status.
func (b *bench) answered(method, suffix string, status int) []relay.Exchange {
	return b.relay.Exchanges(relay.Calls(method, suffix), func(x relay.Exchange) bool { return x.Status == status })
}

// waitPolled waits until the server has answered n of the worker's polls.
func (b *bench) waitPolled(n int) {
	b.Helper()
	b.until(time.Minute, "polls are answered", func() bool {
		return len(b.answered("POST", "/get_scheduled_flow_runs", http.StatusOK)) >= n
	})
}

// lane is the bench for one more worker, with a relay of its own, so that what
// it did can be told apart.
func (b *bench) lane() *bench {
	b.Helper()
	lane := &bench{item: b.item, server: b.server, relay: relay.New(b, b.server.url), pool: b.pool}
	b.Cleanup(lane.showCalls)
	return lane
}

func Test001Headers(t *testing.T) {
	b := newBench(t, "1", "every request of the API client has User-Agent prefect/<semver> (API ...) and X-PREFECT-API-VERSION")
	b.worker("process")
	b.waitPool()
	b.waitExecuted(b.run(b.quickDeployment(), nil), 30*time.Second)
	agent := regexp.MustCompile(`^prefect/3\.\d+\.\d+ \(API (\d+\.\d+\.\d+)\)$`)
	exchanges := b.relay.Exchanges(func(x relay.Exchange) bool { return !versionProbe(x) })
	methods := map[string]int{}
	for _, x := range exchanges {
		methods[x.Method]++
		found := agent.FindStringSubmatch(x.Header.Get("User-Agent"))
		if found == nil || x.Header.Get("X-Prefect-Api-Version") != found[1] {
			t.Errorf("%s %s: User-Agent %q, X-PREFECT-API-VERSION %q", x.Method, x.Path, x.Header.Get("User-Agent"), x.Header.Get("X-Prefect-Api-Version"))
		}
	}
	if methods["GET"] == 0 || methods["POST"] == 0 || methods["PATCH"] == 0 {
		t.Errorf("not all kinds of calls were seen: %v", methods)
	}
	sockets := b.relay.Sockets("")
	for _, s := range sockets {
		if !agent.MatchString(s.Header.Get("User-Agent")) {
			t.Errorf("socket %s: User-Agent %q", s.Path, s.Header.Get("User-Agent"))
		}
	}
	b.saw("%d calls %v and %d sockets, all %s", len(exchanges), methods, len(sockets), exchanges[0].Header.Get("User-Agent"))
}

func Test002Authorization(t *testing.T) {
	b := newBench(t, "2", "API key: Authorization Bearer; auth string: Basic; both: Basic")
	b.createPool("process", nil)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("admin:secret"))
	cases := []struct {
		name, want string
		env        map[string]string
	}{
		{"key", "Bearer pnu_123", map[string]string{"PREFECT_API_KEY": "pnu_123"}},
		{"string", basic, map[string]string{"PREFECT_API_AUTH_STRING": "admin:secret"}},
		{"both", basic, map[string]string{"PREFECT_API_KEY": "pnu_123", "PREFECT_API_AUTH_STRING": "admin:secret"}},
	}
	var lanes []*bench
	for _, c := range cases {
		lane := b.lane()
		lane.worker("process", func(o *workerOptions) { maps.Copy(o.Env, c.env) })
		lanes = append(lanes, lane)
	}
	for i, c := range cases {
		lanes[i].waitPolled(1)
		exchanges := lanes[i].relay.Exchanges()
		for _, x := range exchanges {
			if got := x.Header.Get("Authorization"); got != c.want {
				t.Errorf("%s: %s %s has Authorization %q", c.name, x.Method, x.Path, got)
			}
		}
		scheme, _, _ := strings.Cut(c.want, " ")
		b.saw("%s: %d calls, all %s", c.name, len(exchanges), scheme)
	}
}

func Test003AuthString(t *testing.T) {
	b := newBenchOn(t, "3", "a server with an auth string: a worker with it works, one without ends with an error", guardedServer)
	locked := b.lane()
	without := locked.worker("process", withEnv("PREFECT_API_AUTH_STRING", "-"))
	with := b.worker("process")
	with.waitStarted()
	b.waitPolled(1)
	if pool := b.waitPool(); pool["type"] != "process" {
		t.Errorf("the pool is %v", pool)
	}
	code := without.waitExit(time.Minute)
	if code <= 0 {
		t.Errorf("without the auth string it ended with %d", code)
	}
	refused := len(locked.answered("", "", http.StatusUnauthorized))
	if polls := locked.polls(); refused == 0 || len(polls) > 0 {
		t.Errorf("without the auth string: %d calls refused, %d polls", refused, len(polls))
	}
	b.saw("with: pool made, %d polls answered; without: %d calls answered 401, exit code %d", len(b.answered("POST", "/get_scheduled_flow_runs", 200)), refused, code)
}

// csrfTokens are the tokens that were given, by client.
func (b *bench) csrfTokens() map[string][]string {
	b.Helper()
	tokens := map[string][]string{}
	for _, x := range b.calls("GET", "/csrf-token") {
		var answer struct{ Token, Client string }
		if err := json.Unmarshal(x.Answer, &answer); err != nil || x.Status != http.StatusOK {
			b.Fatalf("/csrf-token was answered with %d %s", x.Status, x.Answer)
		}
		if x.Query != "client="+answer.Client {
			b.Errorf("%s asked for the token of %s", answer.Client, x.Query)
		}
		tokens[answer.Client] = append(tokens[answer.Client], answer.Token)
	}
	return tokens
}

func Test004CSRF(t *testing.T) {
	b := newBenchOn(t, "4", "a server with CSRF protection: a token once per client, both headers on POST and PATCH, none on GET", guardedServer)
	b.createPool("process", nil)
	// Without the channel, the pool's template is given to it by PATCH.
	b.relay.RefuseSockets("/workers/connect", http.StatusNotFound)
	b.worker("process")
	b.waitPolled(3)
	tokens := b.csrfTokens()
	for client, given := range tokens {
		if len(given) != 1 {
			t.Errorf("client %s fetched %d tokens", client, len(given))
		}
	}
	count := map[string]int{}
	for _, x := range b.relay.Exchanges() {
		count[x.Method]++
		client, token := x.Header.Get("Prefect-Csrf-Client"), x.Header.Get("Prefect-Csrf-Token")
		switch {
		case x.Method == "GET" && (client != "" || token != ""):
			t.Errorf("GET %s has CSRF headers", x.Path)
		case x.Method != "GET" && (token == "" || !slices.Contains(tokens[client], token)):
			t.Errorf("%s %s has the token %q of client %q", x.Method, x.Path, token, client)
		case x.Status == http.StatusForbidden:
			t.Errorf("%s %s was answered with 403", x.Method, x.Path)
		}
	}
	if count["PATCH"] == 0 || count["POST"] < 5 {
		t.Errorf("not all kinds of calls were seen: %v", count)
	}
	b.saw("%d clients, a token each; calls %v, all POST and PATCH with both headers, no GET", len(tokens), count)
}

func Test005NoCSRF(t *testing.T) {
	b := newBench(t, "5", "a server without CSRF protection: one 422 on /csrf-token, then no more from that client")
	b.createPool("process", nil)
	b.worker("process")
	b.waitPolled(2)
	before := len(b.calls("GET", "/csrf-token"))
	b.waitPolled(6)
	asked := b.calls("GET", "/csrf-token")
	clients := map[string]bool{}
	for _, x := range asked {
		if x.Status != http.StatusUnprocessableEntity || clients[x.Query] {
			t.Errorf("%s was answered with %d, asked before: %t", x.Query, x.Status, clients[x.Query])
		}
		clients[x.Query] = true
	}
	if len(asked) == 0 || len(asked) != before {
		t.Errorf("%d calls of /csrf-token at the second poll, %d at the sixth", before, len(asked))
	}
	for _, x := range b.polls() {
		if x.Header.Get("Prefect-Csrf-Token") != "" || x.Header.Get("Prefect-Csrf-Client") != "" {
			t.Errorf("a poll has CSRF headers")
		}
	}
	b.saw("%d clients asked once each and got 422; none in %d polls after", len(clients), len(b.polls())-2)
}

func Test006StaleCSRFToken(t *testing.T) {
	b := newBenchOn(t, "6", "403 with Invalid CSRF token: the token is fetched anew and the request repeated", guardedServer)
	b.relay.InterceptWorker("POST", "/get_scheduled_flow_runs", 1, relay.Answer{Status: http.StatusForbidden, Body: `{"detail":"Invalid CSRF token or client identifier."}`})
	b.worker("process")
	b.waitPolled(1)
	polls := b.polls()
	first, second := polls[0], polls[1]
	if first.Status != http.StatusForbidden || second.Status != http.StatusOK || string(first.Body) != string(second.Body) {
		t.Errorf("answered %d then %d; bodies %s and %s", first.Status, second.Status, first.Body, second.Body)
	}
	client := first.Header.Get("Prefect-Csrf-Client")
	given := b.csrfTokens()[client]
	if len(given) != 2 || first.Header.Get("Prefect-Csrf-Token") != given[0] || second.Header.Get("Prefect-Csrf-Token") != given[1] || given[0] == given[1] {
		t.Errorf("tokens given %v; used %s, then %s", given, first.Header.Get("Prefect-Csrf-Token"), second.Header.Get("Prefect-Csrf-Token"))
	}
	b.saw("tokens of the client: %.8s, then %.8s; the poll's body sent again with the second after %s: 200", given[0], given[1], pauseBetween(first, second))
}

// pauseBetween is the time from the answer of a call to the next.
func pauseBetween(first, second relay.Exchange) time.Duration {
	return second.At.Sub(first.At.Add(first.Took)).Round(10 * time.Millisecond)
}
