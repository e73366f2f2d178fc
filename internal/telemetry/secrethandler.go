package telemetry

import (
	"context"
	"fmt"
	"log/slog"
)

// Handler passes records on without secrets, before anything quotes them.
func (s *Secrets) Handler(next slog.Handler) slog.Handler { return &secretHandler{next, s} }

type secretHandler struct {
	next    slog.Handler
	secrets *Secrets
}

func (h *secretHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *secretHandler) Handle(ctx context.Context, r slog.Record) error {
	masked := slog.NewRecord(r.Time, r.Level, h.secrets.Redact(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		masked.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, masked)
}

func (h *secretHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	masked := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		masked[i] = h.attr(a)
	}
	return &secretHandler{h.next.WithAttrs(masked), h.secrets}
}

func (h *secretHandler) WithGroup(name string) slog.Handler {
	return &secretHandler{h.next.WithGroup(name), h.secrets}
}

// attr masks texts, and whatever is made a text only when it is written; what has
// nothing to hide stays what it is.
func (h *secretHandler) attr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(h.secrets.Redact(a.Value.String()))
	case slog.KindGroup:
		inner := make([]slog.Attr, len(a.Value.Group()))
		for i, member := range a.Value.Group() {
			inner[i] = h.attr(member)
		}
		a.Value = slog.GroupValue(inner...)
	case slog.KindAny:
		text := fmt.Sprint(a.Value.Any())
		if masked := h.secrets.Redact(text); masked != text {
			a.Value = slog.StringValue(masked)
		}
	default:
	}
	return a
}
