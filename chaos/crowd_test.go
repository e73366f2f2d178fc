//go:build chaos

package chaos

import (
	"sync"
	"testing"

	"golang.org/x/sync/semaphore"
)

// crowdOf is how many flow runs there may be in all scenarios that are played at
// once. One takes about 1.5 s of a processor's time of its Prefect server; ten
// scenarios at once that each lose a worker with twenty runs have a server of two
// processors answer after ten seconds, and what is late then is the server. Other
// workers' runs mostly lie there until the time is over.
func crowdOf(worker underTest) int64 {
	if worker == faber {
		return 100
	}
	return 200
}

var crowd = sync.OnceValue(func() *semaphore.Weighted { return semaphore.NewWeighted(crowdOf(suite.worker)) })

// joinCrowd waits until there is room for so many runs.
func joinCrowd(t *testing.T, runs int) (leave func()) {
	t.Helper()
	n := min(int64(runs), crowdOf(suite.worker))
	if err := crowd().Acquire(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return func() { crowd().Release(n) }
}
