package jobtemplate

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is one thing wrong with a template or with job variables.
type Problem struct {
	Path    string // where, e.g. job_configuration.task_definition.containerDefinitions[0].image
	Message string
	// Origin is who gave the value that is wrong, e.g. job variable "labels" of
	// the deployment. It is empty where Path says it already.
	Origin string
	// Class and Text are the exception that Prefect's worker raises over the same,
	// and what it says.
	Class string
	Text  string

	field string // what Python's validation calls the place
}

func (p Problem) String() string {
	if p.Origin == "" {
		return p.Path + ": " + p.Message
	}
	return p.Path + ": " + p.Message + " (" + p.Origin + ")"
}

// Problems are all things wrong at once, in the order in which Prefect's worker
// comes across them.
type Problems struct {
	List []Problem

	seen map[string]bool // paths that have a problem
}

// Bounds of an error's text, which becomes the message of a state: problems that
// are told one by one, and the length of each part of one.
const (
	maxShown = 100
	maxPart  = 1000
	maxQuote = 200 // of what a message quotes
)

func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	cut := limit
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// Error tells the problems, one a line.
func (p *Problems) Error() string {
	lines := make([]string, 0, min(len(p.List), maxShown)+1)
	for i, problem := range p.List {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("and %d more", len(p.List)-maxShown))
			break
		}
		lines = append(lines, problem.String())
	}
	return strings.Join(lines, "\n")
}

// add notes the first problem of a place: what follows from it is not news.
func (p *Problems) add(at *path, raised exception, message, origin string) {
	where := at.String()
	if p.seen[where] {
		return
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[where] = true
	p.List = append(p.List, Problem{
		Path: clip(where, maxPart), Message: clip(message, maxPart), Origin: clip(origin, maxPart),
		Class: raised.class, Text: clip(raised.text, maxPart), field: clip(at.field(), maxPart),
	})
}

// addTraced is add for a problem whose origin takes some looking: those that are
// not shown go without.
func (p *Problems) addTraced(at *path, raised exception, message string, origin func(*path) string) {
	from := ""
	if len(p.List) < maxShown {
		from = origin(at)
	}
	p.add(at, raised, message, from)
}

func (p *Problems) err() error {
	if len(p.List) == 0 {
		return nil
	}
	return p
}

// path is a place in a JSON document: a key or an index, below another place.
// A nil path is the document itself.
type path struct {
	above *path
	name  string
	at    int
	isKey bool
}

func (p *path) key(name string) *path { return &path{above: p, name: name, isKey: true} }

func (p *path) index(i int) *path { return &path{above: p, at: i} }

// steps are the keys and indices from the document down to the place.
func (p *path) steps() []*path {
	var out []*path
	for ; p != nil; p = p.above {
		out = append(out, p)
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// String is the place as it is shown to users.
func (p *path) String() string {
	var b strings.Builder
	for _, step := range p.steps() {
		switch {
		case !step.isKey:
			fmt.Fprintf(&b, "[%d]", step.at)
		case !isPlainKey(step.name):
			fmt.Fprintf(&b, "[%q]", step.name)
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step.name)
		}
	}
	return b.String()
}

// part is the step as a part of a dotted name.
func (p *path) part() string {
	if p.isKey {
		return p.name
	}
	return strconv.Itoa(p.at)
}

// isPlainKey says whether a key can stand in a path without quotes.
func isPlainKey(name string) bool {
	if name == "" {
		return false
	}
	for _, r := range name {
		if r != '_' && r != '-' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return true
}

// mustBe tells that a value has another type than it should.
func mustBe(want string, value any) string {
	return fmt.Sprintf("must be %s, not %s", want, kindOf(value))
}

// kindOf names a JSON value's type with its article, for messages.
func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case []any:
		return "a list"
	case *object:
		return "an object"
	default:
		return "a number"
	}
}
