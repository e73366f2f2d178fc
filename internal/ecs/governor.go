package ecs

import (
	"strings"
	"sync"

	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// quota is what one bucket grants.
type quota struct {
	api   string  // as metrics and messages name it
	rate  float64 // calls a second that may go on for ever
	burst float64 // calls at once, after a pause
	floor float64 // calls a second that throttling leaves
}

// quotas are those that AWS publishes for an account in a region, a little below:
// AWS counts when calls arrive, and a network may bunch them.
//
// ECS has them by category of API
// (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html,
// at once and a second): to change task definitions 20 and 1, to read them 50
// and 20, to change tasks 100 and 40, to read them 100 and 20. What shares a
// category there shares a bucket here, or has a part of it. On Fargate RunTask may
// be called 20 times a second, at once as well as on and on, and tasks launched
// 100 at once and 20 a second, on demand and on Spot each
// (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html).
// So RunTask is hardly let to burst: in no second are there more calls than AWS
// takes in one, and in no five seconds more than 100.
//
// EC2 takes 100 and 20 of its Describe calls
// (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html), which
// others in the account need more. CloudWatch Logs takes 10 GetLogEvents a second
// in the narrowest region
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html).
// SQS sets standard queues no limit that counts here; its bucket keeps a mistake
// from becoming a bill.
var quotas = map[string]quota{
	"RunTask":                      {api: "RunTask", rate: 19, burst: 3, floor: 0.25},
	onDemand:                       {api: onDemand, rate: 19.5, burst: 95, floor: 0.5},
	onSpot:                         {api: onSpot, rate: 19.5, burst: 95, floor: 0.5},
	"RegisterTaskDefinition":       taskDefinitions,
	"DeregisterTaskDefinition":     taskDefinitions,
	"DescribeTaskDefinition":       readDefinitions,
	"ListTaskDefinitions":          readDefinitions,
	"DescribeTasks":                {api: "DescribeTasks", rate: 14, burst: 60, floor: 1},
	"ListTasks":                    {api: "ListTasks", rate: 5, burst: 30, floor: 0.5},
	"StopTask":                     {api: "StopTask", rate: 20, burst: 40, floor: 0.5},
	"DescribeVpcs":                 networkCalls,
	"DescribeSubnets":              networkCalls,
	"GetLogEvents":                 {api: "GetLogEvents", rate: 9, burst: 9, floor: 0.5},
	"GetQueueUrl":                  queueCalls,
	"ReceiveMessage":               queueCalls,
	"DeleteMessageBatch":           queueCalls,
	"ChangeMessageVisibilityBatch": queueCalls,
}

var (
	taskDefinitions = quota{api: "RegisterTaskDefinition", rate: 0.97, burst: 19, floor: 0.2}
	readDefinitions = quota{api: "DescribeTaskDefinition", rate: 19, burst: 45, floor: 0.5}
	networkCalls    = quota{api: "EC2", rate: 10, burst: 20, floor: 0.5}
	queueCalls      = quota{api: "SQS", rate: 100, burst: 200, floor: 1}
)

// Launches on Fargate are counted beside the calls that make them.
const (
	onDemand = "Fargate launches"
	onSpot   = "Fargate Spot launches"
)

// governors holds calls back to what AWS grants each account in each region, so
// that a burst waits here instead of being throttled there.
type governors struct {
	metrics *callMetrics

	mu    sync.Mutex
	known map[string]*governor
}

// maxGovernors bounds what is remembered of accounts; above it all start anew.
const maxGovernors = 256

// governor are the buckets of one account in one region.
type governor struct {
	buckets map[string]*bucket // by api
}

func newGovernors(metrics *callMetrics) *governors {
	return &governors{metrics: metrics, known: map[string]*governor{}}
}

// of is the governor of an account, as far as it is known, in a region. All who
// call there share it.
func (g *governors) of(account, region string) *governor {
	key := account + " " + region
	g.mu.Lock()
	defer g.mu.Unlock()
	if known := g.known[key]; known != nil {
		return known
	}
	if len(g.known) >= maxGovernors {
		clear(g.known)
	}
	made := &governor{buckets: map[string]*bucket{}}
	for _, q := range quotas {
		if made.buckets[q.api] == nil {
			made.buckets[q.api] = newBucket(q, g.metrics)
		}
	}
	g.known[key] = made
	return made
}

// forCall are the buckets that a call takes from, the widest first: what is taken
// from it while the next one is waited for is the least loss.
func (g *governor) forCall(operation string, input any) []*bucket {
	q, known := quotas[operation]
	if !known {
		return nil
	}
	if run, ok := input.(*awsecs.RunTaskInput); ok {
		if launches := launchesOf(run); launches != "" {
			return []*bucket{g.buckets[launches], g.buckets[q.api]}
		}
	}
	return []*bucket{g.buckets[q.api]}
}

// launchesOf names the launches that a request counts among; "" when it is not for
// Fargate.
func launchesOf(run *awsecs.RunTaskInput) string {
	for _, item := range run.CapacityProviderStrategy {
		switch {
		case item.CapacityProvider == nil:
		case *item.CapacityProvider == "FARGATE_SPOT":
			return onSpot
		case strings.HasPrefix(*item.CapacityProvider, "FARGATE"):
			return onDemand
		}
	}
	if run.LaunchType == types.LaunchTypeFargate {
		return onDemand
	}
	return ""
}

// account tells credentials of different accounts apart, as far as that goes
// without a call: a role names its account, keys and profiles stand for one each,
// and the machine's own are the same for all who name nothing.
func (c credentials) account() string {
	switch {
	case c.Role != nil && c.Role.RoleArn != nil:
		if parts := strings.Split(*c.Role.RoleArn, ":"); len(parts) > 4 && parts[4] != "" {
			return c.EndpointURL + " account " + parts[4]
		}
		return c.EndpointURL + " role " + *c.Role.RoleArn
	case c.AccessKeyID != "":
		return c.EndpointURL + " key " + c.AccessKeyID
	case c.Profile != "":
		return c.EndpointURL + " profile " + c.Profile
	default:
		return c.EndpointURL + " machine"
	}
}
