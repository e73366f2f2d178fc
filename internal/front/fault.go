package front

import (
	"math"
	"time"
)

// Where a call can be cut, and where it can be held.
const (
	// DropRequest resets the connection before the call takes effect.
	DropRequest = "request"
	// DropReply lets the call take effect and loses the answer: the caller
	// cannot know what happened.
	DropReply = "reply"
	// HoldBefore holds a call before it takes effect.
	HoldBefore = "before"
	// HoldAfter holds a call when it has taken effect, before its answer.
	HoldAfter = "after"
)

// What can happen to the message of an event on its way to who receives it.
const (
	EventDrop    = "drop"    // it never comes
	EventDouble  = "double"  // it comes, and later comes again
	EventLate    = "late"    // it comes after Delay
	EventReorder = "reorder" // it comes after a later one of the same task, or after Delay
	EventMangle  = "mangle"  // it comes with Body, or cut in half
)

// Fault is a rule: what it selects, and what it does to that. Empty selectors
// select everything. There are three kinds, by effect: rules for calls, for
// tasks (hide, stop) and for the messages of events (event). Of several rules of
// one kind that match, the oldest acts; of rules for tasks, every one does.
type Fault struct {
	ID string `json:"id,omitempty"`

	// Service and Operation as the ledger shows them.
	Service   string `json:"service,omitempty"`
	Operation string `json:"operation,omitempty"`
	// Route is a method and a path as the service behind knows it, where {name}
	// is any one segment and a * at the end the rest: "POST
	// /flow_runs/{id}/set_state". The method * is any.
	Route string `json:"route,omitempty"`
	// Run is the id of a flow run, wherever in a call it stands: in the path, the
	// body, an environment, a tag, or behind the ARN of its task.
	Run string `json:"run,omitempty"`
	// Task is the ARN of a task, or its id.
	Task string `json:"task,omitempty"`
	// LastStatus is a task's, in a rule for events.
	LastStatus string `json:"last_status,omitempty"`
	// Path and Request are regular expressions over the path and the body.
	Path    string `json:"path,omitempty"`
	Request string `json:"request,omitempty"`
	// Skip lets so many matching calls, tasks or messages through first.
	Skip int `json:"skip,omitempty"`
	// Count is how many are spoilt; 0 means every one.
	Count int `json:"count,omitempty"`
	// Probability is the share of what matches that is spoilt; 0 means all. The
	// same seed draws the same for the same rule: see Faults.Seed.
	Probability float64 `json:"probability,omitempty"`

	// Delay comes before any other effect. "1.5s" in JSON.
	Delay Duration `json:"delay,omitzero"`
	// Hold is HoldBefore or HoldAfter: the call stays there until it is released,
	// or until its caller goes away, which undoes nothing. See Holds.
	Hold string `json:"hold,omitempty"`
	// Throttle answers as the service does when it is called too often. Status,
	// Header, Code and Message may say otherwise.
	Throttle bool `json:"throttle,omitempty"`
	// Status with Body and Header is answered instead of making the call. With
	// Code and Message and no Body, the error is written as the service would.
	Status  int               `json:"status,omitempty"`
	Header  map[string]string `json:"header,omitempty"`
	Body    string            `json:"body,omitempty"`
	Code    string            `json:"code,omitempty"`
	Message string            `json:"message,omitempty"`
	// Drop is DropRequest or DropReply.
	Drop string `json:"drop,omitempty"`
	// Failures have RunTask succeed, start nothing, and say why.
	Failures []Failure `json:"failures,omitempty"`

	// Hide keeps a task out of every answer for so long after its start, or after
	// the rule was made if that was later, or until the rule is removed.
	// "forever" in JSON is Forever.
	Hide Duration `json:"hide,omitzero"`
	// Stop ends a task in a way of your own.
	Stop *Stop `json:"stop,omitempty"`
	// Event is EventDrop, EventDouble, EventLate, EventReorder or EventMangle.
	Event string `json:"event,omitempty"`

	// Hits counts what was spoilt so far.
	Hits int `json:"hits"`
}

// Failure is one of the failures in an answer of RunTask.
type Failure struct {
	ARN    string `json:"arn,omitempty"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Stop is an invented end of a task. The real task is stopped at the same time.
type Stop struct {
	// After is the time from RunTask, or from the rule if that is later.
	After Duration `json:"after,omitzero"`
	// Code is the stopCode: EssentialContainerExited, TaskFailedToStart,
	// SpotInterruption and so on. A task that failed to start never ran.
	Code string `json:"code"`
	// Reason is the stoppedReason.
	Reason string `json:"reason,omitempty"`
	// Container is the name of the container whose end is told by ContainerReason
	// and ExitCode; "" is the first.
	Container       string `json:"container,omitempty"`
	ContainerReason string `json:"container_reason,omitempty"`
	ExitCode        *int   `json:"exit_code,omitempty"`
}

// Duration is a time.Duration that reads and prints as text in JSON.
type Duration time.Duration

// Forever is the duration without an end, "forever" in JSON.
const Forever Duration = math.MaxInt64

// MarshalText prints the duration as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) {
	if d == Forever {
		return []byte("forever"), nil
	}
	return []byte(time.Duration(d).String()), nil
}

// UnmarshalText reads what time.ParseDuration reads, and "forever".
func (d *Duration) UnmarshalText(text []byte) error {
	if string(text) == "forever" {
		*d = Forever
		return nil
	}
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// After is the time so long after t; the zero time stands for never.
func (d Duration) After(t time.Time) time.Time {
	if d == Forever {
		return time.Time{}
	}
	return t.Add(time.Duration(d))
}
