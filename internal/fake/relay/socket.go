package relay

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Frame is one text message on a socket.
type Frame struct {
	At         time.Time
	FromClient bool
	// Injected says that the relay sent it, not the server.
	Injected bool
	Data     string
}

// Socket is one WebSocket that was opened through the relay.
type Socket struct {
	At     time.Time
	Path   string // escaped
	Header http.Header
	// Status is what the upgrade was answered with; 101 for an open socket.
	Status int

	relay          *Relay
	client, server *websocket.Conn
	write          sync.Mutex // one injected frame at a time
	cancel         context.CancelFunc
	ended          chan struct{}

	frames []Frame   // under relay.mu
	pings  int       // under relay.mu
	end    time.Time // under relay.mu
	code   websocket.StatusCode
	reason string
}

type refusal struct {
	suffix string
	status int
}

type filter struct {
	drop func(s *Socket, f Frame) bool
}

// RefuseSockets answers every upgrade of an address that ends in suffix with
// the status, until the returned function is called.
func (r *Relay) RefuseSockets(suffix string, status int) (remove func()) {
	added := &refusal{suffix, status}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusals = append(r.refusals, added)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refusals = slices.DeleteFunc(r.refusals, func(other *refusal) bool { return other == added })
	}
}

// DropFrames keeps from the other side the frames for which drop holds; they are
// recorded all the same.
func (r *Relay) DropFrames(drop func(s *Socket, f Frame) bool) (remove func()) {
	added := &filter{drop}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.filters = append(r.filters, added)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.filters = slices.DeleteFunc(r.filters, func(other *filter) bool { return other == added })
	}
}

// Sockets returns the sockets whose address ends in suffix, those refused and
// those closed too, in the order in which they were opened.
func (r *Relay) Sockets(suffix string) []*Socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*Socket
	for _, s := range r.sockets {
		if strings.HasSuffix(s.Path, suffix) {
			out = append(out, s)
		}
	}
	return out
}

// Frames returns what was said on the socket so far.
func (s *Socket) Frames() []Frame {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	return slices.Clone(s.frames)
}

// FromFlow says that a flow run's own process opened it, not the worker.
func (s *Socket) FromFlow() bool { return fromFlow(s.Header) }

// Pings is how many pings the client sent.
func (s *Socket) Pings() int {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	return s.pings
}

// Open says that neither side has ended the socket.
func (s *Socket) Open() bool {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	return s.Status == http.StatusSwitchingProtocols && s.end.IsZero()
}

// Ended is when the socket ended (zero while it is open) and with which code
// and reason; the code is -1 for one that was cut.
func (s *Socket) Ended() (at time.Time, code int, reason string) {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	return s.end, int(s.code), s.reason
}

// Send gives the client a frame that the server did not send.
func (s *Socket) Send(text string) error {
	s.write.Lock()
	defer s.write.Unlock()
	s.note(Frame{At: time.Now(), Injected: true, Data: text})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.client.Write(ctx, websocket.MessageText, []byte(text))
}

// Close ends the socket towards the client as the server would, and towards the
// server as the client would.
func (s *Socket) Close(code int, reason string) {
	s.over(&websocket.CloseError{Code: websocket.StatusCode(code), Reason: reason})
	_ = s.client.Close(websocket.StatusCode(code), reason)
	s.cancel()
}

// Cut ends the socket without a word.
func (s *Socket) Cut() {
	if s.cancel == nil {
		return // refused
	}
	s.cancel()
	_ = s.client.CloseNow()
	<-s.ended
}

func (s *Socket) note(f Frame) { s.relay.note(func() { s.frames = append(s.frames, f) }) }

// over records how the socket ended; the first word counts.
func (s *Socket) over(err error) {
	s.relay.note(func() {
		if !s.end.IsZero() {
			return
		}
		s.end, s.code = time.Now(), websocket.CloseStatus(err)
		var closed websocket.CloseError
		var pointer *websocket.CloseError
		switch {
		case errors.As(err, &closed):
			s.reason = closed.Reason
		case errors.As(err, &pointer):
			s.code, s.reason = pointer.Code, pointer.Reason
		}
	})
}

func (r *Relay) serveSocket(w http.ResponseWriter, req *http.Request) {
	s := &Socket{At: time.Now(), Path: req.URL.EscapedPath(), Header: req.Header.Clone(), relay: r, ended: make(chan struct{})}
	defer close(s.ended)
	if status := r.refused(s.Path); status != 0 {
		s.Status = status
		r.note(func() { r.sockets = append(r.sockets, s) })
		http.Error(w, `{"detail":"refused"}`, status)
		return
	}
	server, status := r.dial(req)
	if server == nil {
		s.Status = status
		r.note(func() { r.sockets = append(r.sockets, s) })
		http.Error(w, `{"detail":"refused by the server"}`, status)
		return
	}
	defer server.CloseNow()
	ping := func(ctx context.Context, _ []byte) bool {
		r.note(func() { s.pings++ })
		return server.Ping(ctx) == nil
	}
	var subprotocols []string
	if server.Subprotocol() != "" {
		subprotocols = []string{server.Subprotocol()}
	}
	client, err := websocket.Accept(w, req, &websocket.AcceptOptions{Subprotocols: subprotocols, InsecureSkipVerify: true, OnPingReceived: ping})
	if err != nil {
		return // Accept has answered
	}
	defer client.CloseNow()
	client.SetReadLimit(-1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(req.Context()))
	defer cancel()
	s.client, s.server, s.cancel, s.Status = client, server, cancel, http.StatusSwitchingProtocols
	r.note(func() { r.sockets = append(r.sockets, s) })
	s.join(ctx)
}

func (r *Relay) refused(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, refused := range slices.Backward(r.refusals) {
		if strings.HasSuffix(path, refused.suffix) {
			return refused.status
		}
	}
	return 0
}

// dial opens the server's side with the client's own headers.
func (r *Relay) dial(req *http.Request) (*websocket.Conn, int) {
	target := *r.upstream
	target.Path, target.RawPath, target.RawQuery = req.URL.Path, req.URL.RawPath, req.URL.RawQuery
	header := http.Header{}
	for name, values := range req.Header {
		if !strings.HasPrefix(name, "Sec-Websocket-") && name != "Connection" && name != "Upgrade" {
			header[name] = values
		}
	}
	var subprotocols []string
	for _, list := range req.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(list, ",") {
			subprotocols = append(subprotocols, strings.TrimSpace(name))
		}
	}
	ctx, cancel := context.WithTimeout(req.Context(), 10*time.Second)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, target.String(), &websocket.DialOptions{HTTPHeader: header, Subprotocols: subprotocols})
	switch {
	case err == nil:
		conn.SetReadLimit(-1)
		return conn, 0
	case res != nil && res.StatusCode >= http.StatusBadRequest:
		return nil, res.StatusCode
	default:
		return nil, http.StatusBadGateway
	}
}

// join carries frames both ways until one side ends, and ends the other alike.
func (s *Socket) join(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := s.pump(ctx, s.client, s.server, true)
		s.over(err)
		closeLike(s.server, err)
	}()
	err := s.pump(ctx, s.server, s.client, false)
	s.over(err)
	closeLike(s.client, err)
	<-done
}

func (s *Socket) pump(ctx context.Context, from, to *websocket.Conn, fromClient bool) error {
	for {
		kind, data, err := from.Read(ctx)
		if err != nil {
			return err
		}
		f := Frame{At: time.Now(), FromClient: fromClient, Data: string(data)}
		s.note(f)
		if s.relay.drops(s, f) {
			continue
		}
		if err := to.Write(ctx, kind, data); err != nil {
			return err
		}
	}
}

func (r *Relay) drops(s *Socket, f Frame) bool {
	r.mu.Lock()
	filters := slices.Clone(r.filters)
	r.mu.Unlock()
	return slices.ContainsFunc(filters, func(one *filter) bool { return one.drop(s, f) })
}

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
