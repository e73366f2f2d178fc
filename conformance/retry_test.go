//go:build conformance

package conformance

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/fake/relay"
)

// slack is what a busy machine may add to a wait. It takes nothing away.
const slack = 2 * time.Second

// checkPause fails unless the second call came between least and most after
// the answer to the first.
func (b *bench) checkPause(first, second relay.Exchange, least, most time.Duration) time.Duration {
	b.Helper()
	got := pauseBetween(first, second)
	if got < least-20*time.Millisecond || got > most+slack {
		b.Errorf("the wait after a %d was %s, want %s to %s", first.Status, got, least, most)
	}
	return got
}

// answerPolls lets the relay answer polls in the server's stead: the nth,
// counted from 0, with what answer says; nil lets it pass.
func (b *bench) answerPolls(answer func(n int) *relay.Answer) (remove func()) {
	var count atomic.Int32
	return b.relay.Intercept(func(r *http.Request, _ []byte) *relay.Answer {
		if !strings.HasSuffix(r.URL.Path, "/get_scheduled_flow_runs") {
			return nil
		}
		return answer(int(count.Add(1)) - 1)
	})
}

func Test007Unavailable(t *testing.T) {
	b := newBench(t, "7", "503 twice, then 200: the same body is sent 3 times, after about 2 s and 4 s (20 % more or less)")
	b.createPool("process", nil)
	b.relay.InterceptWorker("POST", "/get_scheduled_flow_runs", 2, relay.Answer{Status: http.StatusServiceUnavailable})
	b.worker("process")
	b.waitPolled(1)
	polls := b.polls()
	if len(polls) < 3 || string(polls[0].Body) != string(polls[1].Body) || string(polls[0].Body) != string(polls[2].Body) {
		t.Fatalf("%d polls, bodies %s %s", len(polls), polls[0].Body, polls[len(polls)-1].Body)
	}
	first := b.checkPause(polls[0], polls[1], 1650*time.Millisecond, 2400*time.Millisecond)
	second := b.checkPause(polls[1], polls[2], 3300*time.Millisecond, 4800*time.Millisecond)
	b.saw("answers %d %d %d, one body, waits %s and %s", polls[0].Status, polls[1].Status, polls[2].Status, first, second)
}

func Test008RetryAfter(t *testing.T) {
	b := newBench(t, "8", "429 with Retry-After 3: next try after 3.0 to 3.6 s; with an HTTP date likewise")
	b.createPool("process", nil)
	var date time.Time
	b.answerPolls(func(n int) *relay.Answer {
		after := "3"
		switch n {
		case 0:
		case 2: // the first try of the next poll
			date = time.Now().UTC().Add(5 * time.Second).Truncate(time.Second)
			after = date.Format(http.TimeFormat)
		default:
			return nil
		}
		return &relay.Answer{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": after}}
	})
	b.worker("process")
	b.waitPolled(2)
	polls := b.polls()
	if string(polls[0].Body) != string(polls[1].Body) || string(polls[2].Body) != string(polls[3].Body) {
		t.Errorf("the bodies differ")
	}
	plain := b.checkPause(polls[0], polls[1], 3*time.Second, 3600*time.Millisecond)
	asked := date.Sub(polls[2].At.Add(polls[2].Took))
	dated := b.checkPause(polls[2], polls[3], asked, asked*12/10)
	b.saw("Retry-After 3: %s; a date %s ahead: %s", plain, asked.Round(10*time.Millisecond), dated)
}

func Test009ServerError(t *testing.T) {
	b := newBench(t, "9", "500 is not retried inside the call; with PREFECT_CLIENT_RETRY_EXTRA_CODES=500 it is")
	b.createPool("process", nil)
	extra := b.lane()
	for _, lane := range []*bench{b, extra} {
		lane.relay.InterceptWorker("POST", "/get_scheduled_flow_runs", 1, relay.Answer{Status: http.StatusInternalServerError})
	}
	plain := b.worker("process")
	extra.worker("process", withEnv("PREFECT_CLIENT_RETRY_EXTRA_CODES", "500"))
	b.waitPolled(1)
	extra.waitPolled(1)
	polls, repeated := b.polls(), extra.polls()
	if string(polls[0].Body) == string(polls[1].Body) {
		t.Errorf("the call was repeated: %s", polls[1].Body)
	}
	if string(repeated[0].Body) != string(repeated[1].Body) {
		t.Errorf("with the extra code the call was not repeated: %s %s", repeated[0].Body, repeated[1].Body)
	}
	pause := extra.checkPause(repeated[0], repeated[1], 1650*time.Millisecond, 2400*time.Millisecond)
	if !plain.alive() {
		t.Error("the worker ended")
	}
	b.saw("500, then the next poll, with a new body, %s after; with the extra code the same body %s after", pauseBetween(polls[0], polls[1]), pause)
}

// freePort is a port on loopback that nobody listens on now.
func (b *bench) freePort() int {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func Test010Maintenance(t *testing.T) {
	b := newBench(t, "10", "Prefect-Maintenance on 503: retried without limit, and /health stays 200 meanwhile")
	b.createPool("process", nil)
	port := b.freePort()
	// Without a poll for 30 times 0.1 s a worker is unhealthy.
	const window = 3 * time.Second
	b.worker("process", withArgs("--with-healthcheck"), withEnv("PREFECT_WORKER_QUERY_SECONDS", "0.1"), withEnv("PREFECT_CLIENT_MAX_RETRIES", "1"),
		withEnv("PREFECT_WORKER_WEBSERVER_HOST", "127.0.0.1"), withEnv("PREFECT_WORKER_WEBSERVER_PORT", fmt.Sprint(port)))
	b.waitPolled(2)
	maintenance := relay.Answer{Status: http.StatusServiceUnavailable, Header: map[string]string{"Prefect-Maintenance": "true", "Retry-After": "1"}}
	end := b.relay.InterceptWorker("POST", "/get_scheduled_flow_runs", -1, maintenance)
	spoilt := func() []relay.Exchange {
		return b.relay.Exchanges(relay.Calls("POST", "/get_scheduled_flow_runs"), func(x relay.Exchange) bool { return x.Spoilt })
	}
	checks := 0
	b.until(time.Minute, "the call was tried 7 times", func() bool {
		status, body := b.health(port)
		if status != http.StatusOK {
			t.Fatalf("/health answered %d %s", status, body)
		}
		checks++
		return len(spoilt()) >= 7
	})
	tries := spoilt()
	for _, x := range tries {
		if string(x.Body) != string(tries[0].Body) {
			t.Errorf("another call: %s", x.Body)
		}
	}
	lasted := tries[len(tries)-1].At.Sub(tries[0].At).Round(10 * time.Millisecond)
	if lasted < 2*window {
		t.Errorf("7 tries took only %s", lasted)
	}
	end()
	answered := len(b.answered("POST", "/get_scheduled_flow_runs", http.StatusOK))
	b.waitPolled(answered + 1)
	b.saw("%d tries of one call in %s with 1 retry allowed; %d times /health: 200; polls go on after", len(tries), lasted, checks)
}

// health asks for the worker's health.
func (b *bench) health(port int) (status int, body string) {
	b.Helper()
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/health", port))
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	return response.StatusCode, string(data)
}
