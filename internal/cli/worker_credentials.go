package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"faber/internal/launch"
	"faber/internal/prefect"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// renewCredentials reads the secret that the worker's credentials come from, for the
// client whose credentials the API has refused. What it finds is masked from then on,
// before anybody can use it.
func (s *workerStart) renewCredentials(ctx context.Context) (prefect.Credentials, error) {
	values, err := readSecretValue(ctx, s.flags.apiSecretARN)
	if err != nil {
		return prefect.Credentials{}, err
	}
	found := prefect.Credentials{APIKey: values["PREFECT_API_KEY"], AuthString: values["PREFECT_API_AUTH_STRING"]}
	_, password, _ := strings.Cut(found.AuthString, ":")
	s.secrets.Keep(found.APIKey, found.AuthString, password)
	// Of the two kinds, the API is sent what it was sent before.
	if key, auth := s.settings.APIKey != "", s.settings.APIAuthString != ""; key != auth {
		if key {
			found.AuthString = ""
		} else {
			found.APIKey = ""
		}
	}
	if found == (prefect.Credentials{}) {
		return found, fmt.Errorf("the secret %s holds neither PREFECT_API_KEY nor PREFECT_API_AUTH_STRING of the kind in use", s.flags.apiSecretARN)
	}
	for key, inUse := range map[string]string{"PREFECT_ACCOUNT_ID": s.settings.AccountID, "PREFECT_WORKSPACE_ID": s.settings.WorkspaceID} {
		if values[key] != "" && inUse != "" && !strings.EqualFold(values[key], inUse) {
			s.log.Warn(fmt.Sprintf("The secret names another %s than this worker serves. Only the key is taken over; start the worker anew to serve the other one.", key))
		}
	}
	return found, nil
}

// readSecretValue reads the texts of a secret's JSON object. Nothing of the value is in
// an error.
func readSecretValue(ctx context.Context, id string) (map[string]string, error) {
	machine, err := awsconfig.LoadDefaultConfig(ctx, func(o *awsconfig.LoadOptions) error {
		if parsed, err := arn.Parse(id); err == nil {
			o.Region = parsed.Region
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	out, err := secretsmanager.NewFromConfig(machine).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(id)})
	if err != nil {
		return nil, fmt.Errorf("read the secret %s: %w", id, err)
	}
	var object map[string]any
	if json.Unmarshal([]byte(aws.ToString(out.SecretString)), &object) != nil {
		return nil, errors.New("the secret " + id + " is no JSON object")
	}
	values := map[string]string{}
	for key, value := range object {
		if text, ok := value.(string); ok {
			values[key] = strings.TrimSpace(text)
		}
	}
	return values, nil
}

// settingsForRuns are the worker's explicit settings, with the credentials that are in
// use now.
func (s *workerStart) settingsForRuns() []launch.EnvVar {
	inUse := s.client.Credentials()
	var settings []launch.EnvVar
	for _, setting := range s.settings.Explicit() {
		switch value := setting.Value; {
		case setting.Name == "PREFECT_API_KEY" && value != "" && inUse.APIKey != "":
			setting.Value = inUse.APIKey
		case setting.Name == "PREFECT_API_AUTH_STRING" && value != "" && inUse.AuthString != "":
			setting.Value = inUse.AuthString
		}
		settings = append(settings, launch.EnvVar{Name: setting.Name, Value: setting.Value})
	}
	return settings
}
