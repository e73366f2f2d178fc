package cloudwatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"pgregory.net/rapid"
)

var at = time.Date(2026, 11, 30, 12, 0, 0, 500e6, time.UTC)

// document is an EMF document as its specification has it, which is strict: what is not
// in it may not be there.
type document struct {
	AWS struct {
		Timestamp         int64
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name, Unit string }
		}
	} `json:"_aws"`
	members map[string]any
}

func readDocument(t *testing.T, line string) document {
	t.Helper()
	var d document
	decoder := json.NewDecoder(strings.NewReader(line))
	var all map[string]json.RawMessage
	if err := decoder.Decode(&all); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	if decoder.More() {
		t.Errorf("something is behind the document: %q", line)
	}
	strict := json.NewDecoder(bytes.NewReader(all["_aws"]))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d.AWS); err != nil {
		t.Fatalf("_aws: %v: %s", err, all["_aws"])
	}
	delete(all, "_aws")
	d.members = map[string]any{}
	for name, raw := range all {
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			t.Fatal(err)
		}
		d.members[name] = value
	}
	return d
}

func TestEMF(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := &EMF{Out: &out, Namespace: "Faber", Stack: "data", WorkPool: "größe 1"}
	many := make([]float64, 1200)
	for i := range many {
		many[i] = float64(i)
	}
	err := e.Publish(t.Context(), Point{At: at, Data: []Datum{{Backlog, []float64{3}}, {LaunchSeconds, []float64{0.25, 4}}, {StartSeconds, many}, {Throttles, nil}}})
	if err != nil {
		t.Fatal(err)
	}
	line, rest, ended := strings.Cut(out.String(), "\n")
	if !ended || rest != "" || !strings.HasPrefix(line, `{"_aws":`) {
		t.Errorf("not one bare line: %.200q", out.String())
	}
	d := readDocument(t, line)
	if d.AWS.Timestamp != at.UnixMilli() || len(d.AWS.CloudWatchMetrics) != 1 {
		t.Fatalf("%+v", d.AWS)
	}
	directive := d.AWS.CloudWatchMetrics[0]
	if fmt.Sprint(directive) != "{Faber [[Stack WorkPool]] [{Backlog Count} {LaunchSeconds Seconds} {StartSeconds Seconds}]}" {
		t.Errorf("%v", directive)
	}
	if d.members["Stack"] != "data" || d.members["WorkPool"] != "gr__e 1" || d.members["Backlog"] != 3.0 || fmt.Sprint(d.members["LaunchSeconds"]) != "[0.25 4]" {
		t.Errorf("%v", d.members)
	}
	if _, there := d.members["Throttles"]; there {
		t.Error("a metric without a value is named")
	}
	thinned := d.members["StartSeconds"].([]any)
	if len(thinned) != 100 || thinned[0] != 0.0 || thinned[99] != 1199.0 || math.Abs(thinned[50].(float64)-605) > 10 {
		t.Errorf("%d values, %v … %v … %v", len(thinned), thinned[0], thinned[50], thinned[99])
	}
}

func TestEMFWithoutAnythingIsSilent(t *testing.T) {
	t.Parallel()
	e := &EMF{Out: failing{}, Namespace: "Faber", Stack: "s", WorkPool: "p"}
	if err := e.Publish(t.Context(), Point{At: at, Data: []Datum{{Backlog, nil}}}); err != nil {
		t.Error(err)
	}
	if err := e.Publish(t.Context(), Point{At: at, Data: []Datum{{Backlog, []float64{1}}}}); err == nil {
		t.Error("a line that was not written is no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestCondense: what is published in fewer values is still the same, as far as sum,
// count and extremes go.
func TestCondense(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1e6), 2, 1000).Draw(t, "values")
		if rapid.Bool().Draw(t, "coarse") {
			for i := range values {
				values[i] = math.Round(values[i] / 1e5)
			}
		}
		most := rapid.IntRange(3, 150).Draw(t, "most")
		before := slices.Clone(values)
		few, counts := condense(values, most)
		if len(few) > most || len(few) != len(counts) || !slices.Equal(values, before) {
			t.Fatalf("%d values, %d counts", len(few), len(counts))
		}
		sum, n, want := 0.0, 0.0, 0.0
		for i, v := range few {
			sum, n = sum+v*counts[i], n+counts[i]
		}
		for _, v := range values {
			want += v
		}
		if n != float64(len(values)) || math.Abs(sum-want) > 1e-6*max(1, want) {
			t.Fatalf("%g values with the sum %g, want %d with %g", n, sum, len(values), want)
		}
		if slices.Min(few) != slices.Min(values) || slices.Max(few) != slices.Max(values) {
			t.Fatalf("from %g to %g", slices.Min(few), slices.Max(few))
		}
	})
}

// service is CloudWatch, as far as PutMetricData goes, in its JSON protocol.
func service(t *testing.T, answer func(w http.ResponseWriter, body map[string]any)) *PutMetricData {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		var body map[string]any
		if target := r.Header.Get("X-Amz-Target"); !strings.HasSuffix(target, ".PutMetricData") || json.Unmarshal(data, &body) != nil {
			t.Errorf("%s %s: target %q, %q", r.Method, r.URL, target, data)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		answer(w, body)
	}))
	t.Cleanup(server.Close)
	client := NewClient(aws.Config{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "test", ""),
		BaseEndpoint: aws.String(server.URL), RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	return &PutMetricData{Client: client, Namespace: "Faber", Stack: "data", WorkPool: "p"}
}

func TestPutMetricData(t *testing.T) {
	t.Parallel()
	var calls []map[string]any
	put := service(t, func(w http.ResponseWriter, body map[string]any) {
		calls = append(calls, body)
		fmt.Fprint(w, "{}")
	})
	many := make([]float64, 1200)
	for i := range many {
		many[i] = float64(i)
	}
	err := put.Publish(t.Context(), Point{At: at, Data: []Datum{{Backlog, []float64{3}}, {LaunchSeconds, []float64{4, 0.25, 4}}, {StartSeconds, many}, {Throttles, nil}}})
	if err != nil || len(calls) != 1 {
		t.Fatalf("%v after %d calls", err, len(calls))
	}
	data := calls[0]["MetricData"].([]any)
	if calls[0]["Namespace"] != "Faber" || len(data) != 3 {
		t.Fatalf("%v", calls[0])
	}
	first := data[0].(map[string]any)
	want := `[map[Name:Stack Value:data] map[Name:WorkPool Value:p]]`
	if first["MetricName"] != Backlog || first["Unit"] != "Count" || first["Value"] != 3.0 || fmt.Sprint(first["Dimensions"]) != want {
		t.Errorf("%v", first)
	}
	second := data[1].(map[string]any)
	if fmt.Sprintf("%v %v %v", second["Values"], second["Counts"], second["Unit"]) != "[0.25 4] [1 2] Seconds" {
		t.Errorf("%v", second)
	}
	if n := len(data[2].(map[string]any)["Values"].([]any)); n != 150 {
		t.Errorf("%d values", n)
	}
}

func TestPutMetricDataIsRefused(t *testing.T) {
	t.Parallel()
	put := service(t, func(w http.ResponseWriter, _ map[string]any) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"__type":"com.amazon.coral.service#AccessDeniedException","message":"not authorized to perform: cloudwatch:PutMetricData"}`)
	})
	err := put.Publish(context.Background(), Point{At: at, Data: []Datum{{Backlog, []float64{3}}}})
	if err == nil || !strings.Contains(err.Error(), "AccessDenied") || !strings.Contains(err.Error(), "not authorized") {
		t.Errorf("%v", err)
	}
}
