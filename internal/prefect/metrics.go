package prefect

import "github.com/prometheus/client_golang/prometheus"

// metrics are those of Prefect's own client, under its names: dashboards that
// watch a Prefect worker find them again.
type metrics struct {
	emitted     *prometheus.CounterVec
	observed    *prometheus.CounterVec
	connections *prometheus.CounterVec
	checkpoints *prometheus.CounterVec
}

func newMetrics() metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "prefect", Name: name, Help: help}, labels)
	}
	return metrics{
		emitted:     counter("events_emitted_total", "Events sent to the Prefect API.", "client"),
		observed:    counter("events_observed_total", "Events received from the Prefect API.", "client"),
		connections: counter("event_websocket_connections_total", "Connections made to event streams.", "client", "direction", "connection"),
		checkpoints: counter("event_websocket_checkpoints_total", "Times that sent events were confirmed.", "client"),
	}
}

// Collectors are the client's metrics, for a registry. Their names are there
// from the first, as Prefect's are: a dashboard is empty, not broken.
func (c *Client) Collectors() []prometheus.Collector {
	c.metrics.emitted.WithLabelValues(c.senderName())
	c.metrics.checkpoints.WithLabelValues(c.senderName())
	c.metrics.observed.WithLabelValues(c.subscriberName())
	c.metrics.connections.WithLabelValues(c.subscriberName(), "out", "initial")
	return []prometheus.Collector{c.metrics.emitted, c.metrics.observed, c.metrics.connections, c.metrics.checkpoints}
}

// senderName and subscriberName are what Prefect calls what sends events and
// what receives them.
func (c *Client) senderName() string {
	if c.IsCloud() {
		return "PrefectCloudEventsClient"
	}
	return "PrefectEventsClient"
}

func (c *Client) subscriberName() string {
	if c.IsCloud() {
		return "PrefectCloudEventSubscriber"
	}
	return "PrefectEventSubscriber"
}
