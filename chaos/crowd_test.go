//go:build chaos

package chaos

import (
	"testing"

	"golang.org/x/sync/semaphore"
)

// crowdSize is how many flow runs there may be in all scenarios that are played at
// once. A run takes about 1.5 s of a processor's time of its Prefect server; ten
// scenarios at once that each lose a worker with twenty runs have a server of two
// processors answer after ten seconds, and what is late then is the server.
const crowdSize = 100

var crowd = semaphore.NewWeighted(crowdSize)

// joinCrowd waits until there is room for so many runs.
func joinCrowd(t *testing.T, runs int) (leave func()) {
	t.Helper()
	n := int64(min(runs, crowdSize))
	if err := crowd.Acquire(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return func() { crowd.Release(n) }
}
