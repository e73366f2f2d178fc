package prefect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// plainText is an answer that is no JSON.
type plainText string

// call sends a JSON body, unless in is nil, and decodes a JSON answer into out,
// unless that is nil. Any status but 2xx is a *StatusError.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode %s %s: %w", method, path, err)
		}
	}
	got, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	if got.code < 200 || got.code > 299 {
		status := statusError(method, path, got)
		status.renewable = got.code == http.StatusUnauthorized && c.renewable()
		return status
	}
	if out == nil || got.code == http.StatusNoContent {
		return nil
	}
	if text, ok := out.(*plainText); ok {
		*text = plainText(got.body)
		return nil
	}
	if err := decode(got.body, out); err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, nil, out)
}

func (c *Client) post(ctx context.Context, path string, in, out any) error {
	return c.call(ctx, http.MethodPost, path, in, out)
}

func (c *Client) patch(ctx context.Context, path string, in any) error {
	return c.call(ctx, http.MethodPatch, path, in, nil)
}

// decode reads JSON and keeps numbers as they are written: 512 in a template
// must not become 512.0 on its way to a container.
func decode(data []byte, out any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode(out)
}

func statusError(method, path string, got *answer) *StatusError {
	path, _, _ = strings.Cut(path, "?")
	after, _ := retryAfter(got.header, time.Now())
	return &StatusError{Method: method, Path: path, Code: got.code, Detail: detail(got.body), RetryAfter: after}
}

// detail finds the server's explanation in one of the three shapes it comes
// in. The request that some answers repeat is left out: it may hold secrets.
func detail(body []byte) string {
	var reply struct {
		Detail    json.RawMessage `json:"detail"`
		Exception string          `json:"exception_message"`
		Problems  json.RawMessage `json:"exception_detail"`
	}
	if json.Unmarshal(body, &reply) != nil {
		return ""
	}
	var parts []string
	for _, part := range []string{reply.Exception, explain(reply.Detail), explain(reply.Problems)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return shorten(strings.Join(parts, " "), 500)
}

// explain reads a text, or a list of validation problems without their input.
func explain(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var problems []struct {
		Location []any  `json:"loc"`
		Message  string `json:"msg"`
	}
	if json.Unmarshal(raw, &problems) != nil {
		return ""
	}
	var lines []string
	for _, problem := range problems {
		path := strings.ReplaceAll(strings.Trim(fmt.Sprint(problem.Location), "[]"), " ", ".")
		lines = append(lines, path+": "+problem.Message)
	}
	return strings.Join(lines, "; ")
}

// shorten cuts a text to at most limit bytes, never inside a character.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
