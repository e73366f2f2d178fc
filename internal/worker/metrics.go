package worker

import (
	"time"

	"faber/internal/launch"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the worker's own. Failures are labelled by reason.
type metrics struct {
	rounds    *prometheus.CounterVec
	claims    *prometheus.CounterVec
	launches  *prometheus.CounterVec
	failures  prometheus.Counter
	reclaimed prometheus.Counter
	reports   *prometheus.CounterVec
	adopted   *prometheus.CounterVec
	panics    prometheus.Counter
	inWork    prometheus.Gauge
	leftovers prometheus.Gauge
	tracked   prometheus.Gauge
	late      prometheus.Histogram
	launched  prometheus.Histogram
}

// newMetrics registers with r; with nil the metrics count for nobody. An API that
// counts for itself has its metrics beside them.
func newMetrics(r prometheus.Registerer, api API) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "faber", Name: name, Help: help}, labels)
	}
	m := &metrics{
		rounds:    counter("loop_rounds_total", "Rounds of the worker's loops.", "loop", "result"),
		claims:    counter("claims_total", "Flow runs the worker tried to claim.", "result"),
		launches:  counter("launches_total", "Launches of claimed flow runs.", "result"),
		failures:  prometheus.NewCounter(prometheus.CounterOpts{Namespace: "faber", Name: "launch_failures_total", Help: "Claimed flow runs that were not launched, or whose infrastructure never began to run."}),
		reclaimed: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "faber", Name: "spot_interruptions_total", Help: "Infrastructure that ended because its Spot capacity was taken back."}),
		reports:   counter("infrastructure_ends_total", "Ends of infrastructure, by what was done about the flow run.", "outcome"),
		adopted:   counter("adoptions_total", "Flow runs taken over from an earlier worker.", "kind"),
		panics:    prometheus.NewCounter(prometheus.CounterOpts{Namespace: "faber", Name: "panics_total", Help: "Panics that the worker survived. Each is a mistake in faber."}),
		inWork:    prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "faber", Name: "flow_runs_in_work", Help: "Flow runs that hold a slot."}),
		tracked:   prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "faber", Name: "tracked_infrastructure", Help: "Launched infrastructure that has not ended."}),
		leftovers: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "faber", Name: "leftover_infrastructure", Help: "Live infrastructure of faber's whose flow run is over or deleted."}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "faber", Name: "claim_delay_seconds", Help: "Time from a flow run's scheduled start to its claim.",
			Buckets: []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
		}),
		launched: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "faber", Name: "launch_duration_seconds", Help: "Time from claim to launched infrastructure.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300},
		}),
	}
	if r != nil {
		if c, ok := api.(interface{ Collectors() []prometheus.Collector }); ok {
			r.MustRegister(c.Collectors()...)
		}
		r.MustRegister(m.rounds, m.claims, m.launches, m.failures, m.reclaimed, m.reports, m.adopted, m.panics, m.inWork, m.tracked, m.leftovers, m.late, m.launched)
	}
	return m
}

func (m *metrics) round(loop string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.rounds.WithLabelValues(loop, result).Inc()
}

// ended counts an end of infrastructure that says something about the launching.
func (m *metrics) ended(kind launch.ExitKind) {
	switch kind {
	case launch.ExitStartFailure:
		m.failures.Inc()
	case launch.ExitInterrupted:
		m.reclaimed.Inc()
	default:
	}
}

func (m *metrics) claimed(expected *time.Time) {
	m.claims.WithLabelValues("accepted").Inc()
	if expected != nil {
		m.late.Observe(max(0, time.Since(*expected).Seconds()))
	}
}
