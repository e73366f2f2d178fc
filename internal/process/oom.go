package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"faber/internal/launch"
)

// oomKills counts the processes that the kernel killed where this worker and its
// children are counted together, and gives each kill to one child.
type oomKills struct {
	files []string // the first that can be read counts

	mu        sync.Mutex
	seen      int
	unclaimed int
	rose      time.Time
}

// oomPatience is how long a kill waits for the child that it was done to.
const oomPatience = 10 * time.Second

func newOOMKills() *oomKills {
	cgroups, _ := os.ReadFile("/proc/self/cgroup") // no such file, no such limit
	o := &oomKills{files: oomFiles(string(cgroups))}
	o.seen, _ = o.count()
	return o
}

// oomFiles are where the kernel counts, of version 2 or 1 of its control groups. In
// a container the path that it names may be one of the machine's.
func oomFiles(cgroups string) (files []string) {
	const root = "/sys/fs/cgroup"
	for line := range strings.Lines(cgroups) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(part) < 3:
		case part[0] == "0" && part[1] == "":
			files = append(files, filepath.Join(root, part[2], "memory.events"), filepath.Join(root, "memory.events"))
		case part[1] == "memory":
			files = append(files, filepath.Join(root, "memory", part[2], "memory.oom_control"), filepath.Join(root, "memory", "memory.oom_control"))
		}
	}
	return files
}

func (o *oomKills) count() (kills int, ok bool) {
	for _, file := range o.files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if text, found := strings.CutPrefix(line, "oom_kill "); found {
				kills, err := strconv.Atoi(strings.TrimSpace(text))
				return kills, err == nil
			}
		}
	}
	return 0, false
}

// killed reports whether a child that ended with this code was killed for want of
// memory. A kill that no child of ours died of, but something that it had started,
// goes to the child that ended well soon afterwards.
func (o *oomKills) killed(code *int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now, ok := o.count()
	if !ok {
		return false
	}
	if now > o.seen {
		o.unclaimed, o.rose = o.unclaimed+now-o.seen, time.Now()
	}
	o.seen = now
	if o.unclaimed == 0 || time.Since(o.rose) > oomPatience {
		o.unclaimed = 0
		return false
	}
	o.unclaimed--
	return code != nil && *code == -int(syscall.SIGKILL)
}

// outOfMemory completes the end of a child that was killed for want of memory.
func outOfMemory(exit *launch.Exit) {
	exit.OutOfMemory = true
	exit.Message += " It was the operating system: the memory limit of the worker's machine or container was reached."
	exit.Hint = "Give the worker's machine or container more memory, lower --limit, or let the flow use less."
}
