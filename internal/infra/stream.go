package infra

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Stage is where one resource stands.
type Stage string

// Stages of a resource.
const (
	StageStart    Stage = "start"
	StageProgress Stage = "progress" // still at it; sent every ten seconds
	StageComplete Stage = "complete"
	StageErrored  Stage = "errored"
)

// Progress is one piece of news about one resource, or, without an address, a
// line about the command as a whole.
type Progress struct {
	Command string // "init", "plan", "apply"
	Address string // module.faber.module.network.aws_vpc.this[0]
	Action  string // "read", "create", "update", "delete", "replace", "refresh"
	Stage   Stage
	Elapsed time.Duration
	// Done of Total changes are made; Total is 0 while it is unknown.
	Done, Total int
	Message     string // in Terraform's words
}

// Change is what a plan will do to one resource.
type Change struct {
	Address string
	Action  string // "create", "update", "delete", "replace", ...
}

// diagnostic is an error or a warning of Terraform.
type diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	Address  string `json:"address"`
	Range    struct {
		Filename string `json:"filename"`
		Start    struct {
			Line int `json:"line"`
		} `json:"start"`
	} `json:"range"`
}

// text is the diagnostic in one line, with where it comes from.
func (d diagnostic) text() string {
	text := d.Summary
	if d.Address != "" {
		text = d.Address + ": " + text
	}
	if d.Detail != "" {
		text += ": " + strings.Join(strings.Fields(d.Detail), " ")
	}
	if d.Range.Filename != "" {
		text += fmt.Sprintf(" (%s line %d)", d.Range.Filename, d.Range.Start.Line)
	}
	return text
}

// line is one line of Terraform's machine-readable output, as far as it is used.
type line struct {
	Message string `json:"@message"`
	Type    string `json:"type"`
	Hook    struct {
		Resource struct {
			Addr string `json:"addr"`
		} `json:"resource"`
		Action  string  `json:"action"`
		Elapsed float64 `json:"elapsed_seconds"`
	} `json:"hook"`
	Change struct {
		Resource struct {
			Addr string `json:"addr"`
		} `json:"resource"`
		Action string `json:"action"`
	} `json:"change"`
	Changes struct {
		Add    int `json:"add"`
		Change int `json:"change"`
		Remove int `json:"remove"`
		Import int `json:"import"`
	} `json:"changes"`
	Diagnostic diagnostic `json:"diagnostic"`
}

// stream reads the machine-readable output of one command while it runs. It is
// the io.Writer that the output is written to.
type stream struct {
	command string
	total   int
	report  func(Progress) // may be nil

	mu          sync.Mutex
	rest        []byte
	done        int
	changes     []Change
	counts      line // the last change_summary
	diagnostics []diagnostic
}

// Write takes output in any portions. It never fails: news that cannot be read
// must not end the command they are about.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, p...)
	for {
		text, rest, found := bytes.Cut(s.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		s.rest = rest
		var l line
		if json.Unmarshal(text, &l) == nil {
			s.take(l)
		}
	}
}

func (s *stream) take(l line) {
	switch l.Type {
	case "diagnostic":
		s.diagnostics = append(s.diagnostics, l.Diagnostic)
	case "planned_change":
		s.changes = append(s.changes, Change{Address: l.Change.Resource.Addr, Action: l.Change.Action})
	case "change_summary":
		s.counts = l
	case "refresh_start", "refresh_complete":
		l.Hook.Action = "refresh"
		s.tell(l)
	case "apply_start", "apply_progress", "apply_complete", "apply_errored":
		// Data sources are read on the way; they were not counted as changes.
		if l.Type == "apply_complete" && l.Hook.Action != "read" {
			s.done++
		}
		s.tell(l)
	case "init_output", "log":
		s.tell(l)
	}
}

func (s *stream) tell(l line) {
	if s.report == nil {
		return
	}
	var stage Stage
	if _, suffix, ok := strings.Cut(l.Type, "_"); ok && l.Hook.Resource.Addr != "" {
		stage = Stage(suffix)
	}
	s.report(Progress{
		Command: s.command,
		Address: l.Hook.Resource.Addr,
		Action:  l.Hook.Action,
		Stage:   stage,
		Elapsed: time.Duration(l.Hook.Elapsed * float64(time.Second)),
		Done:    s.done,
		Total:   s.total,
		Message: l.Message,
	})
}

// errorText joins what Terraform complained about; "" when it did not.
func (s *stream) errorText() string { return strings.Join(s.texts("error"), "\n") }

// texts are the diagnostics of a severity, each once.
func (s *stream) texts(severity string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, d := range s.diagnostics {
		if text := d.text(); d.Severity == severity && !slices.Contains(lines, text) {
			lines = append(lines, text)
		}
	}
	return lines
}
