// Package cause reads what ECS says when a task does not come about or ends, and
// tells what that means for the claim of a flow run. It is a table and nothing
// else: no AWS types, no clock, no network.
package cause

import (
	"net/http"
	"slices"
	"strings"
)

// Where says who spoke.
type Where string

// The three ways in which ECS tells of trouble.
const (
	Call     Where = "call"     // the error of an API call
	Failures Where = "failures" // the failures[] of an answer without a task
	Stopped  Where = "stopped"  // a task that was there and has ended
)

// Report is what was said.
type Report struct {
	Where     Where
	Operation string // the API operation, e.g. "RunTask"; "" if the message tells or nobody does
	Code      string // AWS's code of an error, or the reason in failures[]
	Message   string // the error's message, the detail in failures[], the task's stoppedReason
	StopCode  string // of a stopped task
	Reasons   []string
	Status    int  // HTTP status of an error, 0 if there was none
	Lost      bool // nobody answered: whether the call had an effect is open
	// Known are names that the caller has from its own request. They stand in for
	// what the text does not name.
	Known map[Kind]string
}

// Verdict is what a cause means for the claim.
type Verdict string

// Verdicts.
const (
	// Again: it had no effect, or nobody knows whether it had one. The call is
	// repeated with the same client token.
	Again Verdict = "again"
	// Wait: a definite answer without a task, that will be another one when there
	// is room. The run comes back as a new claim, until the deadline for waiting.
	Wait Verdict = "wait"
	// GiveBack: a task was there and ran no user code, or was taken away. The run
	// comes back as a new claim, as often as launches are allowed.
	GiveBack Verdict = "give_back"
	// Crashed: nothing becomes better before somebody changes something.
	Crashed Verdict = "crashed"
)

// Name is the short and lasting name of a cause.
type Name string

// Unknown is the cause of a text that the table does not have. It is never
// guessed at: the text itself is all there is to tell.
const Unknown Name = "unknown"

const unknownHint = "Read AWS's own words in the message."

// Result is what a report means.
type Result struct {
	Cause    Name
	Verdict  Verdict
	Kind     Kind   // what Resource is; "" when the cause is about none
	Resource string // the one that is named; "" when neither text nor caller names one
	Hint     string // what to do next: one step
	Text     string // all that was said, as it was said
}

// Classify finds the first rule that fits.
func Classify(r Report) Result {
	said := newText(r)
	for _, rule := range rules() {
		if !rule.fits(r, said) {
			continue
		}
		result := Result{Cause: rule.cause, Verdict: rule.verdictFor(r.Where), Kind: rule.of, Text: said.raw}
		if rule.of != "" {
			result.Resource = firstOf(find(rule.of, said.oneLine), r.Known[rule.of])
		}
		result.Hint = rule.hintFor(result.Resource)
		return result
	}
	return Result{Cause: Unknown, Verdict: Crashed, Hint: unknownHint, Text: said.raw}
}

// Permanent reports whether the cause is known, and known to last.
func (r Result) Permanent() bool { return r.Cause != Unknown && r.Verdict == Crashed }

// rule is one line of the table.
type rule struct {
	cause Name
	where []Where // nil: wherever it is said

	// It fits when the code is one of these, or the text holds one phrase of any
	// and, if there are some, one phrase of and. In a text, codes count as phrases:
	// ECS passes on the errors of other services inside its messages.
	codes   []string // AWS's error codes
	reasons []string // in failures[], the whole reason
	stops   []string // stop codes of a task
	any     []string
	and     []string
	lost    bool // nobody answered
	server  bool // an HTTP status of 500 or more

	verdict Verdict
	of      Kind
	hint    string // one step; %s is the resource
	says    string // how it reads, for the documentation
}

func (r rule) fits(report Report, said text) bool {
	if r.where != nil && !slices.Contains(r.where, report.Where) {
		return false
	}
	code := strings.ToLower(report.Code)
	switch {
	case r.lost && report.Lost, r.server && report.Status >= http.StatusInternalServerError,
		code != "" && slices.Contains(r.codes, code),
		report.Where == Failures && slices.Contains(r.reasons, code),
		report.Where == Stopped && slices.Contains(r.stops, strings.ToLower(report.StopCode)):
		return true
	}
	return (said.hasAny(r.any) || said.hasWord(r.codes)) && (len(r.and) == 0 || said.hasAny(r.and))
}

// verdictFor is the rule's verdict, as far as it can be had: a token whose answer
// is failures[] gets the same answer again, and a task that has ended stays ended.
func (r rule) verdictFor(where Where) Verdict {
	switch {
	case r.verdict == Again && where == Failures:
		return Wait
	case r.verdict == Again && where == Stopped:
		return GiveBack
	default:
		return r.verdict
	}
}

func (r rule) hintFor(resource string) string {
	return strings.ReplaceAll(r.hint, "%s", firstOf(resource, nouns[r.of]))
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// rules are tried in order: what is said more exactly comes first.
func rules() []rule { return table }

var table = slices.Concat(endRules, throttleRules, stoppedRules, placementRules, callRules)
