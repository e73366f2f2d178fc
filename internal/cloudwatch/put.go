package cloudwatch

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/schemas"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
)

// mostPutValues is how many different values a metric may have in one call, each with
// a count (API reference, PutMetricData: up to 150).
const mostPutValues = 150

// Client is the part of the SDK's client that is used.
type Client interface {
	PutMetricData(ctx context.Context, in *sdk.PutMetricDataInput, options ...func(*sdk.Options)) (*sdk.PutMetricDataOutput, error)
}

// NewClient makes a client. At an endpoint of one's own, an emulator most likely, it
// speaks AWS JSON, not compressed: the SDK's own choice, CBOR in gzip, is what emulators
// do not know. CloudWatch knows both (its model in botocore lists smithy-rpc-v2-cbor,
// json and query).
func NewClient(config aws.Config) *sdk.Client {
	return sdk.NewFromConfig(config, func(o *sdk.Options) {
		if o.BaseEndpoint != nil {
			o.DisableRequestCompression = true
			o.Protocol = awsjson.New10(schemas.GraniteServiceVersion20100801)
		}
	})
}

// PutMetricData publishes with one call.
type PutMetricData struct {
	Client    Client
	Namespace string
	Stack     string
	WorkPool  string
}

// String is the transport's name.
func (*PutMetricData) String() string { return "put_metric_data" }

// Publish makes the call. What is published is small: ten metrics, 150 values each at
// the very most, and 1 MB is what a call may hold.
func (m *PutMetricData) Publish(ctx context.Context, p Point) error {
	var data []types.MetricDatum
	for _, datum := range p.Data {
		if len(datum.Values) == 0 {
			continue
		}
		out := types.MetricDatum{
			MetricName: aws.String(datum.Name), Unit: types.StandardUnit(unitOf(datum.Name)), Timestamp: aws.Time(p.At),
			Dimensions: []types.Dimension{
				{Name: aws.String(DimensionStack), Value: aws.String(dimensionValue(m.Stack))},
				{Name: aws.String(DimensionWorkPool), Value: aws.String(dimensionValue(m.WorkPool))},
			},
		}
		if len(datum.Values) == 1 {
			out.Value = aws.Float64(datum.Values[0])
		} else {
			out.Values, out.Counts = condense(datum.Values, mostPutValues)
		}
		data = append(data, out)
	}
	if len(data) == 0 {
		return nil
	}
	if _, err := m.Client.PutMetricData(ctx, &sdk.PutMetricDataInput{Namespace: aws.String(m.Namespace), MetricData: data}); err != nil {
		return fmt.Errorf("put metric data: %w", err)
	}
	return nil
}
