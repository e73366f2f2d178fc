package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// procStat is what /proc/<pid>/stat says of a process, as far as it is needed.
type procStat struct {
	state byte
	ticks uint64 // from the boot to its start
}

// dead processes wait for their parent to look at them, or do not even that.
func (s procStat) dead() bool { return s.state == 'Z' || s.state == 'X' }

// ticksPerSecond is the kernel's unit for user space, whatever its own may be.
const ticksPerSecond = 100

func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, err
	}
	return parseStat(data)
}

// parseStat reads past the program's name, which may hold anything.
func parseStat(data []byte) (procStat, error) {
	const state, start = 0, 19 // counted after the name
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) <= start {
		return procStat{}, fmt.Errorf("process status %q is too short", data)
	}
	ticks, err := strconv.ParseUint(string(fields[start]), 10, 64)
	if err != nil {
		return procStat{}, fmt.Errorf("process status: start: %w", err)
	}
	return procStat{state: fields[state][0], ticks: ticks}, nil
}

// startedAt is the moment that many ticks after the boot, to a second or so.
func startedAt(ticks uint64) time.Time {
	return bootTime().Add(time.Duration(ticks) * (time.Second / ticksPerSecond))
}

var bootTime = sync.OnceValue(func() time.Time {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "btime "); ok {
			seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if err == nil {
				return time.Unix(seconds, 0)
			}
		}
	}
	return time.Time{}
})
