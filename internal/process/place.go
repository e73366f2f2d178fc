package process

import (
	"os"
	"strings"

	"faber/internal/launch"
)

// here names where this worker's children live, so exactly that a process which is
// not found here any more has ended: the machine, the time since it was booted, and
// within a container the container's own processes. What cannot be told is left out.
func here(host string) string {
	if host == "" {
		host, _ = os.Hostname() // without a name nothing is known of the place
	}
	if host == "" {
		return ""
	}
	parts := []string{"host " + host}
	if id := bootID(); id != "" {
		parts = append(parts, "boot "+id)
	}
	if id := pidNamespace(); id != "" {
		parts = append(parts, "pid namespace "+id)
	}
	return strings.Join(parts, ", ")
}

// Place names this machine: "host <name>, boot <id>". A process lives nowhere else,
// and not beyond the boot.
func (l *Launcher) Place(launch.Job) string { return l.place }
