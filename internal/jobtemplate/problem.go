package jobtemplate

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Problem is one thing wrong with a template or with job variables.
type Problem struct {
	Path    string // where, e.g. job_configuration.task_definition.containerDefinitions[0].image
	Message string
}

// Problems are all things wrong at once, in the order they were met.
type Problems struct {
	List []Problem
}

// Error tells every problem, one a line.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		lines[i] = problem.Path + ": " + problem.Message
	}
	return strings.Join(lines, "\n")
}

// add notes the first problem of a place: what follows from it is not news.
func (p *Problems) add(at path, message string) {
	if slices.ContainsFunc(p.List, func(known Problem) bool { return known.Path == string(at) }) {
		return
	}
	p.List = append(p.List, Problem{Path: string(at), Message: message})
}

func (p *Problems) err() error {
	if len(p.List) == 0 {
		return nil
	}
	return p
}

// path is a place in a JSON document, as shown to users.
type path string

func rootPath(name string) path { return path(name) }

func (p path) key(name string) path {
	if !isPlainKey(name) {
		return p + path(fmt.Sprintf("[%q]", name))
	}
	if p == "" {
		return path(name)
	}
	return p + "." + path(name)
}

func (p path) index(i int) path { return p + path(fmt.Sprintf("[%d]", i)) }

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
	case map[string]any:
		return "an object"
	default:
		return "a number"
	}
}
