package ecs

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/prometheus/client_golang/prometheus"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

// counts reads a counter of calls, by api and result.
func counts(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "faber_aws_calls_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			var names []string
			for _, label := range metric.GetLabel() {
				names = append(names, label.GetValue())
			}
			out[strings.Join(names, " ")] = metric.GetCounter().GetValue()
		}
	}
	return out
}

func TestEveryTryTakesATurn(t *testing.T) {
	f := newFakeAWS(t)
	f.Fail("RunTask",
		fakeaws.Fault{Status: 500, Code: "ServerException", Message: "x"},
		fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded"},
		fakeaws.Fault{Code: "InvalidParameterException", Message: "Error retrieving subnet information for [subnet-a]: Rate exceeded (ErrorCode: RequestLimitExceeded)"})
	registry := prometheus.NewRegistry()
	l := newLauncher(t, f, func(o *Options) { o.Metrics = registry })
	mustLaunch(t, l, testJob())
	got := counts(t, registry)
	if got["RunTask ok"] != 1 || got["RunTask failed"] != 1 || got["RunTask throttled"] != 2 || got["RegisterTaskDefinition ok"] != 1 {
		t.Errorf("counted %v", got)
	}
	var first []byte
	for _, body := range f.Bodies("RunTask") {
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = encoded
		}
		if !bytes.Equal(first, encoded) {
			t.Errorf("a repeated call differs:\n%s\n%s", first, encoded)
		}
	}
	if len(f.Tasks()) != 1 {
		t.Errorf("%d tasks", len(f.Tasks()))
	}
	b := l.clients.govern.of(credentials{}.account(), fakeaws.Region).buckets["RunTask"]
	if b.cuts != 2 || b.rate >= b.quota.rate*cutTo {
		t.Errorf("throttled twice, the rate was lowered %d times, to %g", b.cuts, b.rate)
	}
}

// A launch that cannot have its turn in time says so, and costs no call.
func TestLaunchTellsWhatItWaitsFor(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f, func(o *Options) { o.patience = 50 * time.Millisecond })
	b := l.clients.govern.of(credentials{}.account(), fakeaws.Region).buckets["RunTask"]
	b.tokens, b.rate = 0, 0.001
	failure := mustFail(t, l, testJob(), launch.FailureRetry, "AWS limits RunTask, to 0.001 a second as it is now; waiting for a turn, for ")
	if failure.Hint == "" || len(f.Bodies("RunTask")) != 0 {
		t.Errorf("hint %q after %d calls", failure.Hint, len(f.Bodies("RunTask")))
	}
	launches := l.clients.govern.of(credentials{}.account(), fakeaws.Region).buckets[onDemand]
	if launches.refill(); launches.tokens < launches.quota.burst-enough {
		t.Errorf("a launch that was not made was counted: %g of %g left", launches.tokens, launches.quota.burst)
	}
	b.mu.Lock()
	b.rate, b.tokens = 19, 1
	b.mu.Unlock()
	mustLaunch(t, l, testJob())
}

func TestThrottlingThatDoesNotEnd(t *testing.T) {
	f := newFakeAWS(t)
	f.Fail("RunTask", fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded", Times: -1})
	l := newLauncher(t, f, func(o *Options) { o.patience = 2 * time.Second })
	_, err := l.Launch(t.Context(), testJob())
	var failure *launch.Failure
	if !errors.As(err, &failure) || failure.Kind != launch.FailureRetry {
		t.Fatalf("launch gave %v", err)
	}
	if calls := len(f.Bodies("RunTask")); calls < 2 || calls > 12 {
		t.Errorf("%d calls of RunTask", calls)
	}
	f.Heal("RunTask")
	f.Fail("DescribeTasks", fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded", Times: -1})
	handle := launch.Handle{PID: "default::arn:aws:ecs:eu-central-1:123456789012:task/default/00000000000000000000000000000000"}
	if _, err := l.Describe(t.Context(), []launch.Handle{handle}); err == nil || len(f.Calls("DescribeTasks")) != throttledTries {
		t.Errorf("%v after %d calls", err, len(f.Calls("DescribeTasks")))
	}
}

func TestWhoSharesAGovernor(t *testing.T) {
	g := newGovernors(newCallMetrics(nil))
	role := func(arn string) credentials { return credentials{Role: &sts.AssumeRoleInput{RoleArn: aws.String(arn)}} }
	one := g.of(role("arn:aws:iam::111111111111:role/a").account(), "eu-central-1")
	if g.of(role("arn:aws:iam::111111111111:role/b").account(), "eu-central-1") != one {
		t.Error("two roles of one account have two governors")
	}
	withParameters := credentials{AccessKeyID: "k", Client: clientConfig{Attempts: 7}}
	if g.of(withParameters.account(), "r") != g.of(credentials{AccessKeyID: "k", SessionToken: "new"}.account(), "r") {
		t.Error("one key has two governors")
	}
	for _, other := range []*governor{
		g.of(role("arn:aws:iam::111111111111:role/a").account(), "us-east-1"), g.of(role("arn:aws:iam::222222222222:role/a").account(), "eu-central-1"),
		g.of(role("nonsense").account(), "eu-central-1"), g.of(credentials{Profile: "p"}.account(), "eu-central-1"), g.of(credentials{}.account(), "eu-central-1"),
	} {
		if other == one {
			t.Error("different accounts or regions share a governor")
		}
	}
}

func TestLaunchesOnFargateAreCounted(t *testing.T) {
	strategy := func(name string) []types.CapacityProviderStrategyItem {
		return []types.CapacityProviderStrategyItem{{CapacityProvider: aws.String(name)}}
	}
	g := newGovernors(newCallMetrics(nil)).of("", "")
	for _, test := range []struct {
		input *awsecs.RunTaskInput
		want  []string
	}{
		{&awsecs.RunTaskInput{LaunchType: types.LaunchTypeFargate}, []string{onDemand, "RunTask"}},
		{&awsecs.RunTaskInput{CapacityProviderStrategy: strategy("FARGATE")}, []string{onDemand, "RunTask"}},
		{&awsecs.RunTaskInput{CapacityProviderStrategy: strategy("FARGATE_SPOT")}, []string{onSpot, "RunTask"}},
		{&awsecs.RunTaskInput{CapacityProviderStrategy: strategy("instances")}, []string{"RunTask"}},
		{&awsecs.RunTaskInput{LaunchType: types.LaunchTypeEc2}, []string{"RunTask"}},
	} {
		var got []string
		for _, b := range g.forCall("RunTask", test.input) {
			got = append(got, b.quota.api)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v takes from %v, want %v", test.input, got, test.want)
		}
	}
	if got := g.forCall("AssumeRole", nil); got != nil {
		t.Errorf("AssumeRole takes from %v", got)
	}
}
