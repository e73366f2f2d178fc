// Package infra drives the Terraform module: it finds a Terraform that is new
// enough, lays the module's files out, and plans, applies and destroys in one
// working directory, which it holds for itself meanwhile.
//
// Credentials reach Terraform in a file that only its owner may read and that
// is gone when the command is; they are never an argument and never part of an
// environment that a child inherits.
package infra

// Problem is an error as the user should read it: what happened, and what to do
// next.
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
