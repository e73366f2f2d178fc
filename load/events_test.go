//go:build load

package load

import (
	"math/rand/v2"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

// A thousand runs of a minute each are due over five minutes. Events get lost, come
// twice, late and in another order, and half of all descriptions are throttled.
func TestBadPost(t *testing.T) {
	const (
		runs  = 1000
		over  = 5 * time.Minute
		start = 5 * time.Second // longest pause between two sweeps of its kind …
		run   = 8 * time.Second
		gap   = 3 * time.Second
		swift = 0.75 // … and the shortest, as part of it
	)
	s := newStand(t)
	s.aws.PublishedQuotas()
	s.engine.life, s.engine.crashes = time.Minute, 0.05
	s.engine.post = &post{aws: s.aws, drop: 0.3, double: 0.1, belate: 0.05}
	s.aws.Fail("DescribeTasks", fakeaws.Fault{
		Code: "ThrottlingException", Message: "Rate exceeded", Times: -1,
		When: func(fakeaws.Call) bool { return rand.IntN(2) == 0 },
	})
	s.schedule(runs, func(i int) time.Duration { return over * time.Duration(i) / runs })
	s.work(12 * time.Minute)
	took := time.Since(s.began)

	o, describes := s.outcome(), s.aws.Calls("DescribeTasks")
	successful := len(describes) - refused(describes)
	sweeps := 0
	for _, loop := range []string{"starting sweep", "running sweep", "early sweep"} {
		sweeps += int(s.counted("faber_loop_rounds_total", loop))
	}
	each := (s.sweeps.widest + 99) / 100
	most := int(took.Seconds() * (1/(swift*start.Seconds()) + 1/(swift*run.Seconds()) + 1/gap.Seconds()))
	var figures table
	p := s.engine.post
	figures.add("runs", "%d, at most %d at once", runs, s.sweeps.widest)
	figures.add("completed / crashed, of them rightly / with two tasks", "%d / %d, %d / %d", o.completed, o.crashed, len(s.engine.crashed), o.doubled)
	figures.add("all over after", "%.1f s", took.Seconds())
	figures.add("events dropped, doubled, late, of all", "%d, %d, %d, %d", p.dropped, p.doubled, p.belated, p.of)
	figures.add("sweeps, of at most", "%d, %d", sweeps, most)
	figures.add("DescribeTasks, throttled, successful", "%d, %d, %d", len(describes), refused(describes), successful)
	figures.add("calls that the sweeps need, a hundred tasks to each", "%d", s.sweeps.calls)
	figures.add("sweeps × ⌈live/100⌉", "%d", sweeps*each)
	figures.add("calls of RunTask, throttled", "%d, %d", len(s.aws.Calls("RunTask")), refused(s.aws.Calls("RunTask")))
	figures.print(t)

	if o.completed+o.crashed != runs || o.doubled != 0 || o.crashed != len(s.engine.crashed) {
		t.Errorf("of %d runs: %+v, of which %d crashed", runs, o, len(s.engine.crashed))
	}
	for _, run := range s.prefect.Runs() {
		if crashed := run.StateType == "CRASHED"; crashed != s.engine.didCrash(run.ID) {
			t.Errorf("run %s ended as %s; its engine crashed: %t", run.Name, run.StateName, s.engine.didCrash(run.ID))
		}
	}
	if limit := float64(sweeps*each) * 1.05; float64(successful) > limit || float64(successful) > float64(s.sweeps.calls)*1.05 {
		t.Errorf("%d descriptions succeeded; %d sweeps need %d, at most %.0f", successful, sweeps, s.sweeps.calls, limit)
	}
	if sweeps > most {
		t.Errorf("%d sweeps within %s, want at most %d", sweeps, took, most)
	}
	if late := s.polls.longest(); late > 3*query {
		t.Errorf("a poll came %s after the one before", late)
	}
}
