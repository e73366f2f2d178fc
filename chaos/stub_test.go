//go:build chaos

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// beStub is a worker that does what it must to have flow runs started, and nothing
// else: it polls, proposes Pending, starts a task and stores where. It looks at no
// task again, takes nothing over, and knows no error from another.
func beStub(args []string) {
	pool := ""
	for i, arg := range args {
		if arg == "--pool" && i+1 < len(args) {
			pool = args[i+1]
		}
	}
	api := &client{os.Getenv("PREFECT_API_URL"), &http.Client{Timeout: time.Minute}}
	ctx := context.Background()
	fmt.Println("polling", pool)
	for tick := time.NewTicker(2 * time.Second); ; <-tick.C {
		var due []struct {
			Run flowRun `json:"flow_run"`
		}
		status, data := api.once(ctx, http.MethodPost, "/work_pools/"+pool+"/get_scheduled_flow_runs", object{"scheduled_before": time.Now().UTC().Add(10 * time.Second)})
		if status != http.StatusOK || json.Unmarshal(data, &due) != nil {
			fmt.Println("poll:", status, string(data))
			continue
		}
		for _, d := range due {
			go func() { fmt.Println(d.Run.ID, stubSubmit(ctx, api, d.Run.ID)) }()
		}
	}
}

func stubSubmit(ctx context.Context, api *client, run string) string {
	status, data := api.once(ctx, http.MethodPost, "/flow_runs/"+run+"/set_state", object{"state": object{"type": "PENDING", "name": "Pending"}})
	var said answer
	if status >= 300 || json.Unmarshal(data, &said) != nil || said.Status != "ACCEPT" {
		return fmt.Sprint("not claimed: ", status, " ", said.Status)
	}
	endpoint := os.Getenv("AWS_ENDPOINT_URL")
	status, data = callAWS(ctx, endpoint, "ecs", ecsTarget+"RegisterTaskDefinition", object{
		"family": "stub", "requiresCompatibilities": []string{"FARGATE"}, "networkMode": "awsvpc", "cpu": "256", "memory": "512",
		"containerDefinitions": []object{{"name": "prefect", "image": "registry.example/flow"}},
	})
	var registered struct {
		Definition struct {
			ARN string `json:"taskDefinitionArn"`
		} `json:"taskDefinition"`
	}
	if status != http.StatusOK || json.Unmarshal(data, &registered) != nil {
		return fmt.Sprint("not registered: ", status, " ", string(data))
	}
	status, data = callAWS(ctx, endpoint, "ecs", ecsTarget+"RunTask", object{
		"cluster": "default", "taskDefinition": registered.Definition.ARN, "launchType": "FARGATE",
		"networkConfiguration": object{"awsvpcConfiguration": object{"subnets": []string{"subnet-a"}}},
		"overrides": object{"containerOverrides": []object{{
			"name": "prefect", "command": []string{"prefect", "flow-run", "execute"},
			"environment": []object{{"name": "PREFECT__FLOW_RUN_ID", "value": run}, {"name": "PREFECT_API_URL", "value": api.url}},
		}}},
	})
	var started struct {
		Tasks []struct {
			ARN     string `json:"taskArn"`
			Cluster string `json:"clusterArn"`
		} `json:"tasks"`
	}
	if status != http.StatusOK || json.Unmarshal(data, &started) != nil || len(started.Tasks) == 0 {
		return fmt.Sprint("not started: ", status, " ", string(data))
	}
	status, _ = api.once(ctx, http.MethodPatch, "/flow_runs/"+run, object{"infrastructure_pid": started.Tasks[0].Cluster + "::" + started.Tasks[0].ARN})
	return fmt.Sprint("started; pid: ", status)
}

const ecsTarget = "AmazonEC2ContainerServiceV20141113."

// callAWS calls AWS without its SDK: nobody here checks signatures, only the scope is
// read from them.
func callAWS(ctx context.Context, endpoint, service, target string, body any) (int, []byte) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/", bytes.NewReader(data))
	if err != nil {
		return 0, []byte(err.Error())
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", target)
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=123456789012/20260101/eu-central-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return response.StatusCode, answer
}
