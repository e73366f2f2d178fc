package front

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"time"
)

// passage is a call on its way through the gate with a fault in it.
type passage struct {
	w       *recorder
	r       *http.Request
	subject Subject
	entry   *Entry
	next    http.Handler
}

// spoil injects a fault into a call.
func (g *Gate) spoil(p *passage) {
	f := p.entry.fault
	if f.Delay > 0 {
		select {
		case <-time.After(time.Duration(f.Delay)):
		case <-p.r.Context().Done():
			p.abort()
		}
	}
	// A socket's answer is its opening: there is nothing after it to hold.
	socket := p.r.Header.Get("Upgrade") != ""
	if f.Hold == HoldBefore || f.Hold == HoldAfter && socket {
		g.hold(p)
	}
	switch {
	case f.Drop == DropRequest || f.Drop == DropReply && socket:
		p.entry.SetEffect(EffectNo)
		reset(p.w)
	case f.answers():
		p.entry.SetEffect(EffectNo)
		g.answer(p, f)
	case f.Drop == DropReply || f.Hold == HoldAfter && !socket:
		g.after(p)
	default:
		p.next.ServeHTTP(p.w, p.r)
	}
}

// hold stops the call until it is released. When its caller goes away, that is
// the end of it.
func (g *Gate) hold(p *passage) {
	s := p.subject
	err := g.holds.wait(p.r.Context(), Hold{
		Fault: p.entry.fault.ID, Call: p.entry.id, At: p.entry.fault.Hold,
		Service: s.Service, Operation: s.Operation, Path: s.Path, Run: first(s.Runs),
	})
	if err != nil {
		p.abort()
	}
}

// abort ends a call whose caller has gone. What was not made is not made any more.
func (p *passage) abort() {
	p.entry.SetEffect(EffectNo)
	panic(http.ErrAbortHandler)
}

// after lets the call take effect, holds it then if it is to be held, and loses
// the answer if that is to be lost. The call outlives its caller: an effect is
// not undone because nobody waits for the answer any more.
func (g *Gate) after(p *passage) {
	answer := &kept{header: http.Header{}}
	p.next.ServeHTTP(answer, p.r.WithContext(context.WithoutCancel(p.r.Context())))
	p.entry.settle(answer.status)
	if p.entry.fault.Hold == HoldAfter {
		g.hold(p)
	}
	if p.entry.fault.Drop == DropReply {
		reset(p.w)
		return
	}
	answer.writeTo(p.w)
}

// answer answers in the service's stead.
func (g *Gate) answer(p *passage, f Fault) {
	if f.Throttle {
		f = throttled(f, g.o.Throttled(p.subject.Op))
	}
	for name, value := range f.Header {
		p.w.Header().Set(name, value)
	}
	if f.Body == "" && f.Code == "" && f.Message == "" {
		p.w.WriteHeader(f.Status)
		return
	}
	if f.Body == "" {
		g.o.Refuse(p.w, p.r, p.subject.Op, f)
		return
	}
	if p.w.Header().Get("Content-Type") == "" && json.Valid([]byte(f.Body)) {
		p.w.Header().Set("Content-Type", "application/json")
	}
	p.w.WriteHeader(statusOf(f))
	_, _ = p.w.Write([]byte(f.Body))
}

// throttled fills what a fault leaves open with the service's own words.
func throttled(f, own Fault) Fault {
	if f.Status == 0 {
		f.Status = own.Status
	}
	if f.Code == "" {
		f.Code = own.Code
	}
	if f.Message == "" {
		f.Message = own.Message
	}
	header := maps.Clone(own.Header)
	if header == nil {
		header = map[string]string{}
	}
	maps.Copy(header, f.Header)
	f.Header = header
	return f
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

// kept is an answer that is kept until its caller may have it, or for ever.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header returns the answer's header.
func (k *kept) Header() http.Header { return k.header }

// Write keeps a part of the body.
func (k *kept) Write(p []byte) (int, error) {
	if k.status == 0 {
		k.status = http.StatusOK
	}
	return k.body.Write(p)
}

// WriteHeader keeps the status.
func (k *kept) WriteHeader(status int) {
	// 1xx answers come before the real one.
	if k.status == 0 && status >= 200 {
		k.status = status
	}
}

func (k *kept) writeTo(w http.ResponseWriter) {
	maps.Copy(w.Header(), k.header)
	if k.status == 0 {
		k.status = http.StatusOK
	}
	w.WriteHeader(k.status)
	_, _ = w.Write(k.body.Bytes())
}
