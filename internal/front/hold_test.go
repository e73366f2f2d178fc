package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	runA = "aaaaaaaa-1111-4111-8111-111111111111"
	runB = "bbbbbbbb-1111-4111-8111-111111111111"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (b *bundle) add(t *testing.T, faults ...Fault) {
	t.Helper()
	if _, err := b.gate.Faults().Add(faults...); err != nil {
		t.Fatal(err)
	}
}

// later makes a call that is expected to be held.
func (b *bundle) later(t *testing.T, path, body string) <-chan string {
	t.Helper()
	done := make(chan string, 1)
	go func() {
		status, text, err := b.do(t, "POST", path, "Op", body)
		done <- strings.TrimSpace(fmt.Sprint(status, " ", text, " ", err))
	}()
	return done
}

func TestHoldAndRelease(t *testing.T) {
	for _, tt := range []struct {
		at     string
		before int32 // effects while the call is held
		effect Effect
	}{{HoldBefore, 0, EffectUnknown}, {HoldAfter, 1, EffectYes}} {
		t.Run(tt.at, func(t *testing.T) {
			b := setup(t, Options{})
			b.add(t, Fault{ID: "point", Hold: tt.at, Run: runA, Count: 1})
			b.must(t, "POST", "/other", "Op", `{"flow_run_id":"`+runB+`"}`, 202)
			b.calls.Store(0)
			done := b.later(t, "/flow_runs/"+runA+"/set_state", "hello")
			held, err := b.gate.Holds().Await(within(t), "point", 1)
			if err != nil {
				t.Fatal(err)
			}
			if n := b.calls.Load(); n != tt.before {
				t.Errorf("%d effects while held, want %d", n, tt.before)
			}
			call := b.gate.Ledger().Calls(Query{Run: runA})[0]
			if call.Effect != tt.effect || call.Done || call.ID != held[0].Call || call.Fault != "point" {
				t.Errorf("ledger while held: %+v", call)
			}
			var door struct{ Holds []Hold }
			if err := json.Unmarshal([]byte(b.must(t, "GET", "/_front/holds", "", "", 200)), &door); err != nil {
				t.Fatal(err)
			}
			if len(door.Holds) != 1 || door.Holds[0] != held[0] || held[0].At != tt.at || held[0].Run != runA || held[0].Operation != "Op" {
				t.Errorf("held: %+v, by the door %+v", held, door.Holds)
			}
			b.must(t, "DELETE", "/_front/holds/nothing", "", "", 404)
			if text := b.must(t, "DELETE", "/_front/holds/"+held[0].ID, "", "", 200); strings.TrimSpace(text) != `{"released":1}` {
				t.Errorf("release answers %s", text)
			}
			if got := <-done; got != "202 hello <nil>" {
				t.Errorf("after the release: %q", got)
			}
			call = b.gate.Ledger().Calls(Query{Run: runA})[0]
			if b.calls.Load() != 1 || call.Effect != EffectYes || !call.Done || call.Status != 202 {
				t.Errorf("%d effects, ledger %+v", b.calls.Load(), call)
			}
		})
	}
}

// A caller that is killed while it is held leaves behind what had happened, and
// nothing more.
func TestHeldCallerGoesAway(t *testing.T) {
	for at, want := range map[string]int32{HoldBefore: 0, HoldAfter: 1} {
		t.Run(at, func(t *testing.T) {
			b := setup(t, Options{})
			b.add(t, Fault{ID: "point", Hold: at})
			ctx, kill := context.WithCancel(t.Context())
			dead := make(chan error, 1)
			go func() { dead <- b.leave(ctx, t) }()
			if _, err := b.gate.Holds().Await(within(t), "point", 1); err != nil {
				t.Fatal(err)
			}
			kill()
			if err := <-dead; !errors.Is(err, context.Canceled) {
				t.Errorf("the caller got an answer: %v", err)
			}
			if err := b.gate.Holds().AwaitNone(within(t), ""); err != nil {
				t.Fatal(err)
			}
			if n := b.calls.Load(); n != want {
				t.Errorf("%d effects, want %d", n, want)
			}
			if call := b.gate.Ledger().Calls(Query{})[0]; (call.Effect == EffectYes) != (want == 1) {
				t.Errorf("ledger: %+v", call)
			}
		})
	}
}

func TestHoldsEnd(t *testing.T) {
	b := setup(t, Options{})
	b.add(t, Fault{ID: "p", Path: "^/p", Hold: HoldAfter}, Fault{ID: "q", Hold: HoldBefore})
	p1, p2, q := b.later(t, "/p/1", "1"), b.later(t, "/p/2", "2"), b.later(t, "/q", "3")
	if _, err := b.gate.Holds().Await(within(t), "", 3); err != nil {
		t.Fatal(err)
	}
	if n := b.gate.Release("p"); n != 2 {
		t.Errorf("released %d calls of p, want 2", n)
	}
	if a, c := <-p1, <-p2; a != "202 1 <nil>" || c != "202 2 <nil>" {
		t.Errorf("released: %q %q", a, c)
	}
	if text := b.must(t, "DELETE", "/_front/holds", "", "", 200); strings.TrimSpace(text) != `{"released":1}` {
		t.Errorf("release of all answers %s", text)
	}
	if got := <-q; got != "202 3 <nil>" {
		t.Errorf("released: %q", got)
	}
	last := b.later(t, "/q", "4")
	if _, err := b.gate.Holds().Await(within(t), "q", 1); err != nil {
		t.Fatal(err)
	}
	b.gate.Close()
	b.gate.Close()
	if got := <-last; !strings.HasPrefix(got, "0 ") {
		t.Errorf("cut by the end of the gate: %q", got)
	}
	if n := b.calls.Load(); n != 3 {
		t.Errorf("%d effects, want 3", n)
	}
}

func TestHoldWithDrop(t *testing.T) {
	b := setup(t, Options{})
	b.add(t, Fault{ID: "lost", Hold: HoldAfter, Drop: DropReply})
	done := b.later(t, "/", "x")
	if _, err := b.gate.Holds().Await(within(t), "lost", 1); err != nil {
		t.Fatal(err)
	}
	b.gate.Holds().ReleaseAll()
	if got := <-done; !strings.HasPrefix(got, "0 ") || b.calls.Load() != 1 {
		t.Errorf("got %q after %d effects, want a lost answer after 1", got, b.calls.Load())
	}
}
