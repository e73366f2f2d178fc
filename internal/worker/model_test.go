package worker

import (
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// historiesEnv is how many histories the model test plays, and historySeedEnv what
// they are drawn from: a change is judged by the same ones each time, 0 draws new ones.
const (
	historiesEnv   = "FABER_MODEL_HISTORIES"
	historySeedEnv = "FABER_MODEL_SEED"
)

func histories(t *testing.T) int {
	text := os.Getenv(historiesEnv)
	if text == "" {
		return 300
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", historiesEnv, err)
	}
	return n
}

// playHistory plays a history in a world of its own.
func playHistory(t *testing.T, h modelHistory) (w *modelWorld) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w = newModelWorld(h)
		w.play()
		w.close()
	})
	return w
}

// TestModel plays random histories of workers, users and faults, and looks after
// each step whether what must never be is, and at the end whether all is well.
func TestModel(t *testing.T) {
	n := histories(t)
	if testing.Short() {
		n *= 5 // which rapid divides by
	}
	defer withFlag(t, "rapid.checks", strconv.Itoa(n))()
	defer withFlag(t, "rapid.seed", cmp.Or(os.Getenv(historySeedEnv), "1"))()
	defer withFlag(t, "rapid.nofailfile", "true")() // testdata/histories keeps them in words
	tries, waits := 1, []time.Duration{}
	var broke *modelWorld
	t.Cleanup(func() { tell(t, broke) })
	rapid.Check(t, func(rt *rapid.T) {
		h := drawHistory.Draw(rt, "history")
		for range tries {
			w := playHistory(t, h)
			waits = append(waits, w.waited)
			if len(w.violations) > 0 {
				tries = 6 // what shrinks it must not be luck
				broke = w
				rt.Fatalf("%s", w.violations[0]) // the rule alone: what is shrunk must break the same one
			}
		}
	})
	slices.Sort(waits)
	t.Logf("%d histories; after the faults no claimed run was without a task for longer than %s (median %s)", len(waits), waits[len(waits)-1], waits[len(waits)/2])
}

// withFlag sets a flag and gives what sets it back.
func withFlag(t *testing.T, name, value string) (restore func()) {
	t.Helper()
	f := flag.Lookup(name)
	before := f.Value.String()
	if err := f.Value.Set(value); err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Value.Set(before) }
}

// TestModelRegressions plays the histories that once broke a rule. What happens in
// a worker at the same moment has no order, so each is played several times, and
// with other chances.
func TestModelRegressions(t *testing.T) {
	files, err := filepath.Glob("testdata/histories/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no histories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var h modelHistory
			if err := json.Unmarshal(data, &h); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				h.Seed++
				if w := playHistory(t, h); len(w.violations) > 0 {
					t.Fatalf("%s\n%s", w.violations[0], strings.Join(w.trace, "\n"))
				}
			}
		})
	}
}

// tell shows the last world in which a rule was broken, the smallest that was found:
// to play it again may not break it again.
func tell(t *testing.T, w *modelWorld) {
	t.Helper()
	if w != nil {
		t.Logf("%s\nhistory: %s\nstory:\n%s", w.violations[0], &w.h, strings.Join(w.trace, "\n"))
	}
}
