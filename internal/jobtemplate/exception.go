package jobtemplate

import (
	"encoding/json"
	"fmt"
	"strings"
)

// An exception is what Prefect's worker ends with over the same problem. Its
// words stand in the state of the flow run, where people and automations look
// for them.
type exception struct {
	class string
	text  string
}

// Names of Python's and Prefect's exceptions.
const (
	attributeError  = "AttributeError"
	httpStatusError = "PrefectHTTPStatusError"
	keyError        = "KeyError"
	memoryError     = "MemoryError"
	notFoundError   = "ObjectNotFound"
	recursionError  = "RecursionError"
	typeError       = "TypeError"
	validationError = "ValidationError"
	valueError      = "ValueError"
)

func raise(class, format string, args ...any) exception {
	return exception{class, fmt.Sprintf(format, args...)}
}

// lacks is how Python fails over a value that has not the method that an object
// has.
func lacks(value any, method string) exception {
	return raise(attributeError, "'%s' object has no attribute '%s'", pythonType(value), method)
}

// pythonType is the name of a JSON value's type in Python.
func pythonType(value any) string {
	switch value := value.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case string:
		return "str"
	case []any:
		return "list"
	case *object:
		return "dict"
	case json.Number:
		if strings.ContainsAny(value.String(), ".eE") {
			return "float"
		}
	}
	return "int"
}

// Class is the exception that Prefect's worker would have ended with: that of
// the first problem.
func (p *Problems) Class() string {
	if len(p.List) == 0 {
		return ""
	}
	return p.List[0].Class
}

// Exception is what Prefect's worker says in a state's message after "Failed to
// submit flow run to infrastructure: ": the exception of the first problem, with
// all fields of a wrong type when it is that. The model is the Python class of
// the configuration, ECSJobConfiguration for instance.
func (p *Problems) Exception(model string) string {
	if len(p.List) == 0 {
		return ""
	}
	text := p.List[0].Text
	if p.Class() == validationError {
		var fields []string
		for _, problem := range p.List[:min(len(p.List), maxShown)] {
			if problem.Class == validationError {
				fields = append(fields, problem.field+"\n  "+problem.Text)
			}
		}
		plural := ""
		if len(fields) > 1 {
			plural = "s"
		}
		text = fmt.Sprintf("%d validation error%s for %s\n%s", len(fields), plural, model, strings.Join(fields, "\n"))
	}
	if text == "" {
		return p.Class()
	}
	return p.Class() + ": " + text
}

// field is a place below job_configuration as Python's validation names it.
func (p *path) field() string {
	steps := p.steps()
	parts := make([]string, 0, len(steps))
	for _, step := range steps[1:] {
		part := step.part()
		if strings.Contains(part, ".") {
			part = "`" + part + "`"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ".")
}
