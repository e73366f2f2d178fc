package fair

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTurns(t *testing.T) {
	var line Line[string]
	place := uint64(0)
	join := func(queue, deployment string, items ...string) {
		for _, item := range items {
			place++
			line.Join(Who{queue, deployment}, place, item)
		}
	}
	join("day", "big", "b1", "b2", "b3", "b4")
	join("day", "small", "s1")
	join("night", "one", "n1", "n2")
	line.Join(Who{"day", "big"}, 0, "b0") // came back to where it was
	var order []string
	for item, ok := line.Next(); ok; item, ok = line.Next() {
		order = append(order, item)
	}
	if got := strings.Join(order, " "); got != "b0 n1 s1 n2 b1 b2 b3 b4" {
		t.Errorf("turns: %s", got)
	}
}

// TestNobodyIsLost holds the line to its promises whatever comes and goes.
func TestNobodyIsLost(t *testing.T) {
	type waiter struct {
		who   Who
		place uint64
		id    int
	}
	rapid.Check(t, func(t *rapid.T) {
		var line Line[*waiter]
		var inside []*waiter
		name := rapid.SampledFrom([]string{"a", "b", "c"})
		for step := range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				w := &waiter{Who{name.Draw(t, "queue"), name.Draw(t, "deployment")}, rapid.Uint64Range(0, 50).Draw(t, "place"), step}
				line.Join(w.who, w.place, w)
				inside = append(inside, w)
			case 2:
				if len(inside) == 0 {
					continue
				}
				at := rapid.IntRange(0, len(inside)-1).Draw(t, "who")
				if !line.Leave(inside[at]) || line.Leave(inside[at]) {
					t.Fatal("left never, or twice")
				}
				inside = slices.Delete(inside, at, at+1)
			case 3:
				w, ok := line.Next()
				at := slices.Index(inside, w)
				if ok != (len(inside) > 0) || ok && at < 0 {
					t.Fatalf("%d wait, and it is the turn of %v", len(inside), w)
				}
				if !ok {
					continue
				}
				for _, other := range inside {
					if other.who == w.who && (other.place < w.place || other.place == w.place && other.id < w.id) {
						t.Fatalf("%s was passed over for %s", fmt.Sprint(other), fmt.Sprint(w))
					}
				}
				inside = slices.Delete(inside, at, at+1)
			}
			if line.Len() != len(inside) {
				t.Fatalf("%d wait, the line counts %d", len(inside), line.Len())
			}
		}
	})
}
