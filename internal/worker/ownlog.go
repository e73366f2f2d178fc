package worker

import (
	"context"
	"log/slog"
	"slices"
	"strings"
)

// ownLog also sends what the worker says of itself to Prefect, where people read
// it beside the worker. Only Cloud has a place for it: a worker with an id.
type ownLog struct {
	slog.Handler
	name   string // logger, as Prefect names it
	known  func() bool
	runLog RunLog
	attrs  []slog.Attr
}

// newOwnLogger is the worker's logger.
func newOwnLogger(o *Options) *slog.Logger {
	if o.RunLog == nil {
		return o.Logger
	}
	return slog.New(&ownLog{
		Handler: o.Logger.Handler(), runLog: o.RunLog,
		name:  "prefect.workers." + o.Launcher.Type() + "." + strings.ToLower(o.Name),
		known: func() bool { return o.WorkerID() != "" },
	})
}

// Enabled is that of the console and, for a worker with an id, of the run log,
// which has a level of its own.
func (l *ownLog) Enabled(ctx context.Context, level slog.Level) bool {
	return l.Handler.Enabled(ctx, level) || l.known()
}

// Handle sends the record on, and a copy as one line of text. What is said in a
// flow run's own log goes there by itself.
func (l *ownLog) Handle(ctx context.Context, r slog.Record) error {
	if l.known() {
		if line, own := l.line(r); own {
			l.runLog.Log(l.name, r.Level, "", line)
		}
	}
	if !l.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

func (l *ownLog) line(r slog.Record) (line string, own bool) {
	var b strings.Builder
	b.WriteString(r.Message)
	own = true
	add := func(a slog.Attr) bool {
		own = own && a.Key != "logger"
		b.WriteString(" " + a.Key + "=" + a.Value.String())
		return true
	}
	for _, a := range l.attrs {
		add(a)
	}
	r.Attrs(add)
	return b.String(), own
}

// WithAttrs keeps the attributes for the line, too.
func (l *ownLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *l
	with.Handler = l.Handler.WithAttrs(attrs)
	with.attrs = append(slices.Clip(with.attrs), attrs...)
	return &with
}

// WithGroup names a group on the console; a line is flat.
func (l *ownLog) WithGroup(name string) slog.Handler {
	with := *l
	with.Handler = l.Handler.WithGroup(name)
	return &with
}
