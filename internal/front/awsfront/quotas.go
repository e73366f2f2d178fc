package awsfront

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"faber/internal/front"
)

// Quota is a token bucket: so many calls at once, and so many more a second. A
// burst of 0 is no quota at all.
type Quota struct {
	Burst float64 `json:"burst"`
	Rate  float64 `json:"rate"`
}

// Quotas are the quotas of an account by their names in Published.
type Quotas map[string]Quota

// Names of quotas.
const (
	QuotaRunTask      = "RunTask"
	QuotaLaunches     = "launches"
	QuotaSpotLaunches = "spot-launches"
	QuotaRegister     = "RegisterTaskDefinition"
	QuotaStopTask     = "StopTask"
	QuotaTaskReads    = "task-reads"
	QuotaLogEvents    = "GetLogEvents"
)

// Published are the quotas that AWS grants every account and publishes:
//
//   - RunTask on Fargate, and the launches it asks for: "AWS Fargate throttling
//     quotas" in the ECS developer guide (20 and 20/s; 100 and 20/s, Spot apart);
//   - RegisterTaskDefinition (20 and 1/s), DescribeTasks and ListTasks together
//     among the cluster resource read actions (100 and 20/s): "Request throttling
//     for the Amazon ECS API" in the API reference.
//
// StopTask (100 and 40/s) and GetLogEvents (25/s) are assumed, in the size of what
// is published for their like: no page with their numbers could be confirmed.
func Published() Quotas {
	return Quotas{
		QuotaRunTask:      {Burst: 20, Rate: 20},
		QuotaLaunches:     {Burst: 100, Rate: 20},
		QuotaSpotLaunches: {Burst: 100, Rate: 20},
		QuotaRegister:     {Burst: 20, Rate: 1},
		QuotaStopTask:     {Burst: 100, Rate: 40},
		QuotaTaskReads:    {Burst: 100, Rate: 20},
		QuotaLogEvents:    {Burst: 25, Rate: 25},
	}
}

// Check reports a quota that there is not, or that cannot be.
func (q Quotas) Check() error {
	known := Published()
	for name, quota := range q {
		if _, ok := known[name]; !ok {
			return fmt.Errorf("there is no quota %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if quota.Burst < 0 || quota.Rate < 0 {
			return fmt.Errorf("quota %s: burst and rate cannot be negative", name)
		}
	}
	return nil
}

// SetQuotas holds callers to these quotas from now on, each bucket full. Nil ends
// that.
func (f *Front) SetQuotas(q Quotas) { f.quotas.set(q) }

// Quotas are those in force, nil when none are.
func (f *Front) Quotas() Quotas {
	f.quotas.mu.Lock()
	defer f.quotas.mu.Unlock()
	return maps.Clone(f.quotas.limits)
}

// quotas are the buckets of the account, and the families under registration.
type quotas struct {
	mu          sync.Mutex
	now         func() time.Time
	limits      Quotas
	buckets     map[string]*bucket
	registering map[string]bool
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newQuotas(limits Quotas, now func() time.Time) *quotas {
	q := &quotas{now: now}
	q.set(limits)
	return q
}

func (q *quotas) set(limits Quotas) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limits, q.buckets, q.registering = maps.Clone(limits), map[string]*bucket{}, map[string]bool{}
}

// take takes tokens out of a bucket, all or none.
func (q *quotas) take(name string, n float64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	limit, ok := q.limits[name]
	if !ok || limit.Burst == 0 || n == 0 {
		return true
	}
	now := q.now()
	b := q.buckets[name]
	if b == nil {
		b = &bucket{tokens: limit.Burst, at: now}
		q.buckets[name] = b
	}
	b.tokens = math.Min(limit.Burst, b.tokens+limit.Rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// admit lets a call in, or names the quota that it exceeds.
func (q *quotas) admit(op front.Op) string {
	name := quotaOf(op)
	if name == "" || q.take(name, 1) {
		return ""
	}
	return "quota " + name
}

func quotaOf(op front.Op) string {
	switch op {
	case front.Op{Service: "ecs", Operation: "RunTask"}:
		return QuotaRunTask
	case front.Op{Service: "ecs", Operation: "RegisterTaskDefinition"}:
		return QuotaRegister
	case front.Op{Service: "ecs", Operation: "StopTask"}:
		return QuotaStopTask
	case front.Op{Service: "ecs", Operation: "DescribeTasks"}, front.Op{Service: "ecs", Operation: "ListTasks"}:
		return QuotaTaskReads
	case front.Op{Service: "logs", Operation: "GetLogEvents"}:
		return QuotaLogEvents
	default:
		return ""
	}
}

// launches are the tasks that a RunTask asks for.
type launches struct {
	count int
	spot  bool
}

func launchesOf(body []byte) launches {
	var in struct {
		Count    *int `json:"count"`
		Strategy []struct {
			Provider string `json:"capacityProvider"`
		} `json:"capacityProviderStrategy"`
	}
	l := launches{count: 1}
	if json.Unmarshal(body, &in) != nil {
		return l
	}
	if in.Count != nil {
		l.count = *in.Count
	}
	l.spot = len(in.Strategy) > 0 && in.Strategy[0].Provider == "FARGATE_SPOT"
	return l
}

// launch lets tasks be launched, or names the quota that they exceed.
func (q *quotas) launch(l launches) string {
	name := QuotaLaunches
	if l.spot {
		name = QuotaSpotLaunches
	}
	if q.take(name, float64(l.count)) {
		return ""
	}
	return "quota " + name
}

// registerTaskDefinition refuses a registration while another one of the family
// is under way, when quotas are in force.
func (f *Front) registerTaskDefinition(x *exchange) (*answer, error) {
	var in struct {
		Family string `json:"family"`
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	family := x.scope.accessKey + " " + x.scope.region + " " + in.Family
	if !f.quotas.begin(family) {
		x.entry.SetRefusedBy("quota registrations at once")
		return nil, &refusal{code: "ClientException", message: "Too many concurrent attempts to create a new revision of the specified family."}
	}
	defer f.quotas.done(family)
	return x.forward()
}

func (q *quotas) begin(family string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.limits == nil {
		return true
	}
	if q.registering[family] {
		return false
	}
	q.registering[family] = true
	return true
}

func (q *quotas) done(family string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.registering, family)
}
