package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"faber/internal/config"
	"faber/internal/launch"
	"faber/internal/prefect"
	"faber/internal/telemetry"
	"faber/internal/worker"
)

// shortestGuess is how long a value must be that is a secret by its name alone: a
// shorter one is most likely a switch or a number.
const shortestGuess = 8

// keepSecrets collects what a worker must never show of itself, and puts that between
// the command and its streams.
func keepSecrets(std *IO, settings *config.Settings) *telemetry.Secrets {
	secrets := &telemetry.Secrets{}
	for _, value := range settings.Secrets() {
		secrets.Keep(value.Reveal())
	}
	for _, pair := range std.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if launch.SecretName(name) && len(value) >= shortestGuess {
			secrets.Keep(value)
		}
	}
	std.Out, std.Err = secrets.Writer(std.Out), secrets.Writer(std.Err)
	return secrets
}

// learn takes in the secrets of a flow run: what is named like one in its environment
// and its configuration.
func (s *workerStart) learn(job launch.Job) {
	var found []string
	for _, v := range job.Env {
		if launch.SecretName(v.Name) && len(v.Value) >= shortestGuess {
			found = append(found, v.Value)
		}
	}
	s.secrets.Learn(append(found, secretsIn(job.Configuration)...)...)
}

// secretsIn finds the texts that are named like secrets, at any depth. What is named
// so and has parts, each with its name, is judged by these: not all of "credentials"
// is secret.
func secretsIn(value any) (found []string) {
	switch v := value.(type) {
	case map[string]any:
		for name, item := range v {
			if launch.SecretName(name) {
				found = append(found, guesses(item)...)
			}
			found = append(found, secretsIn(item)...)
		}
		for _, keys := range [][2]string{{"name", "value"}, {"Name", "Value"}} {
			if name, _ := v[keys[0]].(string); launch.SecretName(name) {
				found = append(found, guesses(v[keys[1]])...)
			}
		}
	case []any:
		for _, item := range v {
			found = append(found, secretsIn(item)...)
		}
	}
	return found
}

// guesses are the texts of a value without parts that are long enough to be secrets.
func guesses(value any) (found []string) {
	if _, parts := value.(map[string]any); parts {
		return nil
	}
	for _, text := range texts(value) {
		if len(text) >= shortestGuess {
			found = append(found, text)
		}
	}
	return found
}

// texts are all texts within a value.
func texts(value any) (found []string) {
	switch v := value.(type) {
	case string:
		found = append(found, v)
	case map[string]any:
		for _, item := range v {
			found = append(found, texts(item)...)
		}
	case []any:
		for _, item := range v {
			found = append(found, texts(item)...)
		}
	}
	return found
}

// blockReader is the client, which remembers the secrets of the blocks that it reads.
type blockReader struct {
	*prefect.Client

	secrets *telemetry.Secrets
}

// BlockDocument reads a block of any type.
func (r blockReader) BlockDocument(ctx context.Context, id string) (map[string]any, error) {
	data, err := r.Client.BlockDocument(ctx, id)
	r.learn(data, false)
	return data, err
}

// BlockDocumentByName reads a block of a type. All of a Secret block is secret.
func (r blockReader) BlockDocumentByName(ctx context.Context, typeSlug, name string) (map[string]any, error) {
	data, err := r.Client.BlockDocumentByName(ctx, typeSlug, name)
	r.learn(data, typeSlug == "secret")
	return data, err
}

func (r blockReader) learn(data map[string]any, all bool) {
	decoded := make(map[string]any, len(data))
	for name, value := range data {
		if raw, ok := value.(json.RawMessage); ok {
			value = nil
			_ = json.Unmarshal(raw, &value) // what is no JSON is no text either
		}
		decoded[name] = value
	}
	// A Secret block that was read by its id has a value and nothing else.
	if _, only := decoded["value"]; all || only && len(decoded) == 1 {
		r.secrets.Learn(texts(decoded)...)
		return
	}
	r.secrets.Learn(secretsIn(decoded)...)
}

// redactedLog writes to the logs of flow runs, without secrets.
type redactedLog struct {
	worker.RunLog

	secrets *telemetry.Secrets
}

// Log writes one message.
func (l redactedLog) Log(name string, level slog.Level, flowRunID, message string) {
	l.RunLog.Log(name, level, flowRunID, l.secrets.Redact(message))
}

// redactedEvents sends events, without secrets. Names of things are sent as they are:
// others look for them.
type redactedEvents struct {
	worker.Emitter

	secrets *telemetry.Secrets
}

// Emit sends one event.
func (e redactedEvents) Emit(event prefect.Event) prefect.Event {
	if masked, ok := e.secrets.RedactValue(event.Payload).(map[string]any); ok && event.Payload != nil {
		event.Payload = masked
	}
	event.Resource = e.labels(event.Resource)
	related := make([]prefect.Resource, len(event.Related))
	for i, r := range event.Related {
		related[i] = e.labels(r)
	}
	if event.Related != nil {
		event.Related = related
	}
	return e.Emitter.Emit(event)
}

func (e redactedEvents) labels(r prefect.Resource) prefect.Resource {
	masked := make(prefect.Resource, len(r))
	for name, value := range r {
		if !strings.HasPrefix(name, "prefect.resource.") {
			value = e.secrets.Redact(value)
		}
		masked[name] = value
	}
	return masked
}

// surviving runs a part of the program that others can do without, and tells when it
// panics.
func (s *workerStart) surviving(what string, f func()) {
	defer func() {
		if recovered := recover(); recovered != nil {
			s.log.Error("Panic, which is a mistake in faber; please report it. Flow runs go on without "+what+".",
				"panic", fmt.Sprint(recovered), "stack", string(debug.Stack()))
		}
	}()
	f()
}
