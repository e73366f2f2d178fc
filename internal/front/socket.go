package front

import (
	"bufio"
	"net"
	"net/http"
	"sync"
)

// recorder notes the status of an answer and the connections that are taken
// over for WebSockets.
type recorder struct {
	http.ResponseWriter
	status  int
	sockets *sockets
	ended   func(status int) // told before the caller is
}

func (r *recorder) WriteHeader(status int) {
	// 1xx answers come before the real one.
	if r.status == 0 && status >= 200 {
		r.answered(status)
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.answered(http.StatusOK)
	}
	return r.ResponseWriter.Write(p)
}

func (r *recorder) answered(status int) {
	r.status = status
	r.ended(status)
}

// Unwrap lets http.ResponseController reach Flush and the deadlines.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Hijack takes the connection over; that is an upgrade that went well.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	r.answered(http.StatusSwitchingProtocols)
	return r.sockets.track(conn), rw, nil
}

// sockets are the open WebSockets, so that all can be cut at once.
type sockets struct {
	mu   sync.Mutex
	open map[*socket]struct{}
}

func newSockets() *sockets { return &sockets{open: map[*socket]struct{}{}} }

// socket leaves the set when it is closed.
type socket struct {
	net.Conn
	set *sockets
}

func (s *sockets) track(c net.Conn) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &socket{Conn: c, set: s}
	s.open[k] = struct{}{}
	return k
}

func (k *socket) Close() error {
	k.set.mu.Lock()
	delete(k.set.open, k)
	k.set.mu.Unlock()
	return k.Conn.Close()
}

// CloseWrite passes on a half close, which proxies use to end one direction.
func (k *socket) CloseWrite() error {
	if c, ok := k.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return k.Close()
}

// cut closes every open socket without a word and returns how many there were.
func (s *sockets) cut() int {
	s.mu.Lock()
	open := make([]*socket, 0, len(s.open))
	for k := range s.open {
		open = append(open, k)
	}
	s.mu.Unlock()
	for _, k := range open {
		_ = k.Close()
	}
	return len(open)
}
