package fakeaws

import (
	"fmt"
	"time"
)

type logEvent struct {
	at   int64 // milliseconds
	text string
}

// PutLog writes lines to the end of a log stream.
func (s *Server) PutLog(group, stream string, lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLog(group, stream, lines)
}

func (s *Server) putLog(group, stream string, lines []string) {
	key := group + " " + stream
	events := s.logs[key]
	for _, line := range lines {
		events = append(events, logEvent{time.Now().UnixMilli(), line})
	}
	s.logs[key] = events // also without lines: the stream is there
}

// writeLog gives a task's output to the streams that its definition names.
func (s *Server) writeLog(d *Definition, task *Task) {
	for _, container := range objects(d.Body["containerDefinitions"]) {
		options := nested(nested(container, "logConfiguration"), "options")
		if options == nil {
			continue
		}
		stream := fmt.Sprintf("%s/%s/%s", options["awslogs-stream-prefix"], container["name"], lastPart(task.ARN))
		s.putLog(text(options, "awslogs-group"), stream, task.script.Lines)
	}
}

func (s *Server) getLogEvents(body object) (any, *Fault) {
	lines, ok := s.logs[text(body, "logGroupName")+" "+text(body, "logStreamName")]
	if !ok {
		return nil, &Fault{Code: "ResourceNotFoundException", Message: "The specified log stream does not exist."}
	}
	lines = lines[max(0, len(lines)-number(body, "limit")):]
	events := []any{}
	for _, line := range lines {
		events = append(events, object{"timestamp": line.at, "message": line.text})
	}
	return object{"events": events}, nil
}
