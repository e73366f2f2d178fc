package prefect

import (
	"sync"
	"time"
)

// csrf is the client's side of the server's CSRF protection.
type csrf struct {
	mu      sync.Mutex
	enabled bool
	client  string
	token   string
	expires time.Time
}
