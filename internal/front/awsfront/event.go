package awsfront

import (
	"encoding/json"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"
)

// event is an "ECS Task State Change" in EventBridge's envelope.
type event struct {
	Version    string         `json:"version"`
	ID         string         `json:"id"`
	DetailType string         `json:"detail-type"`
	Source     string         `json:"source"`
	Account    string         `json:"account"`
	Time       string         `json:"time"`
	Region     string         `json:"region"`
	Resources  []string       `json:"resources"`
	Detail     map[string]any `json:"detail"`
}

func newEvent(region string, detail map[string]any, now time.Time) event {
	arn := str(detail["taskArn"])
	account := ""
	if part := strings.Split(arn, ":"); len(part) > 4 {
		account = part[4]
	}
	detail["updatedAt"] = millis(now)
	return event{
		Version: "0", ID: uuid.NewString(), DetailType: "ECS Task State Change", Source: "aws.ecs",
		Account: account, Time: now.UTC().Format("2006-01-02T15:04:05Z"), Region: region,
		Resources: []string{arn}, Detail: detail,
	}
}

// taskDetail turns a task as DescribeTasks tells it into the detail of an
// event: times as text, no tags, no health, and nothing that is empty.
func taskDetail(task map[string]any) map[string]any {
	detail := maps.Clone(task)
	delete(detail, "tags")
	delete(detail, "healthStatus")
	if str(detail["launchType"]) == "FARGATE" {
		delete(detail, "containerInstanceArn")
	}
	for name, value := range detail {
		if strings.HasSuffix(name, "At") {
			if t, ok := instant(value); ok {
				detail[name] = millis(t)
			}
		}
		if value == nil || value == "" {
			delete(detail, name)
		}
	}
	if list, ok := task["containers"].([]any); ok {
		detail["containers"] = containerDetails(list, nil)
	}
	return detail
}

// containerDetails copies containers, without health and with changes.
func containerDetails(list []any, change func(c map[string]any)) []any {
	containers := []any{}
	for _, item := range list {
		c, ok := item.(map[string]any)
		if !ok {
			continue
		}
		c = maps.Clone(c)
		maps.DeleteFunc(c, func(name string, value any) bool {
			return value == nil || value == "" || name == "healthStatus"
		})
		if change != nil {
			change(c)
		}
		containers = append(containers, c)
	}
	return containers
}

// runningDetail is the detail of a stopped task as it was while it ran.
func runningDetail(task map[string]any, version int64) map[string]any {
	detail := taskDetail(task)
	for _, name := range []string{"stoppedAt", "stoppingAt", "executionStoppedAt", "stopCode", "stoppedReason"} {
		delete(detail, name)
	}
	detail["lastStatus"], detail["desiredStatus"], detail["version"] = "RUNNING", "RUNNING", version
	if list, ok := detail["containers"].([]any); ok {
		detail["containers"] = containerDetails(list, func(c map[string]any) {
			delete(c, "exitCode")
			delete(c, "reason")
			c["lastStatus"] = "RUNNING"
		})
	}
	return detail
}

// instant reads a time as the emulator writes it: seconds, or ISO text.
func instant(v any) (time.Time, bool) {
	switch v := v.(type) {
	case float64:
		return time.UnixMilli(int64(v * 1000)), true
	case string:
		t, err := time.Parse(time.RFC3339, v)
		return t, err == nil
	default:
		return time.Time{}, false
	}
}

func millis(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func integer(v any) int64 {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case json.Number:
		n, _ := v.Int64() // What is no number is none.
		return n
	default:
		return 0
	}
}
