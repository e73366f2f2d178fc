//go:build unix

package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"faber/internal/launch"
	"faber/internal/launch/launchtest"
)

func TestConformance(t *testing.T) {
	started := t.TempDir()
	job := func(t *testing.T, s launchtest.Script) launch.Job {
		t.Helper()
		job := launchtest.NewJob(t, testPool)
		var script strings.Builder
		fmt.Fprintf(&script, "echo x >> %s/$PREFECT__FLOW_RUN_ID; ", started)
		for _, line := range s.Lines {
			fmt.Fprintf(&script, "echo %s; ", line)
		}
		if s.Hold {
			script.WriteString("while :; do sleep 0.05; done; ")
		}
		fmt.Fprintf(&script, "exit %d", s.Code)
		job.Command = "sh -c '" + script.String() + "'"
		return job
	}
	launchtest.Run(t, launchtest.Harness{
		New: func(*testing.T) launch.Launcher {
			return New(Options{Environ: os.Environ(), TempDir: t.TempDir()})
		},
		Job:        job,
		MissingPID: "2147483646",
		BadJob: func(t *testing.T) launch.Job {
			bad := job(t, launchtest.Script{})
			bad.Command = `sh -c "`
			return bad
		},
		Unlaunchable: func(t *testing.T) launch.Job {
			missing := job(t, launchtest.Script{})
			missing.Command = "no-such-program-anywhere"
			return missing
		},
		Started: func(t *testing.T, flowRunID string) int {
			t.Helper()
			for {
				data, err := os.ReadFile(filepath.Join(started, flowRunID))
				if err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				// A live process that has not come to its first line yet counts.
				live := scan(func(m marker) bool { return m.FlowRunID == flowRunID })
				if n := strings.Count(string(data), "x"); n > 0 || len(live) == 0 {
					return n
				}
			}
		},
	})
}
