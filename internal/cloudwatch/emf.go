package cloudwatch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// EMF publishes by writing: one line of JSON in the embedded metric format, out of
// which CloudWatch Logs makes metrics when it gets the line as a log event of its own.
// Nothing may stand before or behind it on its line.
//
// Specification: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html.
// That PutLogEvents needs no header for it any more is said beside it, under
// CloudWatch_Embedded_Metric_Format_Generation_PutLogEvents.html.
type EMF struct {
	Out       io.Writer
	Namespace string
	Stack     string
	WorkPool  string
}

// mostEMFValues is how many values a metric may have in one document, which has no
// counts: "The array MUST NOT contain more than 100 elements".
const mostEMFValues = 100

// String is the transport's name.
func (*EMF) String() string { return "emf" }

// Publish writes the line, in one piece.
func (e *EMF) Publish(_ context.Context, p Point) error {
	type metric struct{ Name, Unit string }
	type directive struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []metric
	}
	d := directive{Namespace: e.Namespace, Dimensions: [][]string{{DimensionStack, DimensionWorkPool}}}
	members := []any{DimensionStack, dimensionValue(e.Stack), DimensionWorkPool, dimensionValue(e.WorkPool)}
	for _, datum := range p.Data {
		if len(datum.Values) == 0 {
			continue
		}
		d.Metrics = append(d.Metrics, metric{datum.Name, unitOf(datum.Name)})
		members = append(members, datum.Name, emfValue(datum.Values))
	}
	if len(d.Metrics) == 0 {
		return nil
	}
	line := &bytes.Buffer{}
	line.WriteByte('{')
	members = append([]any{"_aws", map[string]any{"Timestamp": p.At.UnixMilli(), "CloudWatchMetrics": []directive{d}}}, members...)
	for i := 0; i < len(members); i += 2 {
		if i > 0 {
			line.WriteByte(',')
		}
		value, err := json.Marshal(members[i+1])
		if err != nil {
			return fmt.Errorf("encode %s: %w", members[i], err)
		}
		fmt.Fprintf(line, "%q:%s", members[i], value)
	}
	line.WriteString("}\n")
	if _, err := e.Out.Write(line.Bytes()); err != nil {
		return fmt.Errorf("write the metrics: %w", err)
	}
	return nil
}

// emfValue is a number, or a list of those. A list that is too long is thinned out,
// which leaves its percentiles and not its count.
func emfValue(values []float64) any {
	if len(values) == 1 {
		return values[0]
	}
	if len(values) > mostEMFValues {
		values = thin(values, mostEMFValues)
	}
	return values
}
