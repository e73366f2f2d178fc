package ecs

import (
	"errors"
	"fmt"
	"strings"
)

// Classes of the exceptions with which Prefect's worker ends over the same
// problems. A state's message begins with them, and people search for them.
const (
	clientError          = "ClientError" // of botocore
	noRegionError        = "NoRegionError"
	paramValidationError = "ParamValidationError"
	profileNotFound      = "ProfileNotFound"
	validationError      = "ValidationError"
	valueError           = "ValueError"
)

// problem is one thing wrong with a job's configuration.
type problem struct {
	class string
	field string // where, if the text does not say it
	text  string
}

// refusal is everything wrong with a job's configuration, in the form and the
// order in which Prefect's worker, pydantic and botocore would report it, one at
// a time.
type refusal []problem

// Class is the exception of the first problem.
func (r refusal) Class() string { return r[0].class }

func (r refusal) Error() string {
	var lines []string
	if fields := r.of(validationError); len(fields) > 0 {
		plural := ""
		if len(fields) > 1 {
			plural = "s"
		}
		lines = append(lines, fmt.Sprintf("%d validation error%s for ECSJobConfiguration", len(fields), plural))
		for _, p := range fields {
			if p.field != "" {
				lines = append(lines, p.field)
			}
			lines = append(lines, "  "+p.text)
		}
	}
	for _, p := range r.of(valueError) {
		lines = append(lines, p.text)
	}
	if parameters := r.of(paramValidationError); len(parameters) > 0 {
		lines = append(lines, "Parameter validation failed:")
		for _, p := range parameters {
			lines = append(lines, p.text)
		}
	}
	return strings.Join(lines, "\n")
}

func (r refusal) of(class string) refusal {
	var out refusal
	for _, p := range r {
		if p.class == class {
			out = append(out, p)
		}
	}
	return out
}

// refuse joins all that was found wrong; nil when that is nothing. An error of no
// class of its own is a ValueError.
func refuse(errs ...error) error {
	var all refusal
	for _, err := range errs {
		var some refusal
		switch {
		case err == nil:
		case errors.As(err, &some):
			all = append(all, some...)
		default:
			all = append(all, problem{class: valueError, text: err.Error()})
		}
	}
	if len(all) == 0 {
		return nil
	}
	sorted := append(append(all.of(validationError), all.of(valueError)...), all.of(paramValidationError)...)
	return sorted
}

// configError is something that the configuration or the account must change
// before a launch can succeed.
type configError struct {
	message, hint string
	class         string // "" is ValueError
}

func (e *configError) Error() string { return e.message }

// Class is Python's exception for the same.
func (e *configError) Class() string { return firstOf(e.class, valueError) }

// refused is a refusal with what to do about it.
func refused(err error, hint string) *configError {
	e := &configError{message: err.Error(), hint: hint}
	var r refusal
	if errors.As(err, &r) {
		e.class = r.Class()
	}
	return e
}
