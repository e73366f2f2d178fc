package front

import (
	"context"
	"sync"
)

// Entry is a call's line in the ledger while the call is under way. A front that
// knows more of the call than its status writes that here. The methods of nil do
// nothing.
type Entry struct {
	ledger *Ledger
	id     int64
	fault  Fault

	mu     sync.Mutex
	effect Effect // "" until somebody knows
}

type entryKey struct{}

// EntryOf returns the entry of the call that ctx belongs to, or nil.
func EntryOf(ctx context.Context) *Entry {
	e, _ := ctx.Value(entryKey{}).(*Entry)
	return e
}

// Fault is what is injected into the call, for a front to inject what only it
// can; the zero fault is none.
func (e *Entry) Fault() Fault {
	if e == nil {
		return Fault{}
	}
	return e.fault
}

// SetEffect says whether the call was carried out. The first word stands.
func (e *Entry) SetEffect(effect Effect) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.effect == "" {
		e.effect = effect
		e.ledger.update(e.id, func(c *Call) { c.Effect = effect })
	}
}

// SetTasks names the tasks that the call started.
func (e *Entry) SetTasks(arns []string) {
	if e != nil {
		e.ledger.update(e.id, func(c *Call) { c.Tasks = arns })
	}
}

// SetRefusedBy names what of the front refused the call, where a fault's id would
// stand. The call has no effect.
func (e *Entry) SetRefusedBy(name string) {
	if e != nil {
		e.ledger.update(e.id, func(c *Call) { c.Fault = name })
		e.SetEffect(EffectNo)
	}
}

// settle takes the service's answer for the effect, unless somebody knows better.
func (e *Entry) settle(status int) {
	if status != 0 {
		e.SetEffect(effectOf(status))
	}
}
