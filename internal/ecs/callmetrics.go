package ecs

import "github.com/prometheus/client_golang/prometheus"

// callMetrics count the calls to AWS and those that wait for a turn. Their labels
// are names of APIs, which the program knows beforehand.
type callMetrics struct {
	calls   *prometheus.CounterVec
	waiting *prometheus.GaugeVec
	waited  *prometheus.HistogramVec
}

// otherCalls stands for calls that nothing limits here.
const otherCalls = "other"

// newCallMetrics registers with r; with nil the metrics count for nobody.
func newCallMetrics(r prometheus.Registerer) *callMetrics {
	m := &callMetrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "faber", Name: "aws_calls_total", Help: "Calls to AWS, every try of them, by how they went.",
		}, []string{"api", "result"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "faber", Name: "aws_calls_waiting", Help: "Calls to AWS that wait for a turn within its limits.",
		}, []string{"api"}),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "faber", Name: "aws_call_wait_seconds", Help: "Time that calls to AWS waited for their turn.",
			Buckets: []float64{0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20, 60, 300},
		}, []string{"api"}),
	}
	for operation, q := range quotas {
		m.waiting.WithLabelValues(q.api)
		for _, result := range []string{"ok", "throttled", "failed"} {
			if operation != onDemand && operation != onSpot {
				m.calls.WithLabelValues(operation, result)
			}
		}
	}
	if r != nil {
		r.MustRegister(m.calls, m.waiting, m.waited)
	}
	return m
}

// made counts one try of a call.
func (m *callMetrics) made(operation string, err error, throttled bool) {
	if _, known := quotas[operation]; !known {
		operation = otherCalls
	}
	result := "ok"
	switch {
	case throttled:
		result = "throttled"
	case err != nil:
		result = "failed"
	}
	m.calls.WithLabelValues(operation, result).Inc()
}
