package process

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"faber/internal/launch"
)

const (
	tailLines   = 500
	maxLineSize = 32 << 10 // longer lines are broken, so that memory stays bounded
)

// ring keeps the newest lines of a child's output.
type ring struct {
	mu    sync.Mutex
	lines []launch.LogLine
	next  int // where the oldest line is, once the ring is full
}

func (r *ring) add(text string) {
	line := launch.LogLine{At: time.Now(), Text: strings.ToValidUTF8(text, "\uFFFD")}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < tailLines {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % tailLines
}

func (r *ring) last(limit int) []launch.LogLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.lines)
	ordered := make([]launch.LogLine, 0, n)
	for i := range n {
		ordered = append(ordered, r.lines[(r.next+i)%n])
	}
	if limit < n {
		ordered = ordered[n-max(limit, 0):]
	}
	return ordered
}

// lineWriter lets several children write whole lines to one writer.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// copyLines reads until the end of r, or its read deadline, and hands every
// line to the ring and to out.
func copyLines(r *os.File, tail *ring, out io.Writer) {
	buffer := make([]byte, 0, 4096)
	chunk := make([]byte, 4096)
	emit := func(line []byte) {
		tail.add(strings.TrimSuffix(string(line), "\r"))
		_, _ = out.Write(append(slices.Clip(line), '\n')) // the worker's console is not the run's concern
	}
	for {
		n, err := r.Read(chunk)
		buffer = append(buffer, chunk[:n]...)
		for {
			i := bytes.IndexByte(buffer, '\n')
			if i < 0 && len(buffer) < maxLineSize {
				break
			}
			if i < 0 || i > maxLineSize {
				emit(buffer[:maxLineSize])
				buffer = buffer[maxLineSize:]
				continue
			}
			emit(buffer[:i])
			buffer = buffer[i+1:]
		}
		if err != nil {
			if len(buffer) > 0 {
				emit(buffer)
			}
			return
		}
	}
}
