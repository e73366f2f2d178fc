package prefect

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"
)

const (
	logsInterval     = 2 * time.Second
	logsBatchSize    = 4_000_000
	logsQueueBytes   = 32 << 20
	logMostBytes     = 1_000_000
	logMostCloud     = 25_000
	logTruncatedMark = "... [truncated]"
	logCutReserve    = 50 // for the mark and what JSON makes of the cut
)

// FlowRunLogger collects log lines of flow runs and sends them in batches.
// Lines wait while the API is down, and the oldest are lost when too many do:
// logs never hold up a run.
type FlowRunLogger struct {
	// MinLevel drops what is below it.
	MinLevel slog.Level
	// Disabled drops everything.
	Disabled bool
	// MaxLine is the most bytes of one line as it is sent, longer ones are cut;
	// zero means 1,000,000, on Cloud 25,000.
	MaxLine int
	// BatchSize is the most bytes of one request, zero means 4,000,000. There is
	// always room left in it for one line of MaxLine.
	BatchSize int

	client   *Client
	interval time.Duration
	full     chan struct{} // a batch is full
	turn     chan struct{} // held by whoever sends: lines keep their order

	mu      sync.Mutex
	lines   []queuedLog
	bytes   int
	lost    int
	failing bool // the warning was given
}

// queuedLog is a line with the bytes that it takes in a request.
type queuedLog struct {
	Log
	size int
}

// NewFlowRunLogger returns a logger that sends every interval (2 s when zero)
// while Run runs. Its fields may be set before the first use.
func NewFlowRunLogger(c *Client, interval time.Duration) *FlowRunLogger {
	if interval <= 0 {
		interval = logsInterval
	}
	return &FlowRunLogger{client: c, interval: interval, full: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
}

// Log queues a line for the log of a flow run, under a logger name such as
// "prefect.flow_runs.worker". Without a flow run it is a line of the worker's
// own. It never blocks.
func (l *FlowRunLogger) Log(name string, level slog.Level, flowRunID, message string) {
	if l.Disabled || level < l.MinLevel {
		return
	}
	line := l.fit(Log{
		Name: name, Level: pythonLevel(level), Message: message,
		Timestamp: time.Now().UTC(), FlowRunID: flowRunID,
	})
	l.mu.Lock()
	l.lines = append(l.lines, line)
	l.bytes += line.size
	l.trim()
	isFull := l.bytes >= l.batchBytes()
	l.mu.Unlock()
	if isFull {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

func (l *FlowRunLogger) maxLine() int {
	switch {
	case l.MaxLine > 0:
		return l.MaxLine
	case l.client.IsCloud():
		return logMostCloud
	default:
		return logMostBytes
	}
}

// batchBytes is how much is gathered before it is sent ahead of time.
func (l *FlowRunLogger) batchBytes() int {
	size := l.BatchSize
	if size <= 0 {
		size = logsBatchSize
	}
	return max(size-l.maxLine(), l.maxLine())
}

// fit cuts a line that is too long.
func (l *FlowRunLogger) fit(line Log) queuedLog {
	size := encodedSize(line)
	if over := size - l.maxLine(); over > 0 {
		line.Message = shorten(line.Message, max(len(line.Message)-over-logCutReserve, 0)) + logTruncatedMark
		size = encodedSize(line)
	}
	return queuedLog{line, size}
}

func encodedSize(line Log) int {
	data, err := json.Marshal(line)
	if err != nil { // a text, numbers and a time: there is always JSON for them
		return len(line.Message)
	}
	return len(data)
}

// trim loses the oldest lines beyond the limit; the caller holds mu.
func (l *FlowRunLogger) trim() {
	for l.bytes > logsQueueBytes {
		l.bytes -= l.lines[0].size
		l.lines = l.lines[1:]
		l.lost++
	}
}

// pythonLevel is a level in the numbers of Python's logging.
func pythonLevel(level slog.Level) int {
	switch {
	case level >= slog.LevelError+4:
		return 50
	case level >= slog.LevelError:
		return 40
	case level >= slog.LevelWarn:
		return 30
	case level >= slog.LevelInfo:
		return 20
	default:
		return 10
	}
}

// Run sends batches until ctx ends, which is no error. It does not flush at the
// end: the caller knows how long that may take.
func (l *FlowRunLogger) Run(ctx context.Context) error {
	ticker := time.NewTicker(l.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.full:
		case <-ctx.Done():
			return nil
		}
		// Reported by Flush itself; the lines wait for the next round.
		_ = l.Flush(ctx)
	}
}

// Flush sends what is queued. Lines that could not be sent for a passing reason
// stay queued; those that the API refuses are lost.
func (l *FlowRunLogger) Flush(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
		batch := l.take()
		if len(batch) == 0 {
			return nil
		}
		err := l.client.SendLogs(ctx, plainLogs(batch))
		if err == nil {
			l.report(nil, 0)
			continue
		}
		if IsTransient(err) || ctx.Err() != nil {
			l.putBack(batch)
			l.report(err, 0)
			return err
		}
		l.report(err, len(batch))
	}
}

// take removes the next batch from the queue.
func (l *FlowRunLogger) take() []queuedLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	count, bytes := 0, 0
	for count < len(l.lines) && (count == 0 || bytes+l.lines[count].size <= l.batchBytes()) {
		bytes += l.lines[count].size
		count++
	}
	batch := l.lines[:count:count]
	l.lines = l.lines[count:]
	l.bytes -= bytes
	return batch
}

func plainLogs(batch []queuedLog) []Log {
	logs := make([]Log, len(batch))
	for i, line := range batch {
		logs[i] = line.Log
	}
	return logs
}

func (l *FlowRunLogger) putBack(batch []queuedLog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range batch {
		l.bytes += line.size
	}
	l.lines = append(batch, l.lines...)
	l.trim()
}

// report warns when sending starts to fail, and not again before it has worked.
func (l *FlowRunLogger) report(err error, refused int) {
	l.mu.Lock()
	l.lost += refused
	lost, warned := l.lost, l.failing
	l.failing = err != nil
	if err == nil || !warned {
		l.lost = 0
	}
	l.mu.Unlock()
	switch {
	case err != nil && !warned:
		l.client.log.Warn("logs of flow runs cannot be sent to the Prefect API; flow runs are not affected", "error", err, "lost", lost)
	case err == nil && lost > 0:
		l.client.log.Warn("logs of flow runs were lost while the Prefect API did not take them", "lost", lost)
	}
}
