package worker

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// draw is the source of all chance in the worker's intervals. The model test puts a
// seeded one in its place.
var draw = rand.Float64

// jitterFactor is what Prefect's worker spreads its loops by.
const jitterFactor = 0.3

// jittered draws an interval around mean from a clamped exponential
// distribution, as Prefect's worker does: never below 0.752 of the mean nor
// above 1.3 of it, so that workers started together do not stay together.
func jittered(mean time.Duration) time.Duration {
	return clampedExponential(mean, jitterFactor, draw())
}

// longest is the longest interval that jittered draws.
func longest(mean time.Duration) time.Duration {
	return time.Duration(float64(mean) * (1 + jitterFactor))
}

func clampedExponential(mean time.Duration, factor, u float64) time.Duration {
	m := float64(mean)
	upper := m * (1 + factor)
	p := math.Exp2(1 + factor)
	lower := m * math.Log2(p/(p-1))
	cdf := func(x float64) float64 { return 1 - math.Exp(-x/m) }
	q := cdf(lower) + u*(cdf(upper)-cdf(lower))
	return time.Duration(min(upper, max(lower, -m*math.Log(1-q))))
}

// backoff grows from first to limit with the number of failures, jittered.
func backoff(failures int, first, limit time.Duration) time.Duration {
	d := first << min(max(failures-1, 0), 20)
	if d > limit || d <= 0 {
		d = limit
	}
	return jittered(d)
}

// pause waits, or reports that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
