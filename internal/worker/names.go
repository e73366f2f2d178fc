package worker

import (
	"html"
	"regexp"
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
// case, everything else a single dash. It follows the library that Prefect makes
// slugs with, for names in Latin letters; what has no Latin letters is lost here,
// and spelt out there.
func slug(name string) string {
	name = apostrophes.ReplaceAllString(name, "-")
	var latin strings.Builder
	for _, r := range norm.NFKD.String(name) {
		switch spelt, known := spellings[r]; {
		case known:
			latin.WriteString(spelt)
		case unicode.Is(unicode.Mn, r): // an accent that came off its letter
		default:
			latin.WriteRune(r)
		}
	}
	text := strings.ToLower(norm.NFKD.String(html.UnescapeString(latin.String())))
	text = strings.ReplaceAll(text, "'", "")
	for commaInNumber.MatchString(text) {
		text = commaInNumber.ReplaceAllString(text, "$1$2")
	}
	return strings.Trim(notInSlugs.ReplaceAllString(text, "-"), "-")
}

var (
	apostrophes   = regexp.MustCompile(`'+`)
	commaInNumber = regexp.MustCompile(`([0-9]),([0-9])`)
	notInSlugs    = regexp.MustCompile(`[^a-z0-9]+`)

	// spellings are the letters that do not come apart into a Latin one and an
	// accent, and the signs that are read as letters.
	spellings = map[rune]string{
		'ß': "ss", 'æ': "ae", 'Æ': "AE", 'œ': "oe", 'Œ': "OE", 'ø': "o", 'Ø': "O", 'ł': "l", 'Ł': "L",
		'đ': "d", 'Đ': "D", 'ð': "d", 'Ð': "D", 'þ': "th", 'Þ': "Th", 'ħ': "h", 'Ħ': "H", 'ŋ': "ng", 'Ŋ': "NG", 'ı': "i",
		'‘': "'", '’': "'", '“': "\"", '”': "\"", '–': "-", '—': "-", '€': "EUR", '°': "deg", '⁄': "/",
	}
)

// resourceID names a worker in Prefect's events.
func (w *Worker) resourceID() string {
	return "prefect.worker." + w.launcher.Type() + "." + slug(w.name)
}
