package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// prefectAPI is the Prefect server as a user of the stack calls it: directly, on
// loopback, without any of the worker's code, so that what the stack says about
// a run does not depend on what it is to prove.
type prefectAPI struct {
	base string // http://127.0.0.1:4200/api
	http *http.Client
}

func newPrefectAPI(s State) *prefectAPI {
	return &prefectAPI{base: s.PrefectURL() + "/api", http: &http.Client{Timeout: 30 * time.Second}}
}

// apiError is an answer of the Prefect server that is no success.
type apiError struct {
	Status int
	Body   string
}

func (e *apiError) Error() string {
	return fmt.Sprintf("Prefect server: HTTP %d: %s", e.Status, e.Body)
}

// cut shortens an answer: the server repeats the whole request in its errors.
func cut(text string) string {
	const most = 400
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + " …"
	}
	return text
}

// call makes one call. The server answers 503 when its SQLite database is busy,
// which passes; such a call had no effect and is made again.
func (a *prefectAPI) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode a request to the Prefect server: %w", err)
		}
	}
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		err := a.once(ctx, method, path, body, out)
		var answer *apiError
		if !errors.As(err, &answer) || answer.Status != http.StatusServiceUnavailable || wait > 5*time.Second {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *prefectAPI) once(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call the Prefect server: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.http.Do(req)
	if err != nil {
		return fmt.Errorf("call the Prefect server: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("call the Prefect server: %w", err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		return &apiError{Status: res.StatusCode, Body: cut(strings.TrimSpace(string(data)))}
	}
	if out == nil || len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("read the Prefect server's answer to %s %s: %w", method, path, err)
	}
	return nil
}
