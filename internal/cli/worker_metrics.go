package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"faber/internal/cloudwatch"
	"faber/internal/worker"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/spf13/pflag"
)

// metricsFlags say under which names CloudWatch gets its metrics, and how.
type metricsFlags struct {
	stack     string
	transport string
	namespace string
}

func (f *metricsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.stack, "stack", "", "`name` of the stack, a dimension of every CloudWatch metric")
	flags.StringVar(&f.namespace, "metrics-namespace", cloudwatch.DefaultNamespace, "`namespace` of the CloudWatch metrics")
}

// namespacePattern is what CloudWatch takes (API reference, PutMetricData), without
// what is AWS's own.
var namespacePattern = regexp.MustCompile(`^[0-9A-Za-z._/#:-]{1,255}$`)

func (f *metricsFlags) check() error {
	switch {
	case !slices.Contains([]string{"emf", "put_metric_data", "none"}, f.transport):
		return usageError("use emf, put_metric_data or none", "unknown --metrics-transport %q", f.transport)
	case !namespacePattern.MatchString(f.namespace) || strings.HasPrefix(f.namespace, "AWS/") || strings.HasPrefix(f.namespace, ":"):
		return usageError("use 1 to 255 letters, digits and . - _ / # :, with neither AWS/ nor a colon at the head", "--metrics-namespace %q is none of CloudWatch's", f.namespace)
	case f.transport != "none" && strings.TrimSpace(f.stack) == "":
		return usageError("name the stack with --stack or FABER_STACK: it tells its metrics from those of others", "CloudWatch metrics need the name of a stack")
	}
	return nil
}

func isObject(text string) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal([]byte(text), &object) == nil && object != nil
}

// poolDefaults are the defaults that the pool is given, nil when it is left alone.
func (s *workerStart) poolDefaults() json.RawMessage {
	if s.flags.poolDefaults == "" {
		return nil
	}
	return json.RawMessage(s.flags.poolDefaults)
}

// newReporter makes what publishes the worker's metrics, nil when nothing shall.
func (s *workerStart) newReporter(ctx context.Context, holder *workerHolder) (*cloudwatch.Reporter, error) {
	var publisher cloudwatch.Publisher
	switch s.flags.metrics.transport {
	case "emf":
		publisher = &cloudwatch.EMF{Out: s.std.Out, Namespace: s.flags.metrics.namespace, Stack: s.flags.metrics.stack, WorkPool: s.flags.pool}
	case "put_metric_data":
		var err error
		if publisher, err = newPutMetricData(ctx, s.flags.metrics, s.flags.pool); err != nil {
			return nil, err
		}
	default:
		return nil, nil
	}
	return cloudwatch.NewReporter(cloudwatch.Options{
		Publisher: publisher, Pool: s.flags.pool, API: s.client, Metrics: s.registry, Logger: s.log,
		Polled: func() time.Time {
			if w := holder.get(); w != nil {
				return w.Polled()
			}
			return time.Time{}
		},
	}), nil
}

func newPutMetricData(ctx context.Context, f metricsFlags, pool string) (*cloudwatch.PutMetricData, error) {
	machine, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, &UserError{Message: fmt.Sprintf("read the AWS configuration: %s", err), Hint: "check AWS_PROFILE, AWS_CONFIG_FILE and the files under ~/.aws", Code: exitUsage, Err: err}
	}
	return &cloudwatch.PutMetricData{Client: cloudwatch.NewClient(machine), Namespace: f.namespace, Stack: f.stack, WorkPool: pool}, nil
}

// reportMetrics has the reporter work beside the worker with these options. It returns
// what publishes the rest in the end.
func (s *workerStart) reportMetrics(ctx context.Context, options *worker.Options) (flush func(context.Context)) {
	if s.reporter == nil {
		return func(context.Context) {}
	}
	options.OnLaunch = s.reporter.Launched
	// Not among what is waited for: it may be stuck in a write that nobody reads.
	go s.surviving("metrics for CloudWatch", func() { s.reporter.Run(ctx) })
	return s.reporter.Flush
}
