package dev

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Steps prints one line for each step of a long work: its name, how long it
// took, what came of it. On a terminal the line is there from the beginning and
// is redrawn; elsewhere a step that takes long says what it is doing.
type Steps struct {
	Out      io.Writer
	Terminal bool

	mu sync.Mutex
}

// Step is a step under way.
type Step struct {
	name   string
	begun  time.Time
	steps  *Steps
	result string
	told   time.Time // when the last line about it was printed, off a terminal
}

// notesEvery is how often a running step may speak where lines cannot be redrawn.
const notesEvery = 10 * time.Second

// Run carries out one step and prints its line.
func (s *Steps) Run(ctx context.Context, name string, run func(context.Context, *Step) error) error {
	now := time.Now()
	step := &Step{name: name, begun: now, told: now, steps: s}
	step.Note("…")
	err := run(ctx, step)
	mark := "ok"
	if err != nil {
		mark, step.result = "FAIL", ""
	}
	s.line(step, mark, step.result, true)
	return err
}

// namedStep is one step of a list of them.
type namedStep struct {
	name string
	run  func(context.Context, *Step) error
}

// runAll carries out steps in order, up to the first that fails.
func (s *Steps) runAll(ctx context.Context, steps []namedStep) error {
	for _, step := range steps {
		if err := s.Run(ctx, step.name, step.run); err != nil {
			return err
		}
	}
	return nil
}

// Note says what the step is doing now.
func (t *Step) Note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if t.steps.Terminal {
		t.steps.line(t, "..", text, false)
		return
	}
	if time.Since(t.told) >= notesEvery {
		t.told = time.Now()
		t.steps.line(t, "..", text, true)
	}
}

// Done sets what the step's line says at its end.
func (t *Step) Done(format string, args ...any) { t.result = fmt.Sprintf(format, args...) }

func (s *Steps) line(t *Step, mark, text string, final bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf("%-4s %6.1f s  %-13s %s", mark, time.Since(t.begun).Seconds(), t.name, text)
	line = strings.TrimRight(line, " ")
	if !s.Terminal {
		fmt.Fprintln(s.Out, line)
		return
	}
	const width = 100
	if !final && len([]rune(line)) > width {
		line = string([]rune(line)[:width])
	}
	fmt.Fprint(s.Out, "\r\x1b[K"+line)
	if final {
		fmt.Fprintln(s.Out)
	}
}
