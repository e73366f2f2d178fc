package prefect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

var (
	// ErrNotFound is what a StatusError with code 404 is.
	ErrNotFound = errors.New("not found")
	// ErrUnreachable wraps every failure to get an answer from the API at all:
	// no route, refused connection, TLS failure, time-out, reset.
	ErrUnreachable = errors.New("the Prefect API cannot be reached")
	// ErrChannelDisabled says that the worker channel will not work for the rest
	// of this process: heartbeats and pool reads go over REST from now on.
	ErrChannelDisabled = errors.New("the worker channel is disabled")
	// ErrIncompatible is a server whose major version differs from the client's.
	ErrIncompatible = errors.New("incompatible Prefect server")
)

// StatusError is an answer of the API other than the one hoped for.
type StatusError struct {
	Method     string
	Path       string // relative to the API URL
	Code       int
	Detail     string        // the API's own explanation, "" when it gave none
	RetryAfter time.Duration // zero when the answer named no time
	// renewable says that the credentials were refused, and are looked for elsewhere.
	renewable bool
}

// Error tells what was asked and what came back.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: %d %s", e.Method, e.Path, e.Code, http.StatusText(e.Code))
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Is makes a 404 answer an ErrNotFound.
func (e *StatusError) Is(target error) bool {
	return target == ErrNotFound && e.Code == http.StatusNotFound
}

// unreachableError is a transport failure of one call.
type unreachableError struct {
	method, path string
	err          error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("%s %s: %s", e.method, e.path, e.err)
}

func (e *unreachableError) Unwrap() []error { return []error{ErrUnreachable, e.err} }

// IsTransient reports whether the same call may succeed later with nobody
// changing anything: no answer at all, or one that blames the server or its load, or
// credentials that are read anew until the API takes them.
func IsTransient(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var status *StatusError
	if errors.As(err, &status) {
		return status.renewable || status.Code >= 500 || status.Code == http.StatusRequestTimeout || status.Code == http.StatusTooManyRequests
	}
	return errors.Is(err, ErrUnreachable)
}

// AccessError says which credential or setting keeps the API shut.
type AccessError struct {
	Subject string // "API key", "account", "workspace", "auth string" or "URL"
	Message string
	Hint    string
	Err     error // the answer it was concluded from, nil when there is none
}

// Error is the message; the hint is shown beside it.
func (e *AccessError) Error() string { return e.Message }

// Unwrap returns the answer that led to the diagnosis.
func (e *AccessError) Unwrap() error { return e.Err }
