package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit codes of faber. They are part of the interface: scripts branch on them.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitFindings     = 3 // finished, and there is something to look at
	exitUnauthorised = 4
	exitInterrupted  = 130
)

// UserError is an error as the user sees it: what happened and what to do next.
type UserError struct {
	Message string
	Hint    string // "" when there is nothing to add
	Code    int    // exit code; 0 means 1
	Err     error  // cause, for errors.Is; may be nil
}

// Error returns the message without the hint.
func (e *UserError) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *UserError) Unwrap() error { return e.Err }

// usageError is a UserError for a command line that cannot be understood.
func usageError(hint, format string, args ...any) *UserError {
	return &UserError{Message: fmt.Sprintf(format, args...), Hint: hint, Code: exitUsage}
}

// silentExit ends faber with an exit code and says nothing: somebody else did.
type silentExit struct{ code int }

func (e *silentExit) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// hinted is met by the errors of other packages that carry a hint of their own.
type hinted interface{ UserHint() string }

// report prints an error once, in the one form that faber's errors have, and
// returns the exit code that goes with it.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "interrupted")
		return exitInterrupted
	}
	if strings.HasPrefix(err.Error(), "unknown command ") {
		// cobra's own, and plain text.
		err = usageError("run 'faber --help' for the commands it knows", "%s", firstLine(err.Error()))
	}
	var silent *silentExit
	if errors.As(err, &silent) {
		return silent.code
	}
	code, hint := exitFailed, ""
	var withHint hinted
	if errors.As(err, &withHint) {
		hint = withHint.UserHint()
	}
	var user *UserError
	if errors.As(err, &user) {
		if user.Code != 0 {
			code = user.Code
		}
		if user.Hint != "" {
			hint = user.Hint
		}
	}
	fmt.Fprintf(w, "error: %s\n", err)
	if hint != "" {
		fmt.Fprintf(w, "hint:  %s\n", hint)
	}
	return code
}
