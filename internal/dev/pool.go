package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// workPool gives the pool the base job template that the Terraform module made:
// nobody edits cluster, subnets or roles into it by hand.
func (u *up) workPool(ctx context.Context, step *Step) error {
	api := newPrefectAPI(u.state)
	template := json.RawMessage(u.outputs.String("base_job_template"))
	pool := map[string]any{"name": PoolName, "type": "ecs", "base_job_template": template}
	err := api.call(ctx, http.MethodPost, "/work_pools/", pool, nil)
	var answer *apiError
	if errors.As(err, &answer) && answer.Status == http.StatusConflict {
		// It is there: made in an earlier life, or by the worker itself.
		err = api.call(ctx, http.MethodPatch, "/work_pools/"+PoolName, map[string]any{"base_job_template": template}, nil)
	}
	step.Done("%s (type ecs), its template from Terraform", PoolName)
	return err
}

type workerInfo struct {
	Name          string     `json:"name"`
	Status        string     `json:"status"`
	LastHeartbeat *time.Time `json:"last_heartbeat_time"`
}

func (a *prefectAPI) workers(ctx context.Context) ([]workerInfo, error) {
	var list []workerInfo
	err := a.call(ctx, http.MethodPost, "/work_pools/"+PoolName+"/workers/filter", map[string]any{}, &list)
	return list, err
}

// workerPatience bounds the wait for the first worker: the service starts a
// container, which takes seconds.
const workerPatience = 90 * time.Second

// workerOnline waits until a worker of the ECS service has said so to the
// Prefect server, which is the proof that image, secret, network and key work.
func (u *up) workerOnline(ctx context.Context, step *Step) error {
	step.Note("waiting for the service's task")
	ctx, cancel := context.WithTimeout(ctx, workerPatience)
	defer cancel()
	api := newPrefectAPI(u.state)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		// A worker of an earlier container may still count as online for a while.
		name, err := u.onlineWorker(ctx, api)
		if err == nil && name != "" {
			step.Done("%s is ONLINE", name)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return &Problem{
				Message: fmt.Sprintf("no worker came online within %s; the worker's last lines:\n%s",
					workerPatience, u.workerLog(context.WithoutCancel(ctx))),
				Hint: "the whole log: faber dev logs worker",
				Err:  err,
			}
		}
	}
}

// onlineWorker names the worker that is online and was heard of since its
// container began.
func (u *up) onlineWorker(ctx context.Context, api *prefectAPI) (string, error) {
	list, err := api.workers(ctx)
	if err != nil {
		return "", err
	}
	containers, err := workerContainers(ctx, u.engine, u.Layout)
	if err != nil {
		return "", err
	}
	var begun time.Time
	for _, c := range containers {
		if c.State == "running" && time.Unix(c.Created, 0).After(begun) {
			begun = time.Unix(c.Created, 0)
		}
	}
	if begun.IsZero() {
		return "", nil
	}
	for _, w := range list {
		if w.Status == "ONLINE" && w.LastHeartbeat != nil && w.LastHeartbeat.After(begun) {
			return w.Name, nil
		}
	}
	return "", nil
}

// workerContainers lists the containers of the service's tasks.
func workerContainers(ctx context.Context, engine *engineClient, l Layout) ([]container, error) {
	list, err := stackContainers(ctx, engine, l)
	if err != nil {
		return nil, err
	}
	var workers []container
	for _, c := range list {
		if c.Labels["com.amazonaws.ecs.container-name"] == "worker" {
			workers = append(workers, c)
		}
	}
	return workers, nil
}

func (u *up) workerLog(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list, err := workerContainers(ctx, u.engine, u.Layout)
	if err != nil {
		return "  " + err.Error()
	}
	if len(list) == 0 {
		return "  (no container was started: see 'faber dev logs ministack')"
	}
	text, err := u.engine.containerLogs(ctx, list[0].ID, logTailLines)
	if err != nil {
		return "  " + err.Error()
	}
	if strings.TrimSpace(text) == "" {
		return "  (it wrote nothing; it is " + list[0].Status + ")"
	}
	return lastLines(text)
}
