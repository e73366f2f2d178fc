package prefect

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Credentials are what the API knows a client by.
type Credentials struct {
	APIKey     string
	AuthString string // "user:password" of a self-hosted server; wins over APIKey
}

// String tells nothing: the fields are secret.
func (Credentials) String() string { return "credentials" }

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

const (
	// renewEvery is how often the credentials are read anew at most: Secrets Manager
	// charges for each call, and a key that was revoked for good stays refused.
	renewEvery = time.Minute
	// renewPatience bounds one reading.
	renewPatience = 10 * time.Second
)

// renewal is what a client knows of its own credentials.
type renewal struct {
	inUse atomic.Pointer[Credentials]

	mu      sync.Mutex
	asked   time.Time     // when they were read last
	running chan struct{} // closed when the reading under way is over; nil without one
	told    bool          // that nothing else is to be had
}

// Credentials are those in use.
func (c *Client) Credentials() Credentials { return *c.credentials() }

func (c *Client) credentials() *Credentials { return c.renewal.inUse.Load() }

// renewable says that the API's refusal may be mended by reading the credentials.
func (c *Client) renewable() bool { return c.options.Renew != nil }

// renew is called when the API has refused credentials, and reports whether there are
// others now.
func (c *Client) renew(ctx context.Context, refused *Credentials) bool {
	if !c.renewable() {
		return false
	}
	running := c.reading(ctx, refused)
	if running != nil {
		select {
		case <-running:
		case <-ctx.Done():
		}
	}
	return c.credentials() != refused
}

// reading is closed when a reading of the credentials is over; nil when none is under
// way, and none is due.
func (c *Client) reading(ctx context.Context, refused *Credentials) <-chan struct{} {
	r := &c.renewal
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.credentials() != refused {
		return nil // somebody was faster
	}
	if r.running == nil {
		if !r.asked.IsZero() && time.Since(r.asked) < renewEvery {
			return nil
		}
		r.asked, r.running = time.Now(), make(chan struct{})
		// Others wait for it too: it does not end with the call that began it.
		go c.readCredentials(context.WithoutCancel(ctx), refused)
	}
	return r.running
}

func (c *Client) readCredentials(ctx context.Context, refused *Credentials) {
	ctx, cancel := context.WithTimeout(ctx, renewPatience)
	defer cancel()
	found, err := c.options.Renew(ctx)
	r := &c.renewal
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { close(r.running); r.running = nil }()
	switch {
	case err == nil && found != *refused && found != (Credentials{}):
		r.inUse.Store(&found)
		r.told = false
		c.log.Info("The Prefect API refused the credentials; the secret holds others, which are used from now on.")
	case !r.told:
		r.told = true // once: calls fail every few seconds
		c.log.Error("The Prefect API refuses the credentials, and no others are to be had. They are looked for once a minute; until then nothing works.",
			"error", err, "hint", "put a valid key into the secret, with faber secret put")
	}
}
