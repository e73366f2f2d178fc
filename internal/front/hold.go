package front

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Hold is a call that is held at a break-point.
type Hold struct {
	ID string `json:"id"`
	// Fault is the id of the rule that holds it, Call its id in the ledger.
	Fault string `json:"fault"`
	Call  int64  `json:"call"`
	// At is HoldBefore or HoldAfter.
	At        string    `json:"at"`
	Service   string    `json:"service"`
	Operation string    `json:"operation"`
	Path      string    `json:"path,omitempty"`
	Run       string    `json:"run,omitempty"`
	Since     time.Time `json:"since"`
}

// Holds are the calls that are held. Safe for concurrent use.
type Holds struct {
	mu      sync.Mutex
	next    int
	held    []*held
	changed chan struct{} // closed and replaced when a call comes or goes
	closed  chan struct{}
}

type held struct {
	Hold
	released chan struct{}
}

func newHolds() *Holds { return &Holds{changed: make(chan struct{}), closed: make(chan struct{})} }

// List returns the held calls, those held longest first.
func (h *Holds) List() []Hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of("")
}

// of lists the calls held by a fault; h.mu is held.
func (h *Holds) of(fault string) []Hold {
	list := []Hold{}
	for _, k := range h.held {
		if fault == "" || k.Fault == fault {
			list = append(list, k.Hold)
		}
	}
	return list
}

// Await waits until so many calls are held by a fault at once, "" being any, and
// returns them.
func (h *Holds) Await(ctx context.Context, fault string, n int) ([]Hold, error) {
	for {
		h.mu.Lock()
		list, changed := h.of(fault), h.changed
		h.mu.Unlock()
		if len(list) >= n {
			return list, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return list, ctx.Err()
		}
	}
}

// AwaitNone waits until a fault, "" being any, holds no call: all were released,
// or their callers are gone.
func (h *Holds) AwaitNone(ctx context.Context, fault string) error {
	for {
		h.mu.Lock()
		n, changed := len(h.of(fault)), h.changed
		h.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Release lets a call go on, by its own id, or all that a fault holds, by the
// fault's. It returns how many went. The rule stays in the table.
func (h *Holds) Release(id string) int {
	return h.release(func(k *held) bool { return k.ID == id || k.Fault == id })
}

// ReleaseAll lets every held call go on and returns how many there were.
func (h *Holds) ReleaseAll() int { return h.release(func(*held) bool { return true }) }

func (h *Holds) release(which func(*held) bool) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := len(h.held)
	h.held = slices.DeleteFunc(h.held, func(k *held) bool {
		if !which(k) {
			return false
		}
		close(k.released)
		return true
	})
	h.wake()
	return before - len(h.held)
}

// wake tells who waits that something changed; h.mu is held.
func (h *Holds) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

var errClosed = errors.New("the front is closed")

// wait holds a call until it is released. An error says that nobody waits for
// its answer any more.
func (h *Holds) wait(ctx context.Context, call Hold) error {
	h.mu.Lock()
	h.next++
	call.ID, call.Since = "hold-"+strconv.Itoa(h.next), time.Now().UTC()
	k := &held{Hold: call, released: make(chan struct{})}
	h.held = append(h.held, k)
	h.wake()
	h.mu.Unlock()
	defer h.release(func(other *held) bool { return other == k })
	select {
	case <-k.released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-h.closed:
		return errClosed
	}
}

// close cuts every held call, and all that are held from now on.
func (h *Holds) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.closed:
	default:
		close(h.closed)
	}
}
