package telemetry

import (
	"io"
	"slices"
	"sync"
)

const (
	// shortestSecret is what is masked at least: anything shorter stands in too many
	// words that are none.
	shortestSecret = 6
	// mostLearned bounds what is remembered of flow runs' secrets; the oldest goes.
	mostLearned = 1000
)

// Secrets masks credentials by their values, wherever they turn up: the last line of
// defence, for texts of others that repeat what they were sent. The zero value
// masks nothing.
type Secrets struct {
	mu      sync.RWMutex
	matcher secretMatcher
	kept    []string
	learned []string // the newest last
}

// Keep masks values for ever: those of the process itself.
func (s *Secrets) Keep(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, value := range values {
		if len(value) >= shortestSecret && !slices.Contains(s.kept, value) {
			s.kept = append(s.kept, value)
			s.matcher.add(value)
		}
	}
}

// Learn masks values from now on, until very many others were learned.
func (s *Secrets) Learn(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, value := range values {
		if len(value) < shortestSecret || slices.Contains(s.kept, value) {
			continue
		}
		at := slices.Index(s.learned, value)
		if at >= 0 {
			s.learned = append(slices.Delete(s.learned, at, at+1), value)
			continue
		}
		s.learned = append(s.learned, value)
		s.matcher.add(value)
	}
	for ; len(s.learned) > mostLearned; s.learned = slices.Delete(s.learned, 0, 1) {
		s.matcher.remove(s.learned[0])
	}
}

// Redact is a text without the secrets that are known.
func (s *Secrets) Redact(text string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.matcher.replace(text)
}

// RedactValue is a value as JSON decodes it, without the secrets that are known; what
// is none is left as it is.
func (s *Secrets) RedactValue(value any) any {
	switch v := value.(type) {
	case string:
		return s.Redact(v)
	case []any:
		masked := make([]any, len(v))
		for i, item := range v {
			masked[i] = s.RedactValue(item)
		}
		return masked
	case map[string]any:
		masked := make(map[string]any, len(v))
		for name, item := range v {
			masked[name] = s.RedactValue(item)
		}
		return masked
	default:
		return value
	}
}

// Writer passes on what is written, without secrets. Each write is to hold whole
// lines: a secret that is cut in two is not known again.
func (s *Secrets) Writer(w io.Writer) io.Writer { return &secretWriter{s, w} }

type secretWriter struct {
	secrets *Secrets
	w       io.Writer
}

func (w *secretWriter) Write(p []byte) (int, error) {
	text := string(p)
	masked := w.secrets.Redact(text)
	if masked == text {
		return w.w.Write(p)
	}
	if _, err := io.WriteString(w.w, masked); err != nil {
		return 0, err
	}
	return len(p), nil
}
