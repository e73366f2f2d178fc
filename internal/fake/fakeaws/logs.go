package fakeaws

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const maxLogEvents = 10_000

type logEvent struct {
	at   int64 // milliseconds
	text string
}

// PutLog writes lines to the end of a log stream, which it makes if need be.
func (s *Server) PutLog(group, stream string, lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLog(group, stream, lines)
}

func (s *Server) putLog(group, stream string, lines []string) {
	if s.logs[group] == nil {
		s.logs[group] = map[string][]logEvent{}
	}
	events := s.logs[group][stream]
	for _, line := range lines {
		events = append(events, logEvent{time.Now().UnixMilli(), line})
	}
	s.logs[group][stream] = events // also without lines: the stream is there
}

// LogOf returns the group and the stream that a container of the task writes to,
// as its definition says, or "" twice.
func (t *Task) LogOf(container string) (group, stream string) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	d := t.s.findDefinition(t.Definition)
	for _, c := range objects(d.Body["containerDefinitions"]) {
		if c["name"] == container {
			return logOf(c, t)
		}
	}
	return "", ""
}

func logOf(container object, task *Task) (group, stream string) {
	options := nested(nested(container, "logConfiguration"), "options")
	if text(options, "awslogs-group") == "" {
		return "", ""
	}
	return text(options, "awslogs-group"), strings.Join([]string{text(options, "awslogs-stream-prefix"), text(container, "name"), task.ID()}, "/")
}

// writeLog gives a task's output to the streams that its definition names.
func (s *Server) writeLog(d *Definition, task *Task) {
	for _, container := range objects(d.Body["containerDefinitions"]) {
		if group, stream := logOf(container, task); group != "" && task.scripted {
			s.putLog(group, stream, task.script.Lines)
		}
	}
}

func (s *Server) getLogEvents(call Call) (any, *Fault) {
	group, ok := s.logs[firstText(text(call.Body, "logGroupName"), text(call.Body, "logGroupIdentifier"))]
	if !ok {
		return nil, &Fault{Code: "ResourceNotFoundException", Message: "The specified log group does not exist."}
	}
	lines, ok := group[text(call.Body, "logStreamName")]
	if !ok {
		return nil, &Fault{Code: "ResourceNotFoundException", Message: "The specified log stream does not exist."}
	}
	limit := number(call.Body, "limit", maxLogEvents)
	if limit < 1 || limit > maxLogEvents {
		return nil, invalid("Value '%d' at 'limit' failed to satisfy constraint: Member must have value between 1 and %d", limit, maxLogEvents)
	}
	start, end := window(text(call.Body, "nextToken"), len(lines), limit, call.Body["startFromHead"] == true)
	events := []any{}
	for _, line := range lines[start:end] {
		events = append(events, object{"timestamp": line.at, "message": line.text, "ingestionTime": line.at})
	}
	return object{"events": events, "nextForwardToken": fmt.Sprintf("f/%d", end), "nextBackwardToken": fmt.Sprintf("b/%d", start)}, nil
}

// window is the part of n lines that a call reads: after or before where its
// token says, else at one of the ends.
func window(token string, n, limit int, fromHead bool) (start, end int) {
	if at, ok := strings.CutPrefix(token, "f/"); ok {
		start, _ = strconv.Atoi(at) // a token of our own
		start = min(start, n)
		return start, min(start+limit, n)
	}
	if at, ok := strings.CutPrefix(token, "b/"); ok {
		end, _ = strconv.Atoi(at) // the same
		end = min(end, n)
		return max(0, end-limit), end
	}
	if fromHead {
		return 0, min(limit, n)
	}
	return max(0, n-limit), n
}
