package front

import (
	"encoding/json"
	"net"
	"net/http"
	"time"
)

// spoil injects a fault into a call.
func (g *Gate) spoil(w *recorder, r *http.Request, op Op, f Fault, next http.Handler) {
	if f.Delay > 0 {
		select {
		case <-time.After(time.Duration(f.Delay)):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.Drop == DropRequest:
		reset(w)
	case f.Drop == DropReply:
		next.ServeHTTP(&discard{header: http.Header{}}, r)
		reset(w)
	case f.answers():
		for name, value := range f.Header {
			w.Header().Set(name, value)
		}
		if f.Body == "" && f.Code == "" {
			w.WriteHeader(f.Status)
			return
		}
		if f.Body == "" {
			g.o.Refuse(w, r, op, f)
			return
		}
		if w.Header().Get("Content-Type") == "" && json.Valid([]byte(f.Body)) {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(statusOf(f))
		_, _ = w.Write([]byte(f.Body))
	default:
		next.ServeHTTP(w, r)
	}
}

// statusOf is the status of an injected error; one with a code alone is the
// caller's fault, as most of a service's are.
func statusOf(f Fault) int {
	if f.Status == 0 {
		return http.StatusBadRequest
	}
	return f.Status
}

func refusePlainly(w http.ResponseWriter, _ *http.Request, _ Op, f Fault) {
	http.Error(w, f.Code+": "+f.Message, statusOf(f))
}

// reset ends the connection so that the caller sees a reset, not an answer and
// not an orderly end.
func reset(w *recorder) {
	w.ended(0)
	conn, _, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		// HTTP/2, or a writer that cannot be taken over: the server cuts it.
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// discard takes an answer that nobody will read.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
