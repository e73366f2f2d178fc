package front

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Faults is the table of faults. Safe for concurrent use.
type Faults struct {
	mu     sync.Mutex
	rules  []*rule
	nextID int
	serial int
	seed   uint64
	also   func(Fault) error // what the front demands of a rule beyond its form
	// changed is told that faults were added; the table is not locked then.
	changed func()
}

// NewFaults returns an empty table with a random seed.
func NewFaults() *Faults { return &Faults{seed: rand.Uint64()} }

// Seed has the rules draw anew, from this seed: with the same rules and the same
// sequence of what each of them matches, the same is spoilt.
func (t *Faults) Seed(seed uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seed = seed
	for _, r := range t.rules {
		r.draw = drawFrom(seed, r.ID)
	}
}

// SeedInUse is what was given to Seed, or the random one.
func (t *Faults) SeedInUse() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seed
}

// Check reports what is wrong with the first of the faults that cannot be added.
func (t *Faults) Check(faults ...Fault) error {
	_, err := t.compile(faults)
	return err
}

func (t *Faults) compile(faults []Fault) ([]*rule, error) {
	var rules []*rule
	for i, f := range faults {
		r, err := compile(f)
		if err == nil && t.also != nil {
			err = t.also(f)
		}
		if err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// Add puts faults at the end of the table, all or none, and returns them with
// their ids. A fault with the id of an older one replaces it.
func (t *Faults) Add(faults ...Fault) ([]Fault, error) {
	rules, err := t.compile(faults)
	if err != nil {
		return nil, err
	}
	added := t.put(rules)
	if t.changed != nil {
		t.changed()
	}
	return added, nil
}

func (t *Faults) put(rules []*rule) []Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	added := []Fault{}
	for _, r := range rules {
		if r.ID == "" {
			t.nextID++
			r.ID = "fault-" + strconv.Itoa(t.nextID)
		}
		t.serial++
		r.serial, r.added, r.draw = t.serial, time.Now(), drawFrom(t.seed, r.ID)
		t.rules = slices.DeleteFunc(t.rules, func(old *rule) bool { return old.ID == r.ID })
		t.rules = append(t.rules, r)
		added = append(added, r.Fault)
	}
	return added
}

// Remove takes a fault out of the table and reports whether it was there.
func (t *Faults) Remove(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.rules)
	t.rules = slices.DeleteFunc(t.rules, func(r *rule) bool { return r.ID == id })
	return len(t.rules) < before
}

// Clear empties the table.
func (t *Faults) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rules = nil
}

// List returns the table as it stands.
func (t *Faults) List() []Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []Fault{}
	for _, r := range t.rules {
		list = append(list, r.Fault)
	}
	return list
}

// Take returns the fault to inject into a call, counting it as a hit.
func (t *Faults) Take(s Subject) (Fault, bool) { return t.take(calls, s) }

// TakeEvent returns the fault to inject into a message, counting it as a hit.
func (t *Faults) TakeEvent(s Subject) (Fault, bool) { return t.take(events, s) }

func (t *Faults) take(k kind, s Subject) (Fault, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rules {
		if r.kind() == k && r.matches(s) && !r.spent() && r.strikes() {
			return r.Fault, true
		}
	}
	return Fault{}, false
}

// TaskFault is a rule that has struck a task.
type TaskFault struct {
	Fault
	// Rule is the rule's number, which no later one has.
	Rule int
	// Added is when the rule was made.
	Added time.Time
}

// TakeTask returns the rules that strike a task, counting each as a hit. Rules
// in asked are passed over, and all that matched are put there: whether a rule
// strikes a task is decided once. A task that does not just start, which has no
// Body, is struck by rules that name it or its run, and by no others.
func (t *Faults) TakeTask(s Subject, asked map[int]bool) []TaskFault {
	t.mu.Lock()
	defer t.mu.Unlock()
	var struck []TaskFault
	for _, r := range t.rules {
		named := r.Task != "" || r.Run != "" && r.Request == ""
		if r.kind() != tasks || asked[r.serial] || s.Body == nil && !named || !r.matches(s) || r.spent() {
			continue
		}
		asked[r.serial] = true
		if r.strikes() {
			struck = append(struck, TaskFault{Fault: r.Fault, Rule: r.serial, Added: r.added})
		}
	}
	return struck
}

// Has reports whether a rule is still in the table.
func (t *Faults) Has(number int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.rules, func(r *rule) bool { return r.serial == number })
}

// ParseFaults reads one fault or a list of them. Unknown fields are errors: a
// misspelt selector would select everything. In a list, the error says which
// fault it is about, the first being 1.
func ParseFaults(data []byte) ([]Fault, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		var one Fault
		if err := Strict(data, &one); err != nil {
			return nil, err
		}
		return []Fault{one}, nil
	}
	var list []json.RawMessage
	if err := Strict(data, &list); err != nil {
		return nil, err
	}
	faults := make([]Fault, len(list))
	for i, item := range list {
		if err := Strict(item, &faults[i]); err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
	}
	return faults, nil
}

// Strict decodes one JSON value and refuses fields that it does not know.
func Strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is more than one JSON value")
	}
	return nil
}
