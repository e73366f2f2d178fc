package prefectfront

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	subprotocol = "prefect"
	// handshakeTime is how long either side has to authenticate.
	handshakeTime = 10 * time.Second
)

// serveSocket joins a client's socket to one of the server's. Towards the
// server the handshake is always in band: a first frame with the token. Cloud's
// clients do the same, except on /events/in, where the token is in the header
// and no frame is sent.
func (f *Front) serveSocket(w http.ResponseWriter, r *http.Request, account, workspace string) {
	byHeader := strings.HasSuffix(r.URL.Path, "/events/in")
	if byHeader {
		places, ok := f.o.APIKeys[bearer(r)]
		if !ok {
			writeError(w, http.StatusUnauthorized, "Invalid authentication credentials")
			return
		}
		if status, detail := admit(places, account, workspace); status != 0 {
			writeError(w, status, detail)
			return
		}
	}
	// The server first: what it does not have, the client is told by status.
	server, status, err := f.dial(r, account, workspace)
	if err != nil {
		f.log.Info("socket refused by the Prefect server", "path", r.URL.Path, "status", status, "error", err)
		writeError(w, status, http.StatusText(status))
		return
	}
	defer server.CloseNow()
	j := &join{server: server}
	o := &websocket.AcceptOptions{OnPingReceived: j.pingServer}
	if !byHeader {
		o.Subprotocols = []string{subprotocol}
	}
	client, err := websocket.Accept(w, r, o)
	if err != nil {
		return // Accept has answered.
	}
	defer client.CloseNow()
	client.SetReadLimit(-1)
	j.client = client
	if err := f.authenticate(r.Context(), j, byHeader, account, workspace); err != nil {
		f.log.Info("socket not authenticated", "path", r.URL.Path, "error", err)
		return
	}
	j.run(r.Context())
}

// dial opens the server's socket. On failure it says which status the client
// is to get.
func (f *Front) dial(r *http.Request, account, workspace string) (*websocket.Conn, int, error) {
	u := *serverRequest(r, account, workspace).URL
	u.Scheme, u.Host = f.o.Server.Scheme, f.o.Server.Host
	header := http.Header{}
	for name, values := range r.Header {
		// The handshake has its own; the credentials stay here.
		if !strings.HasPrefix(name, "Sec-Websocket-") && name != "Connection" && name != "Upgrade" && name != "Authorization" {
			header[name] = values
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), handshakeTime)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: f.transport}, HTTPHeader: header, Subprotocols: []string{subprotocol},
	})
	if err != nil {
		if res != nil && res.StatusCode >= 400 {
			return nil, res.StatusCode, err
		}
		return nil, http.StatusBadGateway, err
	}
	conn.SetReadLimit(-1)
	return conn, 0, nil
}

// frame is a frame of the handshake.
type frame struct {
	Type  string  `json:"type"`
	Token *string `json:"token"`
}

// authenticate does the handshake with both sides, the client's first.
func (f *Front) authenticate(ctx context.Context, j *join, byHeader bool, account, workspace string) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if !byHeader {
		if err := f.checkToken(ctx, j.client, account, workspace); err != nil {
			// The reason by which workers tell a wrong key from a lost connection.
			_ = j.client.Close(websocket.StatusPolicyViolation, "authentication_failed")
			return err
		}
	}
	if err := j.server.Write(ctx, websocket.MessageText, []byte(`{"type":"auth","token":null}`)); err != nil {
		return fmt.Errorf("authenticate with server: %w", err)
	}
	kind, data, err := j.server.Read(ctx)
	if err != nil {
		closeLike(j.client, err)
		return fmt.Errorf("authenticate with server: %w", err)
	}
	if byHeader {
		return nil
	}
	return j.client.Write(ctx, kind, data)
}

// checkToken reads the client's first frame, which must carry a key that may
// enter the workspace.
func (f *Front) checkToken(ctx context.Context, client *websocket.Conn, account, workspace string) error {
	_, data, err := client.Read(ctx)
	if err != nil {
		return err
	}
	var first frame
	if err := json.Unmarshal(data, &first); err != nil {
		return err
	}
	if first.Type != "auth" || first.Token == nil {
		return errors.New("the first frame carries no token")
	}
	places, ok := f.o.APIKeys[*first.Token]
	if !ok {
		return errors.New("unknown API key")
	}
	if status, detail := admit(places, account, workspace); status != 0 {
		return fmt.Errorf("%d %s", status, detail)
	}
	return nil
}

// join is two sockets that carry the same frames.
type join struct {
	client, server *websocket.Conn
	joined         bool // belongs to the goroutine that reads from the client
}

// run carries frames both ways until one side ends; the other is then ended in
// the same way.
func (j *join) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j.joined = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		closeLike(j.server, pump(ctx, j.client, j.server))
	}()
	closeLike(j.client, pump(ctx, j.server, j.client))
	<-done
}

// pump carries frames until one side fails, and returns how.
func pump(ctx context.Context, from, to *websocket.Conn) error {
	for {
		kind, data, err := from.Read(ctx)
		if err != nil {
			return err
		}
		if err := to.Write(ctx, kind, data); err != nil {
			return err
		}
	}
}

// closeLike ends a socket as the other ended: with its code and reason, or, if
// that was cut, by cutting.
func closeLike(c *websocket.Conn, err error) {
	var end websocket.CloseError
	switch {
	case !errors.As(err, &end):
		_ = c.CloseNow()
	case end.Code == websocket.StatusNoStatusRcvd:
		_ = c.Close(websocket.StatusNormalClosure, "")
	default:
		_ = c.Close(end.Code, end.Reason)
	}
}

// pingServer passes a client's ping on. A client takes the pong for the proof
// that the server has its events; the front must not give it in the server's
// stead. The server's own pings only ask for life: the front answers those.
func (j *join) pingServer(ctx context.Context, _ []byte) bool {
	if !j.joined {
		return true // Nothing was sent yet that a pong could confirm.
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	return j.server.Ping(ctx) == nil
}
