package worker

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/prefect"
)

// defaultOf is the default of one variable in the pool as it is now.
func (f *fakePrefect) defaultOf(t *testing.T, variable string) any {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var base struct {
		Variables struct {
			Properties map[string]map[string]any
		}
	}
	if err := json.Unmarshal(f.pool.BaseJobTemplate, &base); err != nil {
		t.Fatal(err)
	}
	return base.Variables.Properties[variable]["default"]
}

// writes counts the calls that change the pool.
func (f *fakePrefect) writes() *atomic.Int64 {
	var n atomic.Int64
	f.before = func(op, _ string) error {
		if op == "SetBaseJobTemplate" {
			n.Add(1)
		}
		return nil
	}
	return &n
}

func TestThePoolIsGivenItsDefaults(t *testing.T) {
	var writes *atomic.Int64
	inWorld(t, func(w *world, o *Options) {
		o.PoolDefaults = json.RawMessage(`{"size":7,"command":"ours"}`)
		w.api.pooled(func(p *prefect.WorkPool) { p.BaseJobTemplate = withCommand("{{ command }} of the user") })
		writes = w.api.writes()
	}, func(w *world) {
		w.running()
		if got := w.launcher.allJobs()["pid-1"].Command; got != "ours of the user" {
			t.Errorf("the first run got the command %q", got)
		}
		if size := w.api.defaultOf(t, "size"); size != 7.0 {
			t.Errorf("size is %v by default", size)
		}
		w.after(5 * time.Minute)
		if n := writes.Load(); n != 1 {
			t.Errorf("the pool was written %d times", n)
		}
	})
}

func TestAPoolWithItsDefaultsIsNotWritten(t *testing.T) {
	var writes *atomic.Int64
	var log *ownLines
	inWorld(t, func(w *world, o *Options) {
		log = lines(o)
		o.PoolDefaults = json.RawMessage(`{"size":1}`)
		writes = w.api.writes()
	}, func(w *world) {
		w.running()
		if n := writes.Load(); n != 0 || !strings.Contains(log.String(), "has its defaults already") {
			t.Errorf("written %d times\n%s", n, log)
		}
	})
}

// TestDefaultsThatTheUsersPoolHasNoVariableFor: they are left out and named, the others set.
func TestDefaultsThatTheUsersPoolHasNoVariableFor(t *testing.T) {
	var log *ownLines
	inWorld(t, func(w *world, o *Options) {
		log = lines(o)
		o.PoolDefaults = json.RawMessage(`{"size":7,"labels":{"a":"b"}}`)
		w.api.pooled(func(p *prefect.WorkPool) {
			changed := template()
			delete(changed["variables"].(map[string]any)["properties"].(map[string]any), "labels")
			changed["job_configuration"].(map[string]any)["labels"] = map[string]any{}
			p.BaseJobTemplate = rawJSON(changed)
		})
	}, func(w *world) {
		w.running()
		if size, labels := w.api.defaultOf(t, "size"), w.api.defaultOf(t, "labels"); size != 7.0 || labels != nil {
			t.Errorf("size %v, labels %v", size, labels)
		}
		if !strings.Contains(log.String(), "has no variable labels") {
			t.Errorf("not told: %s", log)
		}
	})
}

// TestDefaultsWait: an API that is down is waited for, and no run is launched before.
func TestDefaultsWait(t *testing.T) {
	down := atomic.Bool{}
	down.Store(true)
	inWorld(t, func(w *world, o *Options) {
		o.PoolDefaults = json.RawMessage(`{"size":7}`)
		w.api.before = func(op, _ string) error {
			if op == "SetBaseJobTemplate" && down.Load() {
				return errDown
			}
			return nil
		}
	}, func(w *world) {
		id := w.api.schedule("dep-1")
		w.after(2 * time.Minute)
		if got := w.api.history(id); len(got) != 1 {
			t.Errorf("the run is %q", got)
		}
		down.Store(false)
		w.after(time.Minute)
		if len(w.launcher.allJobs()) != 1 || w.api.defaultOf(t, "size") != 7.0 {
			t.Errorf("%d jobs, size %v", len(w.launcher.allJobs()), w.api.defaultOf(t, "size"))
		}
	})
}

// TestDefaultsThatAreRefused: a worker whose key may not change pools serves the pool as
// it is.
func TestDefaultsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(*world){
		"for want of a right": func(w *world) {
			w.api.before = func(op, _ string) error {
				if op == "SetBaseJobTemplate" {
					return &prefect.StatusError{Method: "PATCH", Path: "/work_pools/pool", Code: 403}
				}
				return nil
			}
		},
		"for a pool of another type": func(w *world) { w.api.pooled(func(p *prefect.WorkPool) { p.Type = "other" }) },
	} {
		t.Run(name, func(t *testing.T) {
			var log *ownLines
			inWorld(t, func(w *world, o *Options) {
				log = lines(o)
				o.PoolDefaults = json.RawMessage(`{"size":7}`)
				change(w)
			}, func(w *world) {
				w.running()
				if n := strings.Count(log.String(), "could not be set; it is served as it is"); n != 1 {
					t.Errorf("told %d times: %s", n, log)
				}
			})
		})
	}
}

func TestDefaultsOfUnknownVariables(t *testing.T) {
	_, err := withPoolDefaults(rawJSON(template()), json.RawMessage(`{"size":1,"clustre":"c"}`))
	if err == nil || !strings.Contains(err.Error(), "no variable clustre") {
		t.Errorf("%v", err)
	}
}
