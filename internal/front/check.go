package front

import (
	"errors"
	"fmt"
	"slices"
)

// kind is what a rule acts on.
type kind int

const (
	calls kind = iota
	tasks
	events
)

func (f Fault) kind() kind {
	switch {
	case f.Event != "":
		return events
	case f.Hide != 0 || f.Stop != nil:
		return tasks
	default:
		return calls
	}
}

// answers reports whether the fault answers in the service's stead.
func (f Fault) answers() bool { return f.Status != 0 || f.Code != "" || f.Throttle }

// onCall reports whether the fault has an effect that only a call can suffer.
func (f Fault) onCall() bool {
	return f.answers() || f.Drop != "" || f.Hold != "" || len(f.Failures) > 0
}

func (f Fault) check() error {
	switch {
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("probability %v is not between 0 and 1", f.Probability)
	case f.Delay < 0 || f.Skip < 0 || f.Count < 0 || f.Hide < 0:
		return errors.New("delay, hide, skip and count cannot be negative")
	case f.Delay == Forever:
		return errors.New("a delay ends; a call that is to wait is held")
	}
	switch f.kind() {
	case events:
		return f.checkEvent()
	case tasks:
		return f.checkTask()
	default:
		return f.checkCall()
	}
}

func (f Fault) checkCall() error {
	effects := 0
	for _, has := range []bool{f.answers(), f.Drop == DropRequest, len(f.Failures) > 0} {
		if has {
			effects++
		}
	}
	switch {
	case f.Delay == 0 && !f.onCall():
		return errors.New("a fault needs an effect: delay, hold, throttle, status, code, drop, failures, hide, stop or event")
	case f.Drop != "" && f.Drop != DropRequest && f.Drop != DropReply:
		return fmt.Errorf("drop must be %q or %q, not %q", DropRequest, DropReply, f.Drop)
	case f.Hold != "" && f.Hold != HoldBefore && f.Hold != HoldAfter:
		return fmt.Errorf("hold must be %q or %q, not %q", HoldBefore, HoldAfter, f.Hold)
	case f.Drop != "" && f.answers():
		return errors.New("a call that is dropped cannot be answered as well")
	case f.Hold == HoldAfter && (f.answers() || f.Drop == DropRequest):
		return errors.New("a call that is not made has no effect to hold it after")
	case effects > 1:
		return errors.New("a call can only be answered, dropped or failed: take one")
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("status %d is none a server can answer", f.Status)
	case f.LastStatus != "":
		return errors.New("last_status is for rules with event")
	}
	return nil
}

func (f Fault) checkTask() error {
	switch {
	case f.Delay != 0 || f.onCall():
		return errors.New("hide and stop are for tasks, the other effects for calls: make two rules")
	case f.Stop != nil && f.Stop.Code == "":
		return errors.New("stop needs a code, for instance EssentialContainerExited")
	case f.Stop != nil && (f.Stop.After < 0 || f.Stop.After == Forever):
		return errors.New("stop's after is a time that comes")
	case f.Operation != "" && f.Operation != "RunTask":
		return fmt.Errorf("hide and stop select tasks by the RunTask that started them, not by %s", f.Operation)
	case f.LastStatus != "":
		return errors.New("last_status is for rules with event")
	}
	return nil
}

func (f Fault) checkEvent() error {
	known := []string{EventDrop, EventDouble, EventLate, EventReorder, EventMangle}
	switch {
	case !slices.Contains(known, f.Event):
		return fmt.Errorf("event must be one of %q, not %q", known, f.Event)
	case f.onCall() || f.Hide != 0 || f.Stop != nil:
		return errors.New("event is for messages, the other effects for calls and tasks: make two rules")
	case f.Event == EventLate && f.Delay == 0:
		return errors.New("an event that is late needs a delay")
	case f.Body != "" && f.Event != EventMangle:
		return errors.New("body is for events that are mangled")
	case f.Operation != "" || f.Route != "":
		return errors.New("events are selected by run, task, last_status, path and request, not by operation or route")
	}
	return nil
}
