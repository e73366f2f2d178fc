package prefect

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	pingInterval = 20 * time.Second
	pingTimeout  = 20 * time.Second
	writeTimeout = 20 * time.Second
	// A snapshot carries a whole base job template; nobody limits its size.
	maxFrame = 64 << 20
	// closeGrace bounds the closing handshake, so that a dead peer cannot hold
	// up a shutdown.
	closeGrace = time.Second
)

// errSocketClosed is why a socket that we closed ourselves is down.
var errSocketClosed = errors.New("socket closed")

// upgradeError is a refused WebSocket upgrade; code is 0 when the peer answered
// something that is no WebSocket handshake.
type upgradeError struct {
	code int
	err  error
}

func (e *upgradeError) Error() string {
	if e.code != 0 {
		return fmt.Sprintf("the WebSocket upgrade was answered with %d %s", e.code, http.StatusText(e.code))
	}
	return "WebSocket handshake: " + e.err.Error()
}

func (e *upgradeError) Unwrap() error { return e.err }

// loginError is credentials that a socket did not take.
type loginError struct{ reason string }

func (e *loginError) Error() string {
	if e.reason == "" {
		return "the server closed the socket during authentication"
	}
	return "authentication on the socket: " + e.reason
}

// login is how a socket is authenticated. The three sockets differ, and so do
// Cloud and a self-hosted server.
type login struct {
	header string  // Authorization of the upgrade
	inBand bool    // subprotocol "prefect" with an auth frame
	token  *string // in the frame; null when the server has no authentication
}

func (c *Client) eventsInLogin(by *Credentials) login {
	if c.IsCloud() {
		return login{header: "bearer " + by.APIKey}
	}
	l := login{inBand: true, token: optional(by.AuthString)}
	if by.AuthString != "" {
		l.header = "Basic " + base64.StdEncoding.EncodeToString([]byte(by.AuthString))
	}
	return l
}

func (c *Client) eventsOutLogin(by *Credentials) login {
	if c.IsCloud() {
		return login{inBand: true, token: optional(by.APIKey)}
	}
	return login{inBand: true, token: optional(by.AuthString)}
}

func (c *Client) channelLogin(by *Credentials) login {
	token := by.AuthString
	if token == "" {
		token = by.APIKey
	}
	return login{inBand: true, token: optional(token)}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// socket is an authenticated WebSocket. One goroutine reads it, one pings it;
// both are gone when close has returned.
type socket struct {
	conn   *websocket.Conn
	frames chan []byte     // what arrived
	down   context.Context // done when the connection is lost or closed
	fail   context.CancelCauseFunc
	wg     sync.WaitGroup
}

// dial opens a socket on a path of the API and authenticates it: with other
// credentials once more, if those in use are refused and there are others by now.
func (c *Client) dial(ctx context.Context, path string, as func(*Credentials) login) (*socket, error) {
	by := c.credentials()
	s, err := c.dialAs(ctx, path, as(by))
	if refusesLogin(err) && c.renew(ctx, by) {
		return c.dialAs(ctx, path, as(c.credentials()))
	}
	return s, err
}

// refusesLogin reports that a socket did not come about for want of credentials.
func refusesLogin(err error) bool {
	var (
		login   *loginError
		upgrade *upgradeError
	)
	return errors.As(err, &login) || errors.As(err, &upgrade) && (upgrade.code == http.StatusUnauthorized || upgrade.code == http.StatusForbidden)
}

func (c *Client) dialAs(ctx context.Context, path string, l login) (*socket, error) {
	options := &websocket.DialOptions{
		HTTPClient: c.sockets, HTTPHeader: c.socketHeaders(l.header),
		// A snapshot is a whole template, which shrinks to a tenth. What a frame
		// leaves behind is not kept for the next: there are few, and workers live long.
		CompressionMode: websocket.CompressionNoContextTakeover,
	}
	if l.inBand {
		options.Subprotocols = []string{"prefect"}
	}
	conn, response, err := websocket.Dial(ctx, c.socketURL(path), options)
	if err != nil {
		return nil, dialError(err, response)
	}
	conn.SetReadLimit(maxFrame)
	s := newSocket(conn)
	if l.inBand {
		if err := s.authenticate(ctx, l.token); err != nil {
			s.close(websocket.StatusNormalClosure, "")
			return nil, err
		}
	}
	return s, nil
}

func (c *Client) socketURL(path string) string {
	return "ws" + strings.TrimPrefix(c.api, "http") + path
}

func dialError(err error, response *http.Response) error {
	if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
		return &upgradeError{response.StatusCode, err}
	}
	if response != nil {
		return &upgradeError{0, err}
	}
	return withoutURL(err)
}

func newSocket(conn *websocket.Conn) *socket {
	s := &socket{conn: conn, frames: make(chan []byte, 16)}
	s.down, s.fail = context.WithCancelCause(context.Background())
	s.wg.Go(s.readAll)
	s.wg.Go(s.keepAlive)
	return s
}

// authenticate sends the token, null included, which a server wants to see
// even when it has no authentication.
func (s *socket) authenticate(ctx context.Context, token *string) error {
	if err := s.write(ctx, map[string]any{"type": "auth", "token": token}); err != nil {
		return loginFailure(err)
	}
	frame, err := s.read(ctx)
	if err != nil {
		return loginFailure(err)
	}
	var reply struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(frame, &reply) != nil || reply.Type != "auth_success" {
		return &loginError{reply.Reason}
	}
	return nil
}

// loginFailure keeps close frames that speak of something else than the
// credentials, which may pass.
func loginFailure(err error) error {
	var closed websocket.CloseError
	if !errors.As(err, &closed) || passes(closed.Reason) {
		return err
	}
	if closed.Code == websocket.StatusPolicyViolation || closed.Code == websocket.StatusProtocolError {
		return &loginError{closed.Reason}
	}
	return err
}

// passes reports whether a server closes a socket for a reason that will be gone
// soon, whatever the code beside it.
func passes(reason string) bool {
	return reason == "heartbeat_persistence_failed" || reason == "transient_server_error"
}

func (s *socket) readAll() {
	for {
		_, data, err := s.conn.Read(s.down)
		if err != nil {
			s.fail(err)
			return
		}
		select {
		case s.frames <- data:
		case <-s.down.Done():
			return
		}
	}
}

// keepAlive finds out about connections that died without a word.
func (s *socket) keepAlive() {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.down.Done():
			return
		}
		if err := s.ping(s.down); err != nil {
			s.fail(err)
			return
		}
	}
}

// read waits for the next frame. Frames that arrived before the connection was
// lost are still read.
func (s *socket) read(ctx context.Context) ([]byte, error) {
	select {
	case frame := <-s.frames:
		return frame, nil
	default:
	}
	select {
	case frame := <-s.frames:
		return frame, nil
	case <-s.down.Done():
		return nil, context.Cause(s.down)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// discard reads what a server has no business sending, so that its frames do
// not stop pongs from being read.
func (s *socket) discard() {
	for {
		if _, err := s.read(s.down); err != nil {
			return
		}
	}
}

func (s *socket) write(ctx context.Context, v any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	// The library hangs up when the context of a write ends, even in the moment
	// after the write: so ctx only bounds a write that is stuck.
	writing, cancel := context.WithTimeout(s.down, writeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(closeGrace, cancel) })
	defer stop()
	return s.conn.Write(writing, websocket.MessageText, data)
}

// ping returns once the peer has answered, and with that has taken in all that
// was written before.
func (s *socket) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return s.conn.Ping(ctx)
}

// close says goodbye, briefly, and waits for the socket's goroutines.
func (s *socket) close(code websocket.StatusCode, reason string) {
	timer := time.AfterFunc(closeGrace, func() { s.fail(errSocketClosed) })
	defer timer.Stop()
	if s.down.Err() == nil {
		_ = s.conn.Close(code, reason) // the peer may be gone; we are leaving anyway
	}
	s.fail(errSocketClosed)
	_ = s.conn.CloseNow()
	s.wg.Wait()
}
