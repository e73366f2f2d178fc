package prefect

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// guarded answers 200 to the key that is right just now.
type guarded struct{ right atomic.Pointer[string] }

func guard(key string) *guarded {
	g := &guarded{}
	g.right.Store(&key)
	return g
}

func (g *guarded) change(key string) { g.right.Store(&key) }

func (g *guarded) admits(header string) bool { return header == "Bearer "+*g.right.Load() }

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.admits(r.Header.Get("Authorization")) {
		reply(w, http.StatusUnauthorized, map[string]any{"detail": "Invalid authentication credentials"})
		return
	}
	reply(w, http.StatusOK, []any{})
}

// secretOf is a secret that somebody changes, and counts who reads it.
type secretOf struct {
	mu    sync.Mutex
	key   string
	err   error
	delay time.Duration
	reads []time.Time
}

func (s *secretOf) renew(ctx context.Context) (Credentials, error) {
	s.mu.Lock()
	s.reads = append(s.reads, time.Now())
	key, err, delay := s.key, s.err, s.delay
	s.mu.Unlock()
	if sleep(ctx, delay) != nil {
		return Credentials{}, ctx.Err()
	}
	return Credentials{APIKey: key}, err
}

func (s *secretOf) set(key string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.err = key, err
}

func (s *secretOf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reads)
}

func TestARefusedKeyIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard("old")
		secret := &secretOf{key: "new", delay: time.Second}
		api := newFake(t, map[string]http.HandlerFunc{"POST /api/flow_runs/filter": g.ServeHTTP})
		var log strings.Builder
		c := api.client(t, Options{APIKey: "old", Renew: secret.renew, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		call := func() error { _, err := c.FilterFlowRuns(t.Context(), nil); return err }
		if err := call(); err != nil || secret.count() != 0 {
			t.Fatalf("with a key that is right: %v, read %d times", err, secret.count())
		}
		g.change("new")
		var calls sync.WaitGroup
		var failed atomic.Int64
		for range 20 {
			calls.Go(func() {
				if call() != nil {
					failed.Add(1)
				}
			})
		}
		calls.Wait()
		if failed.Load() != 0 || secret.count() != 1 {
			t.Errorf("%d of 20 calls failed, the secret was read %d times", failed.Load(), secret.count())
		}
		if c.Credentials().APIKey != "new" {
			t.Error("the old key is in use still")
		}
		if strings.Contains(log.String(), "old\"") || strings.Contains(log.String(), "=new") {
			t.Errorf("a key is logged: %s", log.String())
		}
	})
}

// TestTheSecretIsReadOnceAMinute: while nothing but the refused key is in it, calls fail
// at once and are worth another try, and the next key is found within the minute.
func TestTheSecretIsReadOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard("new")
		secret := &secretOf{key: "old"}
		api := newFake(t, map[string]http.HandlerFunc{"POST /api/flow_runs/filter": g.ServeHTTP})
		var log strings.Builder
		c := api.client(t, Options{APIKey: "old", Renew: secret.renew, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		began := time.Now()
		for time.Since(began) < 10*time.Minute {
			_, err := c.FilterFlowRuns(t.Context(), nil)
			var refused *StatusError
			if !errors.As(err, &refused) || refused.Code != http.StatusUnauthorized || !IsTransient(err) {
				t.Fatalf("after %s: %v", time.Since(began), err)
			}
			time.Sleep(5 * time.Second)
		}
		if n := secret.count(); n != 10 {
			t.Errorf("read %d times in ten minutes", n)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("told %d times: %s", n, log.String())
		}
		secret.set("new", nil)
		changed := time.Now()
		for {
			if _, err := c.FilterFlowRuns(t.Context(), nil); err == nil {
				break
			}
			time.Sleep(5 * time.Second)
		}
		if d := time.Since(changed); d > time.Minute {
			t.Errorf("taken up after %s", d)
		}
	})
}

func TestASecretThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard("new")
		secret := &secretOf{err: errors.New("AccessDeniedException")}
		api := newFake(t, map[string]http.HandlerFunc{"POST /api/flow_runs/filter": g.ServeHTTP})
		c := api.client(t, Options{APIKey: "old", Renew: secret.renew})
		if _, err := c.FilterFlowRuns(t.Context(), nil); !IsTransient(err) {
			t.Errorf("%v", err)
		}
		// A reading that hangs holds nobody longer than his own context.
		secret.mu.Lock()
		secret.delay = time.Hour
		secret.mu.Unlock()
		time.Sleep(renewEvery)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := c.FilterFlowRuns(ctx, nil)
		if d := time.Since(began); err == nil || d != 3*time.Second {
			t.Errorf("%v after %s", err, d)
		}
		time.Sleep(renewPatience) // the reading ends by itself
		secret.mu.Lock()
		secret.delay, secret.err, secret.key = 0, nil, "new"
		secret.mu.Unlock()
		time.Sleep(renewEvery)
		if _, err := c.FilterFlowRuns(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutASecretARefusalIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFake(t, map[string]http.HandlerFunc{"POST /api/flow_runs/filter": guard("new").ServeHTTP})
		c := api.client(t, Options{APIKey: "old", MaxRetries: 5})
		if _, err := c.FilterFlowRuns(t.Context(), nil); err == nil || IsTransient(err) {
			t.Errorf("%v", err)
		}
		if n := len(api.seen()); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestTheChannelComesBackWithAnotherKey: the server hangs up, refuses the old key, and
// lets the worker in with the new one.
func TestTheChannelComesBackWithAnotherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := &secretOf{key: "old"}
		r := runChannel(t, Options{APIKey: "old", Renew: secret.renew}, testHello(), nil)
		p := <-r.accepted
		p.login("old")
		p.read()
		p.write(ready(7))
		<-r.Ready()
		_ = p.conn.CloseNow()
		// Refused twice while the secret still holds the old key, which ends nothing.
		for range 2 {
			p = <-r.accepted
			if frame := p.read(); frame["token"] != "old" {
				t.Errorf("auth frame %v", frame)
			}
			p.write(map[string]any{"type": "auth_failure", "reason": "invalid token"})
			_ = p.conn.CloseNow()
		}
		secret.set("new", nil)
		for {
			p = <-r.accepted
			frame := p.read()
			if frame["token"] == "new" {
				break
			}
			p.write(map[string]any{"type": "auth_failure"})
			_ = p.conn.CloseNow()
		}
		p.write(map[string]any{"type": "auth_success"})
		p.read()
		p.write(ready(7))
		synctest.Wait()
		if !r.Healthy() {
			t.Error("the channel did not come back")
		}
		r.finish(t, p)
	})
}

// TestTheEventStreamComesBackWithAnotherKey: likewise.
func TestTheEventStreamComesBackWithAnotherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := &secretOf{key: "new"}
		s := runSubscribe(t, Options{APIURL: "http://prefect.test/api", CloudAPIURL: "http://prefect.test/api", APIKey: "old", Renew: secret.renew}, EventFilter{})
		p := <-s.accepted
		p.login("old")
		p.read()
		_ = p.conn.CloseNow()
		p = <-s.accepted
		p.read()
		p.write(map[string]any{"type": "auth_failure"})
		_ = p.conn.CloseNow()
		p = <-s.accepted
		p.login("new")
		p.read()
		p.write(eventFrame("1", "later"))
		if name := <-s.got; name != "later" {
			t.Errorf("got %q", name)
		}
		s.finish(t, p)
		if secret.count() != 1 {
			t.Errorf("read %d times", secret.count())
		}
	})
}
