package ecs

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"faber/internal/launch"
)

// Variables that hold the worker's credentials for Prefect. Whoever may read a
// task's description may read its environment, so they are better handed over
// as secrets.
const (
	envAPIKey     = "PREFECT_API_KEY"
	envAuthString = "PREFECT_API_AUTH_STRING"
)

// secret says where ECS finds the value of a variable.
type secret struct{ name, valueFrom string }

// secrets are the credentials that have a secret: the pool's own, else the
// worker's.
func (l *Launcher) secrets(c *configuration) []secret {
	var out []secret
	for _, s := range []struct{ name, configured, fallback string }{
		{envAPIKey, c.apiKeySecret, l.options.SecretARN},
		{envAuthString, c.authStringSecret, l.options.AuthStringSecretARN},
	} {
		if s.configured != "" {
			out = append(out, secret{s.name, s.configured})
		} else if s.fallback != "" {
			out = append(out, secret{s.name, s.fallback})
		}
	}
	return out
}

// addSecrets puts secrets into a container's definition, in place of plain
// variables and earlier secrets of the same name.
func addSecrets(container map[string]any, secrets []secret) {
	if len(secrets) == 0 {
		return
	}
	named := func(item any) bool {
		object, _ := item.(map[string]any)
		return slices.ContainsFunc(secrets, func(s secret) bool { return s.name == stringField(object, "name") })
	}
	if environment, ok := container["environment"].([]any); ok {
		environment = slices.DeleteFunc(environment, named)
		if container["environment"] = environment; len(environment) == 0 {
			delete(container, "environment")
		}
	}
	existing, _ := container["secrets"].([]any)
	for _, s := range secrets {
		at := slices.IndexFunc(existing, func(item any) bool {
			object, _ := item.(map[string]any)
			return stringField(object, "name") == s.name
		})
		if at >= 0 {
			if object, ok := existing[at].(map[string]any); ok {
				object["valueFrom"] = s.valueFrom
			}
			continue
		}
		existing = append(existing, map[string]any{"name": s.name, "valueFrom": s.valueFrom})
	}
	container["secrets"] = existing
}

// handedOver tells which credentials reach the container as secrets, and so
// must not stand in its environment.
func (c *configuration) handedOver(d *definition, container string) map[string]bool {
	names := map[string]bool{envAPIKey: c.apiKeySecret != "", envAuthString: c.authStringSecret != ""}
	for _, defined := range d.containers {
		if aws.ToString(defined.Name) != container {
			continue
		}
		for _, s := range defined.Secrets {
			if name := aws.ToString(s.Name); name == envAPIKey || name == envAuthString {
				names[name] = true
			}
		}
	}
	return names
}

// checkPlaintext looks for credentials that would be sent in clear text, and
// refuses them or warns, once per deployment.
func (l *Launcher) checkPlaintext(job launch.Job, d *definition, request map[string]any) error {
	names := plaintextCredentials(d, request)
	if len(names) == 0 {
		return nil
	}
	what := strings.Join(names, " and ") + " in clear text, where everyone who may describe the task can read it."
	if l.options.RefusePlaintextCredentials {
		return &launch.Failure{Kind: launch.FailurePermanent, Message: "This worker refuses to send ECS " + what, Hint: plaintextHint}
	}
	if l.warned.first(owner(job)) {
		job.Log(slog.LevelWarn, "Sending ECS "+what+" "+plaintextHint)
	}
	return nil
}

const plaintextHint = "Put it into Secrets Manager and name the secret, for all work pools with the worker's --api-key-secret-arn or " +
	"FABER_API_KEY_SECRET_ARN (auth string: --api-auth-string-secret-arn or FABER_API_AUTH_STRING_SECRET_ARN), " +
	"or for one with prefect_api_key_secret_arn (auth string: prefect_api_auth_string_secret_arn) on the work pool."

func plaintextCredentials(d *definition, request map[string]any) []string {
	var found []string
	note := func(name, value string) {
		if (name == envAPIKey || name == envAuthString) && value != "" && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	overrides, _ := request["overrides"].(map[string]any)
	for _, override := range objects(overrides["containerOverrides"]) {
		for _, variable := range objects(override["environment"]) {
			note(stringField(variable, "name"), text(variable["value"]))
		}
	}
	for _, container := range d.containers {
		for _, variable := range container.Environment {
			note(aws.ToString(variable.Name), aws.ToString(variable.Value))
		}
	}
	slices.Sort(found)
	return found
}
