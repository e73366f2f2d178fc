package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptAWS is as much of AWS as the commands for a deployed stack ask for.
type scriptAWS struct {
	words map[string]string

	mu     sync.Mutex
	secret string
	asked  int // how often for the service
}

// startAWS starts an AWS and sets what leads there:
//
//	aws [desired=1] [running=1] [rollout=COMPLETED] [reason=<stoppedReason>] [event=<message>] [secret=full] [line=<log line>] [others=<tasks of flow runs>]
//
// Each call is in the log that 'seen' looks at, as 'aws <operation>'.
func startAWS(ts *testscript.TestScript, _ bool, args []string) {
	fake := &scriptAWS{words: map[string]string{"desired": "1", "running": "1", "rollout": "COMPLETED"}}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		fake.words[name] = value
	}
	if fake.words["secret"] == "full" {
		fake.secret = "{}"
	}
	network := ts.Value(netKey{}).(*scriptNet)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if operation == "" {
			operation = "GetCallerIdentity" // the only one in another protocol
		}
		network.mu.Lock()
		network.log = append(network.log, "aws "+operation+" "+string(body))
		network.mu.Unlock()
		fake.mu.Lock()
		defer fake.mu.Unlock()
		status, answer := fake.answer(operation, body)
		if operation == "GetCallerIdentity" {
			w.Header().Set("Content-Type", "text/xml")
			fmt.Fprint(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	}))
	ts.Defer(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
		"AWS_SECRET_ACCESS_KEY": "hush", "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
	} {
		ts.Setenv(name, value)
	}
}

type object = map[string]any

func (f *scriptAWS) number(name string) int {
	var n int
	_, _ = fmt.Sscan(f.words[name], &n)
	return n
}

func (f *scriptAWS) answer(operation string, body []byte) (int, any) {
	var in struct {
		DesiredStatus string   `json:"desiredStatus"`
		ServiceName   string   `json:"serviceName"`
		Tasks         []string `json:"tasks"`
		SecretString  string
	}
	_ = json.Unmarshal(body, &in)
	now := float64(time.Now().Unix())
	switch operation {
	case "DescribeServices":
		if f.words["service"] == "gone" {
			return http.StatusOK, object{"services": []object{}, "failures": []object{{"reason": "MISSING"}}}
		}
		f.asked++
		event := object{"createdAt": now - 30, "message": f.words["event"]}
		return http.StatusOK, object{"services": []object{{
			"serviceName": "faber-worker", "status": "ACTIVE", "desiredCount": f.number("desired"), "runningCount": f.number("running"), "pendingCount": 0,
			"taskDefinition": "arn:aws:ecs:eu-west-1:123456789012:task-definition/faber-worker:3", "events": []object{event},
			"deployments": []object{{"status": "PRIMARY", "rolloutState": f.words["rollout"], "rolloutStateReason": "tasks failed to start", "createdAt": now - 60}},
		}}}
	case "DescribeTaskDefinition":
		return http.StatusOK, object{"taskDefinition": object{"containerDefinitions": []object{{"name": "worker", "essential": true, "image": "registry/faber:1.0.0"}}}}
	case "ListTasks":
		var arns []string
		switch {
		case in.DesiredStatus == "STOPPED" && f.words["reason"] != "":
			arns = []string{"arn:aws:ecs:eu-west-1:123456789012:task/faber/dead0000dead"}
		case in.DesiredStatus == "" && f.number("running") > 0:
			arns = []string{"arn:aws:ecs:eu-west-1:123456789012:task/faber/beef0000beef"}
		}
		if in.ServiceName == "" {
			for i := range f.number("others") {
				arns = append(arns, fmt.Sprintf("arn:aws:ecs:eu-west-1:123456789012:task/faber/flow%04d", i))
			}
		}
		return http.StatusOK, object{"taskArns": arns}
	case "DescribeTasks":
		var tasks []object
		for _, arn := range in.Tasks {
			task := object{"taskArn": arn, "lastStatus": "RUNNING", "startedAt": now - 45, "group": "service:faber-worker", "healthStatus": "HEALTHY"}
			if strings.Contains(arn, "dead") {
				task = object{"taskArn": arn, "lastStatus": "STOPPED", "stoppedAt": now - 20, "group": "service:faber-worker", "stopCode": "TaskFailedToStart", "stoppedReason": f.words["reason"]}
			}
			if strings.Contains(arn, "/flow") {
				task["group"] = "family:prefect_fargate_x"
			}
			tasks = append(tasks, task)
		}
		return http.StatusOK, object{"tasks": tasks}
	case "DescribeSecret":
		if f.secret == "" {
			return http.StatusOK, object{"Name": "faber"}
		}
		return http.StatusOK, object{"Name": "faber", "VersionIdsToStages": object{"v1": []string{"AWSCURRENT"}}}
	case "PutSecretValue":
		f.secret = in.SecretString
		return http.StatusOK, object{"Name": "faber"}
	case "FilterLogEvents":
		if f.words["line"] == "" {
			return http.StatusOK, object{"events": []object{}}
		}
		events := []object{{"timestamp": (now - 11) * 1000, "logStreamName": "worker/worker/beef0000beef", "message": `{"_aws":{}}`, "eventId": "m"}}
		for i := range 3 {
			events = append(events, object{
				"timestamp": (now - 10 + float64(i)) * 1000, "logStreamName": "worker/worker/beef0000beef",
				"message": fmt.Sprintf("%s %d", f.words["line"], i), "eventId": fmt.Sprint(i),
			})
		}
		return http.StatusOK, object{"events": events}
	}
	return http.StatusBadRequest, object{"__type": "UnknownOperationException", "message": operation}
}
