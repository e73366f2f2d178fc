package worker

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// claimMessage is the message of a Pending state that is a claim of ours. It
// tells a worker that finds the run later that no more than this happened.
func claimMessage(worker string) string { return claimPrefix + worker }

const claimPrefix = "Claimed by faber worker "

// claimant is the worker that a Pending state's message names, if it is a claim
// of faber's.
func claimant(message string) (worker string, ok bool) {
	return strings.CutPrefix(message, claimPrefix)
}

// sameInfrastructure reports whether two pids name the same infrastructure. What
// stands before a "::" says where it is, and may be a name in one pid and the
// full address in the other; what follows is unique by itself.
func sameInfrastructure(a, b string) bool {
	if a == b {
		return true
	}
	_, first, both := strings.Cut(a, "::")
	_, second, ok := strings.Cut(b, "::")
	return both && ok && first != "" && first == second
}

// slug is a name as it stands in the ids of Prefect's resources: ASCII, lower
// case, everything else a single dash.
func slug(name string) string {
	var b strings.Builder
	dash := false
	for _, r := range norm.NFKD.String(name) {
		switch {
		case unicode.Is(unicode.Mn, r):
			continue // an accent that came off its letter
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(unicode.ToLower(r))
		default:
			dash = true
		}
	}
	return b.String()
}

// resourceID names a worker in Prefect's events.
func (w *Worker) resourceID() string {
	return "prefect.worker." + w.launcher.Type() + "." + slug(w.name)
}
