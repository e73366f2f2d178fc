package prefect

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// gaps are the waits between the requests that a fake saw.
func gaps(api *fakeAPI) []time.Duration {
	var waits []time.Duration
	seen := api.seen()
	for i := 1; i < len(seen); i++ {
		waits = append(waits, seen[i].at.Sub(seen[i-1].at))
	}
	return waits
}

func TestBackOff(t *testing.T) {
	const second = time.Second
	for name, test := range map[string]struct {
		route   http.HandlerFunc
		options Options
		waits   []time.Duration
		code    int // of the error; 0 for success
	}{
		"503 twice":        {answers(status(503), status(503), status(201)), Options{MaxRetries: 5}, []time.Duration{2 * second, 4 * second}, 0},
		"exhausted":        {status(502), Options{MaxRetries: 5}, []time.Duration{2 * second, 4 * second, 8 * second, 16 * second, 32 * second}, 502},
		"none wanted":      {status(503), Options{}, nil, 503},
		"408":              {answers(status(408), status(201)), Options{MaxRetries: 1}, []time.Duration{2 * second}, 0},
		"500":              {status(500), Options{MaxRetries: 5}, nil, 500},
		"504":              {status(504), Options{MaxRetries: 5}, nil, 504},
		"404":              {status(404), Options{MaxRetries: 5}, nil, 404},
		"extra code":       {answers(status(500), status(201)), Options{MaxRetries: 5, ExtraRetryCodes: []int{500}}, []time.Duration{2 * second}, 0},
		"Retry-After":      {answers(status(429, "Retry-After", "3"), status(201)), Options{MaxRetries: 5}, []time.Duration{3 * second}, 0},
		"Retry-After 1.5":  {answers(status(429, "Retry-After", "1.5"), status(201)), Options{MaxRetries: 5}, []time.Duration{1500 * time.Millisecond}, 0},
		"Retry-After 0":    {answers(status(429, "Retry-After", "0"), status(201)), Options{MaxRetries: 5}, []time.Duration{0}, 0},
		"Retry-After date": {answers(status(429, "Retry-After", "Sat, 01 Jan 2000 00:00:07 GMT"), status(201)), Options{MaxRetries: 5}, []time.Duration{7 * second}, 0},
		"Retry-After past": {answers(status(429, "Retry-After", "Sat, 01 Jan 1990 00:00:00 GMT"), status(201)), Options{MaxRetries: 5}, []time.Duration{0}, 0},
		"Retry-After odd":  {answers(status(429, "Retry-After", "soon"), status(201)), Options{MaxRetries: 5}, []time.Duration{2 * second}, 0},
		"Retry-After inf":  {answers(status(429, "Retry-After", "inf"), status(201)), Options{MaxRetries: 5}, []time.Duration{2 * second}, 0},
		"maintenance": {
			answers(status(503, "Prefect-Maintenance", "true"), status(503, "Prefect-Maintenance", "true"),
				status(503, "Prefect-Maintenance", "true"), status(503, "Prefect-Maintenance", "true", "Retry-After", "60"), status(201)),
			Options{MaxRetries: 1},
			[]time.Duration{second, second, second, 60 * second},
			0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // begins at midnight of 2000-01-01
				api := newFake(t, map[string]http.HandlerFunc{"POST /api/logs/": test.route})
				c := api.client(t, test.options)
				err := c.SendLogs(t.Context(), []Log{{Message: "x"}})
				var refused *StatusError
				if errors.As(err, &refused) && refused.Code != test.code || (err == nil) != (test.code == 0) {
					t.Errorf("error %v", err)
				}
				if got := gaps(api); !slices.Equal(got, test.waits) {
					t.Errorf("waits %v, want %v", got, test.waits)
				}
				for _, r := range api.seen() {
					if r.body != api.seen()[0].body || r.body == "" {
						t.Errorf("body changed: %q", r.body)
					}
				}
				if last := c.MaintenanceUntil(); last.IsZero() != (name != "maintenance") || name == "maintenance" && !last.Equal(time.Now()) {
					t.Errorf("maintenance until %v, now %v", last, time.Now())
				}
			})
		})
	}
}

func TestBackOffIsJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFake(t, map[string]http.HandlerFunc{"POST /api/logs/": answers(status(503), status(429, "Retry-After", "3"), status(201))})
		for range 20 {
			if err := api.client(t, Options{MaxRetries: 5, JitterFactor: 0.2}).SendLogs(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		waits := gaps(api)
		// The lower bound is 2 s · log2(2^1.2 / (2^1.2 − 1)) = 1.6488 s.
		if waits[0] < 1648*time.Millisecond || waits[0] > 2400*time.Millisecond {
			t.Errorf("first wait %v", waits[0])
		}
		if waits[1] < 3*time.Second || waits[1] > 3600*time.Millisecond {
			t.Errorf("Retry-After wait %v", waits[1])
		}
	})
}

func TestClampedExponential(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mean := rapid.Float64Range(0.1, 1e4).Draw(t, "mean")
		factor := rapid.Float64Range(0.01, 3).Draw(t, "factor")
		u := rapid.Float64Range(0, 0.999999).Draw(t, "u")
		got := clampedExponential(mean, factor, u)
		power := math.Pow(2, 1+factor)
		if lower := mean * math.Log2(power/(power-1)); got < lower || got > mean*(1+factor) {
			t.Errorf("%v outside [%v, %v]", got, lower, mean*(1+factor))
		}
	})
	sum := 0.0
	for i := range 1000 {
		sum += clampedExponential(10, 0.3, float64(i)/1000)
	}
	if mean := sum / 1000; mean < 9.5 || mean > 10.5 {
		t.Errorf("mean %v", mean)
	}
	if low, high := clampedExponential(10, 0.3, 0), clampedExponential(10, 0.3, 1); math.Abs(low-7.52) > 0.1 || math.Abs(high-13) > 0.001 {
		t.Errorf("[%v, %v]", low, high)
	}
}

func TestCancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFake(t, map[string]http.HandlerFunc{"GET /api/admin/version": status(503, "Retry-After", "3600")})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := api.client(t, Options{MaxRetries: 5}).Version(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnreachable) || time.Since(api.seen()[0].at) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(api.seen()[0].at))
		}
	})
}

func TestNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFake(t, map[string]http.HandlerFunc{"GET /api/admin/version": with("3.8.8")})
		c := api.client(t, Options{MaxRetries: 2})
		stranger := api.client(t, Options{MaxRetries: 2})
		if _, err := c.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
		api.server.Close()
		c.Close()
		took := func(c *Client) time.Duration {
			t.Helper()
			start := time.Now()
			_, err := c.Version(t.Context())
			if !errors.Is(err, ErrUnreachable) || !IsTransient(err) || !strings.Contains(err.Error(), "GET /admin/version: ") {
				t.Errorf("%v", err)
			}
			return time.Since(start)
		}
		const connecting = 1500 * time.Millisecond
		if got := took(stranger); got != connecting {
			t.Errorf("a client that never got through gave up after %v", got)
		}
		if got, want := took(c), 3*connecting+6*time.Second; got != want {
			t.Errorf("a client that once got through gave up after %v, want %v", got, want)
		}
	})
}

func TestTimeOutIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFake(t, map[string]http.HandlerFunc{"GET /api/admin/version": answers(
			func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, with("3.8.8"))})
		start := time.Now()
		if _, err := api.client(t, Options{MaxRetries: 1, RequestTimeout: 5 * time.Second}).Version(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != 7*time.Second {
			t.Errorf("took %v", got)
		}
	})
}

func TestBrokenAnswersAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("half"))
			panic(http.ErrAbortHandler)
		}
		api := newFake(t, map[string]http.HandlerFunc{"POST /api/logs/": answers(broken, status(201))})
		if err := api.client(t, Options{MaxRetries: 1}).SendLogs(t.Context(), nil); err != nil || len(api.seen()) != 2 {
			t.Errorf("%v after %d tries", err, len(api.seen()))
		}
	})
}

func TestRedirects(t *testing.T) {
	api := newFake(t, map[string]http.HandlerFunc{
		"POST /api/logs/": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/api/moved", http.StatusTemporaryRedirect)
		},
		"POST /api/moved":        status(201),
		"GET /api/admin/version": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
	})
	c := api.client(t, Options{APIKey: "k", MaxRetries: 5})
	if err := c.SendLogs(t.Context(), []Log{{Message: "x"}}); err != nil {
		t.Fatal(err)
	}
	if last := api.seen()[1]; last.body == "" || last.header.Get("Authorization") != "Bearer k" {
		t.Errorf("%+v", last)
	}
	if _, err := c.Version(t.Context()); !errors.Is(err, errRedirects) {
		t.Errorf("loop: %v", err)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(with("3.8.8"))
	defer server.Close()
	transport := server.Client().Transport.(*http.Transport)
	for name, test := range map[string]struct {
		options Options
		ok      bool
	}{
		"unknown authority": {Options{}, false},
		"known authority":   {Options{TLS: transport.TLSClientConfig}, true},
		"HTTP/2 too":        {Options{TLS: transport.TLSClientConfig, HTTP2: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.APIURL = server.URL + "/api"
			c, err := New(test.options)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.CheckAccess(t.Context()); (err == nil) != test.ok || err != nil && !errors.Is(err, ErrUnreachable) {
				t.Error(err)
			}
		})
	}
}

func TestNeverPrintsCredentialsOfURLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFake(t, nil)
		api.server.Close()
		c := api.client(t, Options{APIURL: "http://user:hush@prefect.test/api", APIKey: "hush"})
		_, err := c.Version(t.Context())
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Error(err)
		}
		if err := c.CheckAccess(t.Context()); err == nil || strings.Contains(err.Error(), "hush") {
			t.Error(err)
		}
	})
}
