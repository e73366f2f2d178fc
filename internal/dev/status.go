package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Part is one part of a stack, as Status sees it.
type Part struct {
	Name   string `json:"name"`
	Up     bool   `json:"up"`
	Detail string `json:"detail"`
}

// Status is what a stack is at this moment, asked of its parts.
type Status struct {
	Name    string `json:"name"`
	Parts   []Part `json:"parts"`
	Prefect string `json:"prefect_url"`
	AWS     string `json:"aws_url"`
}

// Up reports whether every part is.
func (s Status) Up() bool {
	for _, p := range s.Parts {
		if !p.Up {
			return false
		}
	}
	return true
}

// ReadStatus asks every part of the stack how it is.
func ReadStatus(ctx context.Context, l Layout) (Status, error) {
	state, err := LoadState(l)
	if errors.Is(err, ErrNoStack) {
		return Status{}, notUp(l)
	}
	if err != nil {
		return Status{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	status := Status{Name: l.Name, Prefect: state.PrefectURL(), AWS: state.AWSURL()}
	add := func(name, detail string, err error) {
		part := Part{Name: name, Up: err == nil, Detail: detail}
		var answer *apiError
		if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
			err = errors.New("the work pool " + PoolName + " is not there yet")
		}
		if err != nil {
			part.Detail = err.Error()
		}
		status.Parts = append(status.Parts, part)
	}
	engine, err := newEngineClient(state.Engine.Host)
	if err == nil {
		err = engine.ping(ctx)
	}
	add("engine", state.Engine.Version, err)
	add("prefect", state.PrefectURL(), healthy(state.PrefectURL()+"/api/health")(ctx))
	add("aws", state.AWSURL(), healthy(state.AWSURL()+"/_front/health")(ctx))
	add("cloud front", state.CloudURL(), healthy(state.CloudURL()+"/_front/health")(ctx))
	detail, err := serviceStatus(ctx, state)
	add("service", detail, err)
	detail, err = workerStatus(ctx, newPrefectAPI(state))
	add("worker", detail, err)
	return status, nil
}

// workerStatus names the workers that are online.
func workerStatus(ctx context.Context, api *prefectAPI) (string, error) {
	list, err := api.workers(ctx)
	if err != nil {
		return "", err
	}
	var online []string
	for _, w := range list {
		if w.Status == "ONLINE" {
			online = append(online, w.Name)
		}
	}
	if len(online) == 0 {
		return "", fmt.Errorf("none of the pool's workers is ONLINE (%d known)", len(list))
	}
	sort.Strings(online)
	return strings.Join(online, ", ") + " ONLINE", nil
}

// LogNames are the logs that WriteLog knows: one per process, and the worker's.
func LogNames() []string {
	return append([]string{"worker"}, stopOrder...)
}

// WriteLog writes the newest lines of one part's log.
func WriteLog(ctx context.Context, l Layout, part string, lines int, w io.Writer) error {
	state, err := LoadState(l)
	if err != nil && !errors.Is(err, ErrNoStack) {
		return err
	}
	if part == "worker" {
		if errors.Is(err, ErrNoStack) {
			return notUp(l)
		}
		return writeWorkerLog(ctx, l, state, lines, w)
	}
	for _, name := range stopOrder {
		if name != part {
			continue
		}
		// The file outlives the process: what it said last is wanted most then.
		file := filepath.Join(l.Logs(), name+".log")
		if _, err := os.Stat(file); err != nil {
			return notUp(l)
		}
		_, err := io.WriteString(w, unindent(tail(file, lines))+"\n")
		return err
	}
	return &Problem{
		Message: fmt.Sprintf("the stack has no part %q", part),
		Hint:    "it has: " + strings.Join(LogNames(), ", "),
	}
}

func unindent(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "  "), "\n  ", "\n")
}

func writeWorkerLog(ctx context.Context, l Layout, state State, lines int, w io.Writer) error {
	engine, err := newEngineClient(state.Engine.Host)
	if err != nil {
		return err
	}
	list, err := workerContainers(ctx, engine, l)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return &Problem{Message: "the service has no container", Hint: "see 'faber dev logs ministack'"}
	}
	for _, c := range list {
		text, err := engine.containerLogs(ctx, c.ID, lines)
		if err != nil {
			return err
		}
		if len(list) > 1 {
			fmt.Fprintf(w, "== %s (%s)\n", strings.TrimPrefix(strings.Join(c.Names, ","), "/"), c.Status)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}
