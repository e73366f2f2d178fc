//go:build load

package load

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"faber/internal/ecs"
	"faber/internal/fake/fakeaws"
	"faber/internal/fake/fakeprefect"
)

const (
	// soakWarmUp is after how many runs nothing may grow any more. What the ECS
	// launcher remembers of tasks is bounded at 4,096 of them, and fills until then.
	soakWarmUp  = 5000
	soakGrowth  = 5.0 // MiB of resident memory that may lie between two parts of it
	soakIdle    = 2   // goroutines of one idle connection more or less
	soakPace    = 19  // runs a second: what Fargate starts, and a little less
	soakLimit   = 200 // flow runs at once
	soakSettle  = 100 * time.Second
	soakMemory  = 20 * time.Second // for how long the fakes know what is over
	soakCrashes = 0.03             // of the runs end with code 1 and tell nobody
	soakMisses  = 0.01             // of the tasks never start
)

// TestSoak has one worker, the binary in a process of its own, run many short flow
// runs. Its resident memory is flat after the warm-up, and when it has nothing to do
// any more, it has as many goroutines as when it had nothing to do before, and all of
// its slots.
//
// SOAK_RUNS is how many runs, FABER the binary, SOAK_SVG where the picture goes.
func TestSoak(t *testing.T) {
	runs, err := strconv.Atoi(cmp.Or(os.Getenv("SOAK_RUNS"), "0"))
	if err != nil || runs == 0 {
		t.Skip("SOAK_RUNS says how many runs there are to be; `make soak` sets it")
	}
	s := newSoak(t)
	began := time.Now()
	warmUp := min(soakWarmUp, runs/2)
	s.feed(warmUp)
	idle := s.settle()
	t.Logf("warm: %d runs in %s: %s", warmUp, time.Since(began).Round(time.Second), idle)
	s.feed(runs - warmUp)
	end := s.settle()
	s.print(began, warmUp)

	// From the last tenth of the runs in the warm-up on.
	resident := s.resident(warmUp-runs/10, runs/10)
	t.Logf("resident memory by tenths of the runs, in the middle, from the end of the warm-up on: %.1f MiB", resident)
	if spread := slices.Max(resident) - slices.Min(resident); spread > soakGrowth {
		t.Errorf("resident memory is not flat after the warm-up: it differs by %.1f MiB", spread)
	}
	t.Logf("goroutines with nothing to do: %d before, %d in the end", idle.goroutines, end.goroutines)
	if end.goroutines > idle.goroutines+soakIdle {
		t.Errorf("%d goroutines were left behind", end.goroutines-idle.goroutines)
	}
	if end.inWork != 0 || end.tracked != 0 {
		t.Errorf("%d slots are held, %d tasks tracked, and there are none", end.inWork, end.tracked)
	}
	finals := s.finals()
	t.Logf("ends: %v", finals)
	if n := finals["COMPLETED"] + finals["CRASHED"]; n != runs || finals["COMPLETED"] < runs*9/10 {
		t.Errorf("%d runs, and these ends: %v", runs, finals)
	}
	s.worker.stop()
}

// soak is a worker and the world that it works for.
type soak struct {
	t          *testing.T
	aws        *fakeaws.Server
	prefect    *fakeprefect.Server
	flow       string
	deployment string
	worker     *soaked

	mu      sync.Mutex
	open    map[string]bool // runs that are not over
	over    map[string]int  // by type of the state
	samples []sample
}

func newSoak(t *testing.T) *soak {
	s := &soak{t: t, aws: fakeaws.New(t), prefect: fakeprefect.New(), open: map[string]bool{}, over: map[string]int{}}
	s.aws.Forgetful()
	s.prefect.Forgetful()
	s.aws.AddQueue(queue)
	s.aws.EventsTo(queue)
	s.aws.Play(s.play)
	s.prefect.AddPool(fakeprefect.Pool{Name: pool, Type: "ecs", BaseJobTemplate: ecs.DefaultBaseJobTemplate()})
	s.flow = s.prefect.AddFlow(fakeprefect.Flow{Name: "flow"}).ID
	s.deployment = s.prefect.AddDeployment(fakeprefect.Deployment{Name: "deployment", FlowID: s.flow, WorkPoolName: pool}).ID
	api := httptest.NewServer(s.prefect)
	t.Cleanup(api.Close)
	s.worker = startSoaked(t, api.URL+"/api", s.aws.URL, "--limit", strconv.Itoa(soakLimit))
	return s
}

// play is a short run on its task.
func (s *soak) play(ctx context.Context, task *fakeaws.Task) {
	run, lot := task.FlowRunID(), rand.Float64()
	switch {
	case !sleep(ctx, 300*time.Millisecond):
		return
	case lot < soakMisses:
		task.Set("STOPPED", fakeaws.StopCode("TaskFailedToStart"), fakeaws.Reason("CannotPullContainerError: no such host"), fakeaws.NoExitCode())
	default:
		task.Set("RUNNING")
		s.become(run, "RUNNING", "Running")
		if !sleep(ctx, time.Second) {
			return
		}
		code := 1
		if lot >= soakMisses+soakCrashes {
			code = 0
			s.become(run, "COMPLETED", "Completed")
		}
		task.Set("STOPPED", fakeaws.Exit(code))
	}
	if sleep(ctx, soakMemory) {
		task.Forget()
	}
}

func (s *soak) become(run, stateType, name string) {
	if err := s.prefect.Become(run, stateType, name); err != nil {
		s.t.Error(err)
	}
}

// feed schedules runs at an even pace, and returns when all are over.
func (s *soak) feed(runs int) {
	tick := time.NewTicker(time.Second / soakPace)
	defer tick.Stop()
	watch := time.NewTicker(2 * time.Second)
	defer watch.Stop()
	deadline := time.After(time.Duration(runs/soakPace)*time.Second + 10*time.Minute)
	for given := 0; given < runs || s.left() > 0; {
		select {
		case <-tick.C:
			if given < runs {
				given++
				s.add()
			}
		case <-watch.C:
			s.look()
		case <-deadline:
			s.t.Fatalf("%d runs are not over: %s", s.left(), s.worker.status())
		case err := <-s.worker.ended:
			s.t.Fatalf("the worker ended: %v", err)
		}
	}
}

func (s *soak) add() {
	run := s.prefect.AddRun(fakeprefect.FlowRun{Name: "short", FlowID: s.flow, DeploymentID: &s.deployment, WorkPoolName: pool})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[run.ID] = true
}

func (s *soak) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// look takes a sample, and counts the runs that are over.
func (s *soak) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.open {
		run, _ := s.prefect.Run(id)
		switch run.StateType {
		case "COMPLETED", "CRASHED", "FAILED", "CANCELLED":
			delete(s.open, id)
			s.over[run.StateType]++
			s.wonder(run)
			time.AfterFunc(soakMemory, func() { s.prefect.Forget(id) })
		}
	}
	now := s.worker.sample(s.t)
	now.runs = s.countLocked()
	s.samples = append(s.samples, now)
}

// wonder tells of a run that is Crashed although it had told that it was Completed.
func (s *soak) wonder(run fakeprefect.FlowRun) {
	if run.StateType != "CRASHED" {
		return
	}
	var history []string
	for _, state := range s.prefect.States(run.ID) {
		message := ""
		if state.Message != nil {
			message = *state.Message
		}
		history = append(history, fmt.Sprintf("%s %s %.60q", state.Timestamp.Format("05.000"), state.Name, message))
	}
	if strings.Contains(strings.Join(history, " "), " Completed ") {
		s.t.Errorf("run %s was Completed: %s", run.ID, strings.Join(history, "; "))
	}
}

func (s *soak) countLocked() (n int) {
	for _, of := range s.over {
		n += of
	}
	return n
}

func (s *soak) finals() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// settle waits until the worker has nothing to do and its idle connections are closed.
func (s *soak) settle() sample {
	least := sample{goroutines: 1 << 30}
	for deadline := time.Now().Add(soakSettle); time.Now().Before(deadline); {
		if !sleep(s.t.Context(), time.Second) {
			break
		}
		now := s.worker.sample(s.t)
		if now.inWork == 0 && now.tracked == 0 && now.goroutines < least.goroutines || now.inWork > 0 {
			least = now
		}
	}
	return least
}

// resident is the median of the resident memory in MiB, for so many runs at a time,
// from a number of runs on. A peak of a moment says nothing of what is kept.
func (s *soak) resident(from, step int) (medians []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts [][]float64
	for _, sample := range s.samples {
		if sample.runs < from {
			continue
		}
		part := (sample.runs - from) / step
		for len(parts) <= part {
			parts = append(parts, nil)
		}
		parts[part] = append(parts[part], mebibytes(sample.resident))
	}
	for _, part := range parts {
		if len(part) > 2 { // the last one may be of the very end alone
			slices.Sort(part)
			medians = append(medians, part[len(part)/2])
		}
	}
	return medians
}

// print tells how it went, as a table, and draws it.
func (s *soak) print(began time.Time, warmUp int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.Logf("%8s %8s %12s %10s %11s %8s", "seconds", "runs", "resident MiB", "heap MiB", "goroutines", "in work")
	for i := 0; i < len(s.samples); i += max(1, len(s.samples)/40) {
		x := s.samples[i]
		s.t.Logf("%8.0f %8d %12.1f %10.1f %11d %8d", x.at.Sub(began).Seconds(), x.runs, mebibytes(x.resident), mebibytes(x.heap), x.goroutines, x.inWork)
	}
	if path := os.Getenv("SOAK_SVG"); path != "" {
		picture := drawSoak(s.samples, warmUp, fmt.Sprintf("%s: SOAK_RUNS=%s make soak", began.Format(time.DateOnly), os.Getenv("SOAK_RUNS")))
		if err := os.WriteFile(path, []byte(picture), 0o644); err != nil {
			s.t.Error(err)
		}
	}
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
