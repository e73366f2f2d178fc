package prefect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
)

// csrf is the client's side of the server's CSRF protection: a token fetched
// before the first change and whenever it runs out.
type csrf struct {
	client string
	// turn is held by whoever reads or fetches the token; a channel, so that
	// waiting for a slow fetch can be cancelled.
	turn    chan struct{}
	enabled bool
	token   string
	expires time.Time
}

func newCSRF(enabled bool) csrf {
	return csrf{client: uuid.NewString(), turn: make(chan struct{}, 1), enabled: enabled}
}

// csrfToken is the token to send with a request, "" when it needs none.
func (c *Client) csrfToken(ctx context.Context, method string) (string, error) {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return c.currentCSRFToken(ctx, "")
	default:
		return "", nil
	}
}

// renewCSRFToken replaces a token that the server did not take.
func (c *Client) renewCSRFToken(ctx context.Context, stale string) (string, error) {
	return c.currentCSRFToken(ctx, stale)
}

func (c *Client) currentCSRFToken(ctx context.Context, stale string) (string, error) {
	select {
	case c.csrf.turn <- struct{}{}:
		defer func() { <-c.csrf.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if !c.csrf.enabled {
		return "", nil
	}
	fresh := c.csrf.token != "" && c.csrf.token != stale && time.Now().Before(c.csrf.expires)
	if fresh {
		return c.csrf.token, nil
	}
	return c.fetchCSRFToken(ctx)
}

// fetchCSRFToken asks for a token; the caller holds the turn. A server without
// the protection turns it off for the life of this client.
func (c *Client) fetchCSRFToken(ctx context.Context) (string, error) {
	path := "/csrf-token?client=" + url.QueryEscape(c.csrf.client)
	got, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	disabled := got.code == http.StatusUnprocessableEntity && bytes.Contains(got.body, []byte("CSRF protection is disabled."))
	if disabled || got.code == http.StatusNotFound {
		c.csrf.enabled = false
		return "", nil
	}
	if got.code != http.StatusOK {
		return "", statusError(http.MethodGet, "/csrf-token", got)
	}
	var reply struct {
		Token      string    `json:"token"`
		Expiration time.Time `json:"expiration"`
	}
	if err := json.Unmarshal(got.body, &reply); err != nil {
		return "", fmt.Errorf("read the CSRF token: %w", err)
	}
	c.csrf.token, c.csrf.expires = reply.Token, reply.Expiration
	return reply.Token, nil
}
