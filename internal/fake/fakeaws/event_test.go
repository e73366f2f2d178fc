package fakeaws_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"faber/internal/fake/fakeaws"
)

// sentEvent is what whoever reads the queue looks at.
type sentEvent struct {
	ID, Source, Region, Account string
	Time                        time.Time
	DetailType                  string `json:"detail-type"`
	Resources                   []string
	Detail                      struct {
		TaskArn, ClusterArn, TaskDefinitionArn, LastStatus, DesiredStatus, StopCode, StoppedReason, StartedBy string
		Tags                                                                                                  any
		Version                                                                                               int
		CreatedAt, StartedAt, StoppedAt                                                                       *time.Time
		Containers                                                                                            []struct {
			Name, LastStatus, ContainerArn string
			ExitCode                       *int
		}
		Overrides struct {
			ContainerOverrides []struct {
				Name        string
				Environment []struct{ Name, Value string }
			}
		}
	}
}

func read(t *testing.T, body string) sentEvent {
	t.Helper()
	var event sentEvent
	if err := json.Unmarshal([]byte(body), &event); err != nil {
		t.Fatal(err)
	}
	return event
}

func TestEvents(t *testing.T) {
	s, on := start(t)
	url := s.AddQueue("events")
	task := run(t, s, on)
	task.Set("RUNNING")
	task.Set("STOPPED", fakeaws.Exit(7))
	told := task.Tell("events")
	other := task.Tell("events", func(event map[string]any) {
		event["id"] = "fixed"
		fakeaws.Detail(event)["containers"] = []any{}
	})
	got := receive(t, on, url, 0)
	if len(got) != 2 || *got[0].Body != fakeaws.Message(told) || *got[1].Body != fakeaws.Message(other) {
		t.Fatalf("received %+v", got)
	}
	event := read(t, *got[0].Body)
	if _, err := uuid.Parse(event.ID); err != nil || event.Source != "aws.ecs" || event.DetailType != "ECS Task State Change" || event.Region != fakeaws.Region || event.Account != fakeaws.Account || !cmp.Equal(event.Resources, []string{task.ARN}) {
		t.Errorf("event %+v", event)
	}
	detail := event.Detail
	if detail.TaskArn != task.ARN || detail.ClusterArn != task.Cluster || detail.TaskDefinitionArn != task.Definition || detail.LastStatus != "STOPPED" || detail.StopCode != "EssentialContainerExited" || detail.Version != 3 {
		t.Errorf("detail %+v", detail)
	}
	if detail.Tags != nil || detail.CreatedAt == nil || detail.StartedAt == nil || detail.StoppedAt == nil || time.Since(event.Time) > time.Minute {
		t.Errorf("detail %+v", detail)
	}
	if len(detail.Containers) != 2 || *detail.Containers[0].ExitCode != 7 || detail.Overrides.ContainerOverrides[0].Environment[0].Value != "run-1" {
		t.Errorf("detail %+v", detail)
	}
	if edited := read(t, *got[1].Body); edited.ID != "fixed" || len(edited.Detail.Containers) != 0 || len(task.Detail()["containers"].([]any)) != 2 {
		t.Errorf("edited %+v", edited)
	}
}

func TestEventsOfItself(t *testing.T) {
	s, on := start(t)
	url := s.AddQueue("events")
	s.EventsTo("events")
	task := run(t, s, on)
	for _, status := range []string{"PENDING", "RUNNING", "STOPPED"} {
		task.Set(status)
	}
	s.EventsTo("")
	task.Set("STOPPED")
	var got []string
	ids := map[string]bool{}
	for _, message := range receive(t, on, url, 0) {
		event := read(t, *message.Body)
		got, ids[event.ID] = append(got, event.Detail.LastStatus), true
	}
	if want := "PROVISIONING PENDING RUNNING STOPPED"; strings.Join(got, " ") != want || len(ids) != 4 {
		t.Errorf("%v with %d ids, want %s", got, len(ids), want)
	}
}
