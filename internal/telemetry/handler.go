// Package telemetry is how a running faber is watched: console lines in the
// form Prefect's users know, Prometheus metrics, and a small HTTP server with
// health, readiness and a status page in plain words.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// LoggerKey is the attribute that names the logger of a line, in Prefect's
// words: "prefect.flow_runs.worker".
const LoggerKey = "logger"

const defaultLogger = "prefect.worker"

// NewHandler returns a handler that writes lines as Prefect's worker does,
//
//	HH:MM:SS.mmm | INFO    | prefect.worker - message key=value
//
// or one JSON object a line.
func NewHandler(w io.Writer, level slog.Leveler, asJSON bool) slog.Handler {
	if asJSON {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	}
	return &lineHandler{out: &output{w: w}, level: level, logger: defaultLogger}
}

// output is shared by all handlers derived from one, so that lines stay whole.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

type lineHandler struct {
	out    *output
	level  slog.Leveler
	logger string
	prefix string // of attribute names, from WithGroup
	attrs  string // rendered, from WithAttrs
}

func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	logger := h.logger
	attrs := []byte(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		if h.prefix == "" && a.Key == LoggerKey {
			logger = a.Value.String()
			return true
		}
		attrs = appendAttr(attrs, h.prefix, a)
		return true
	})
	fmt.Fprintf(&b, "%s | %-7s | %s - %s%s\n", r.Time.Format("15:04:05.000"), levelName(r.Level), logger, r.Message, attrs)
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := io.WriteString(h.out.w, b.String())
	return err
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	derived := *h
	rendered := []byte(h.attrs)
	for _, a := range attrs {
		if h.prefix == "" && a.Key == LoggerKey {
			derived.logger = a.Value.String()
			continue
		}
		rendered = appendAttr(rendered, h.prefix, a)
	}
	derived.attrs = string(rendered)
	return &derived
}

func (h *lineHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	derived := *h
	derived.prefix += name + "."
	return &derived
}

// levelName is Python's name of a level; all between two levels count as the
// lower one.
func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < slog.LevelWarn:
		return "INFO"
	case l < slog.LevelError:
		return "WARNING"
	case l < slog.LevelError+4:
		return "ERROR"
	default:
		return "CRITICAL"
	}
}

func appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	value := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range value.Group() {
			b = appendAttr(b, prefix, inner)
		}
		return b
	}
	b = append(b, ' ')
	b = append(b, prefix...)
	b = append(b, a.Key...)
	b = append(b, '=')
	text := value.String()
	if text == "" || strings.ContainsFunc(text, needsQuote) {
		return strconv.AppendQuote(b, text)
	}
	return append(b, text...)
}

func needsQuote(r rune) bool {
	return unicode.IsSpace(r) || r == '"' || r == '=' || !unicode.IsPrint(r)
}

// ParseLevel reads a level by its Python name; any case will do.
func ParseLevel(name string) (slog.Level, error) {
	levels := []string{"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
	i := slices.Index(levels, strings.ToUpper(name))
	if i < 0 {
		return slog.LevelInfo, fmt.Errorf("unknown log level %q: one of %s is needed", name, strings.Join(levels, ", "))
	}
	return slog.Level(4*i) + slog.LevelDebug, nil
}
