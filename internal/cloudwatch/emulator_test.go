package cloudwatch

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"faber/internal/fake/emulator"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// emulatorPatience is for a machine that has other things to do, too.
const emulatorPatience = 2 * time.Minute

// python is that which FABER_TEST_MINISTACK names, and has both emulators.
func python(t *testing.T) string {
	t.Helper()
	python := os.Getenv("FABER_TEST_MINISTACK")
	if python == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("FABER_TEST_MINISTACK is not set")
		}
		t.Skip("SKIP FABER_TEST_MINISTACK is not set")
	}
	return python
}

// TestPutMetricDataArrives publishes to both emulators and asks them what they have.
func TestPutMetricDataArrives(t *testing.T) {
	for name, start := range map[string]func(testing.TB, string, time.Duration) *url.URL{"moto": emulator.Moto, "ministack": emulator.Ministack} {
		t.Run(name, func(t *testing.T) {
			endpoint := start(t, python(t), emulatorPatience).String()
			client := NewClient(aws.Config{
				Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("123456789012", "test", ""),
				BaseEndpoint: aws.String(endpoint), HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
			})
			put := &PutMetricData{Client: client, Namespace: "Team/Faber", Stack: "data", WorkPool: "ecs production"}
			now := time.Now()
			err := put.Publish(t.Context(), Point{At: now, Data: []Datum{{Backlog, []float64{3}}, {LaunchSeconds, []float64{4, 0.25, 4}}}})
			if err != nil {
				t.Fatal(err)
			}
			listed, err := client.ListMetrics(t.Context(), &sdk.ListMetricsInput{Namespace: aws.String("Team/Faber")})
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{} // moto lists each value
			for _, m := range listed.Metrics {
				names[aws.ToString(m.MetricName)] = true
				if of := dimensions(m.Dimensions); of != "Stack=data WorkPool=ecs production" {
					t.Errorf("%s of %s", aws.ToString(m.MetricName), of)
				}
			}
			if len(names) != 2 || !names[Backlog] || !names[LaunchSeconds] {
				t.Errorf("ListMetrics tells of %v", names)
			}
			for metric, want := range map[string][2]float64{Backlog: {3, 3}, LaunchSeconds: {0.25, 4}} {
				out, err := client.GetMetricStatistics(t.Context(), &sdk.GetMetricStatisticsInput{
					Namespace: aws.String("Team/Faber"), MetricName: aws.String(metric), Period: aws.Int32(60),
					Dimensions: []types.Dimension{{Name: aws.String("Stack"), Value: aws.String("data")}, {Name: aws.String("WorkPool"), Value: aws.String("ecs production")}},
					StartTime:  aws.Time(now.Add(-5 * time.Minute)), EndTime: aws.Time(now.Add(5 * time.Minute)),
					Statistics: []types.Statistic{types.StatisticMinimum, types.StatisticMaximum},
				})
				if err != nil || len(out.Datapoints) != 1 {
					t.Fatalf("%s: %v, %+v", metric, err, out)
				}
				if p := out.Datapoints[0]; aws.ToFloat64(p.Minimum) != want[0] || aws.ToFloat64(p.Maximum) != want[1] {
					t.Errorf("%s is between %g and %g", metric, aws.ToFloat64(p.Minimum), aws.ToFloat64(p.Maximum))
				}
			}
		})
	}
}

func dimensions(all []types.Dimension) (text string) {
	byName := map[string]string{}
	for _, d := range all {
		byName[aws.ToString(d.Name)] = aws.ToString(d.Value)
	}
	if len(byName) != 2 {
		return fmt.Sprint(byName)
	}
	return "Stack=" + byName["Stack"] + " WorkPool=" + byName["WorkPool"]
}
