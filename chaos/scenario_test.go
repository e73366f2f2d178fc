//go:build chaos

package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"faber/internal/front"
)

type duration = front.Duration

// A scenario is one file of scenarios/. Where it names runs, it may say "hit" for
// those that the seed picked, "rest" for the others, the name of a deployment for
// its runs, and "" or "*" for all.
type scenario struct {
	Name  string `json:"-"`
	What  string `json:"what"`
	Pains []int  `json:"pains"`
	// Seconds is about how long it takes; a selection is made by it.
	Seconds int `json:"seconds"`
	// Server is settings of the Prefect server; with none it is shared.
	Server []string `json:"server,omitempty"`
	// Hit is how many runs the seed picks as the ones that the faults are aimed at.
	Hit         int              `json:"hit,omitempty"`
	Events      string           `json:"events,omitempty"` // how task events reach the queue: "all" (the default), "none", "lossy"
	Worker      workerSpec       `json:"worker,omitzero"`
	Deployments []deploymentSpec `json:"deployments"`
	Steps       []step           `json:"steps"`
	Expect      expectation      `json:"expect"`
}

// workerSpec is how workers are started.
type workerSpec struct {
	Args []string          `json:"args,omitempty"` // flags that all workers know
	Own  []string          `json:"own,omitempty"`  // flags of faber's own
	Env  map[string]string `json:"env,omitempty"`
}

// deploymentSpec is one deployment, or Count that are alike.
type deploymentSpec struct {
	Name  string `json:"name"`
	Count int    `json:"count,omitempty"`
	Runs  int    `json:"runs,omitempty"`
	// RunsBySeed is Runs for one seed after the other: a scenario with many of them is
	// played in full once, and with fewer by the seeds after that.
	RunsBySeed []int `json:"runs_by_seed,omitempty"`

	Limit     int     `json:"limit,omitempty"`
	Options   object  `json:"options,omitempty"` // concurrency options
	Variables object  `json:"variables,omitempty"`
	RunName   string  `json:"run_name,omitempty"`
	Queue     string  `json:"queue,omitempty"`
	Flow      string  `json:"flow,omitempty"` // Python: the body of a real flow, executed by Prefect's own command
	Tasks     []stint `json:"tasks,omitempty"`
	HitTasks  []stint `json:"hit_tasks,omitempty"` // of the runs that are hit
}

// runs is how many runs each of the deployments has with a seed.
func (d deploymentSpec) runs(seed uint64) int { return bySeed(d.RunsBySeed, seed, d.Runs) }

// bySeed picks the seed's number of a list; standard stands for an empty one.
func bySeed(numbers []int, seed uint64, standard int) int {
	if len(numbers) == 0 {
		return standard
	}
	return numbers[(seed-1)%uint64(len(numbers))]
}

// engineSize is for how many runs one counts whose flow is real: Prefect's engine
// takes that much more of a processor's time than one that is played.
const engineSize = 10

// serverSize is for how many runs the start of a scenario's own server counts.
const serverSize = 10

// size is how many runs the scenario has with a seed, as far as processors matter.
func (s *scenario) size(seed uint64) (n int) {
	if len(s.Server) > 0 {
		n = serverSize
	}
	for _, d := range s.Deployments {
		runs := d.Count * d.runs(seed)
		if d.Flow != "" {
			runs *= engineSize
		}
		n += runs
	}
	return n
}

// A stint is how one task of a run lives. The first of a run's tasks takes the first
// stint, and so on; the last serves all others.
type stint struct {
	Start  duration `json:"start,omitzero"` // from RunTask until it is RUNNING; 3 s if none
	Work   duration `json:"work,omitzero"`  // how long the flow works; 2 s if none
	Never  bool     `json:"never,omitempty"`
	Silent bool     `json:"silent,omitempty"` // it ends without telling Prefect
	Early  bool     `json:"early,omitempty"`  // it ends before it asks Prefect for anything
	Deaf   bool     `json:"deaf,omitempty"`   // to SIGTERM and to cancellation
	Exit   int      `json:"exit,omitempty"`
	NoExit bool     `json:"no_exit,omitempty"` // no exit code is known
	Final  string   `json:"final,omitempty"`   // the state that it ends in; COMPLETED if none
	// Term is how long it takes from SIGTERM to the end.
	Term    duration `json:"term,omitzero"`
	Code    string   `json:"code,omitempty"`    // stopCode
	Reason  string   `json:"reason,omitempty"`  // stoppedReason
	Because string   `json:"because,omitempty"` // the container's reason
	Sidecar int      `json:"sidecar,omitempty"` // exit code of another container
	Lines   []string `json:"lines,omitempty"`   // output, if the definition has a log
}

// A step is done one after the other. What it does not need stays empty.
type step struct {
	Do   string `json:"do"`
	Note string `json:"note,omitempty"`
	Of   string `json:"of,omitempty"`
	N    int    `json:"n,omitempty"`
	// NBySeed is N for one seed after the other.
	NBySeed []int             `json:"n_by_seed,omitempty"`
	State   string            `json:"state,omitempty"`
	Within  duration          `json:"within,omitzero"`
	Front   string            `json:"front,omitempty"` // "aws" or "prefect"
	ID      string            `json:"id,omitempty"`
	Fault   *front.Fault      `json:"fault,omitempty"`
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Text    string            `json:"text,omitempty"`
	Code    string            `json:"code,omitempty"`
}

// expectation is what must come of a scenario, beside what must come of all.
type expectation struct {
	// Settled is within what time of the last step every run has ended, runs with a
	// live task, or is Scheduled; two sweeps and 15 s if none.
	Settled duration `json:"settled,omitzero"`
	// Within is the time for all to be in the state that they must end in.
	Within duration `json:"within,omitzero"`
	// Final is the type of the state that runs end in, alternatives with "|";
	// COMPLETED where nothing is said, "gone" for a run that is deleted.
	Final map[string]string `json:"final,omitempty"`
	// Tasks is how many tasks runs have: "1", or "1-2".
	Tasks map[string]string `json:"tasks,omitempty"`
	// Says are texts that stand in a run's states or log.
	Says []saying `json:"says,omitempty"`
	// Stops are runs whose tasks may be stopped; all others' may not.
	Stops []string `json:"stops,omitempty"`
	// Stopped are those whose tasks must have been.
	Stopped []string `json:"stopped,omitempty"`
	// Live is how many tasks there may be at once.
	Live int `json:"live,omitempty"`
	// Definitions is how many revisions may be registered.
	Definitions int `json:"definitions,omitempty"`
	// Calls are bounds on calls.
	Calls []callBound `json:"calls,omitempty"`
	// Requests is what a run's n-th RunTask must look like.
	Requests []requestShape `json:"requests,omitempty"`
	// Starts is within what time of being scheduled runs have their first task.
	Starts map[string]duration `json:"starts,omitempty"`
	// Ends is within what time of their last task's end runs are final.
	Ends map[string]duration `json:"ends,omitempty"`
	// Stray are runs that may keep a live task when they are over.
	Stray []string `json:"stray,omitempty"`
	// EndedAlive are runs that are ended as Crashed first, and stopped then.
	EndedAlive []string `json:"ended_alive,omitempty"`
	// Absent is a text that is in no call, no state and no log.
	Absent string `json:"absent,omitempty"`
}

type saying struct {
	Of    string `json:"of,omitempty"`
	State string `json:"state,omitempty"` // of this name or type; "log" is the run's log
	Like  string `json:"like"`            // a regular expression
	Not   bool   `json:"not,omitempty"`
}

type callBound struct {
	Front     string `json:"front"`
	Operation string `json:"operation"`
	Request   string `json:"request,omitempty"`
	Status    int    `json:"status,omitempty"`
	Min       int    `json:"min,omitempty"`
	Max       *int   `json:"max,omitempty"`
	// Gap is the longest time that may lie between two of them.
	Gap duration `json:"gap,omitzero"`
}

type requestShape struct {
	Of   string `json:"of"`
	Task int    `json:"task"` // 1 is the first
	Like string `json:"like"`
}

func readScenarios() ([]*scenario, error) {
	files, err := filepath.Glob("scenarios/*.json")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("there are no scenarios; the suite runs in its own directory")
	}
	var all []*scenario
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s, err := parseScenario(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		s.Name = strings.TrimSuffix(filepath.Base(file), ".json")
		all = append(all, s)
	}
	// The longest first, so that the last ones to end are short.
	slices.SortStableFunc(all, func(a, b *scenario) int { return b.Seconds - a.Seconds })
	return all, nil
}

// parseScenario reads a file. Unknown fields are errors: a misspelt one would
// expect nothing.
func parseScenario(data []byte) (*scenario, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var s scenario
	if err := d.Decode(&s); err != nil {
		return nil, err
	}
	switch {
	case s.What == "":
		return nil, errors.New("it does not say what it is about")
	case len(s.Pains) == 0:
		return nil, errors.New("it names no pain")
	case len(s.Deployments) == 0:
		return nil, errors.New("it has no deployments")
	}
	for i := range s.Deployments {
		d := &s.Deployments[i]
		d.Count = max(1, d.Count)
		if d.Name == "" {
			return nil, fmt.Errorf("deployment %d has no name", i+1)
		}
	}
	for i, step := range s.Steps {
		if steps()[step.Do] == nil {
			return nil, fmt.Errorf("step %d: nobody can %q", i+1, step.Do)
		}
	}
	return &s, nil
}

// selectScenarios picks scenarios of so many seconds in all, as a selection
// "seconds/seed" says; an empty one is all.
func selectScenarios(all []*scenario, text string) ([]*scenario, error) {
	if text == "" {
		return all, nil
	}
	share, seed, ok := strings.Cut(text, "/")
	limit, err := strconv.Atoi(share)
	if !ok || err != nil {
		return nil, fmt.Errorf("%s is %q: it must be seconds and a seed, as in 100/abc", selectEnv, text)
	}
	var bytes [32]byte
	copy(bytes[:], seed)
	shuffled := slices.Clone(all)
	random := rand.New(rand.NewChaCha8(bytes))
	random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	var picked []*scenario
	left := limit
	for _, s := range shuffled {
		// The selection is over when its longest one is: a long one is not for it.
		if s.Seconds <= min(left, limit/4) {
			left -= s.Seconds
			picked = append(picked, s)
		}
	}
	return picked, nil
}

// expected is what a map says for a run: what is said of it as one that is hit
// before what is said of its deployment, before what is said of all.
func expected[T any](m map[string]T, r *run) (T, bool) {
	names := []string{"hit", r.deployment.spec.Name, "rest", "*"}
	for _, name := range names {
		if v, ok := m[name]; ok && r.is(name) {
			return v, true
		}
	}
	var none T
	return none, false
}
