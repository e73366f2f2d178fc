//go:build unix

package process

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(workerJob); job != "" {
		beWorker(job)
		return
	}
	goleak.VerifyTestMain(m)
}

// workerJob makes this test binary a worker that launches one job and waits to be
// killed. Its value is the job, as JSON.
const workerJob = "FABER_PROCESS_TEST_JOB"

type jobOfAWorker struct {
	FlowRunID, ClaimID, Command string
	Stream                      bool
}

func beWorker(text string) {
	var ordered jobOfAWorker
	if err := json.Unmarshal([]byte(text), &ordered); err != nil {
		panic(err)
	}
	job := newJob(ordered.Command)
	job.FlowRunID, job.ClaimID = ordered.FlowRunID, ordered.ClaimID
	job.Configuration["stream_output"] = ordered.Stream
	h, err := New(Options{Environ: []string{"PATH=" + os.Getenv("PATH")}}).Launch(context.Background(), job)
	if err != nil {
		panic(err)
	}
	fmt.Println(h.PID)
	select {} // SIGKILL ends this
}
