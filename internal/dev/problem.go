package dev

// Problem is an error of the stack as its user should read it: what happened,
// and what to do next.
type Problem struct {
	Message string
	Hint    string
	Err     error // cause, may be nil
}

// Error returns the message, with the cause when there is one.
func (p *Problem) Error() string {
	if p.Err != nil {
		return p.Message + ": " + p.Err.Error()
	}
	return p.Message
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// UserHint says what to do next.
func (p *Problem) UserHint() string { return p.Hint }
