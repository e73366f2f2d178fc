package ecs

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"faber/internal/launch"
)

var time0 = time.Unix(1_700_000_000, 0).UTC()

// logTo gives a job a log that can be read, a line for each message.
func logTo(job *launch.Job) func() string {
	var mu sync.Mutex
	var b strings.Builder
	job.Log = func(level slog.Level, message string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(&b, "%s %s\n", level, message)
	}
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return b.String()
	}
}
