package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"faber/internal/infra"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// secret sees to it that the secret has a value and that the service may start, and
// returns the outputs as they are then.
func (a *apply) secret(ctx context.Context, outputs infra.Outputs) (infra.Outputs, error) {
	arn := outputs.String("secret_arn")
	var isReady bool
	if arn == "" || outputs.Decode("secret_value_ready", &isReady) != nil || isReady {
		return outputs, nil
	}
	has, err := secretHasValue(ctx, arn)
	if err != nil {
		return nil, err
	}
	if !has {
		if has, err = a.fillSecretNow(ctx, arn, outputs); err != nil {
			return nil, err
		}
	}
	if !has {
		a.left = true
		fmt.Fprintf(a.std.Err, "the service stays at 0 tasks until the secret has its value. Fill it, and apply again:\n  faber secret put %s\n  faber apply%s\n", arn, a.shown())
		return outputs, nil
	}
	return a.start(ctx, outputs)
}

// start lets the service run its tasks: the secret has its value.
func (a *apply) start(ctx context.Context, outputs infra.Outputs) (infra.Outputs, error) {
	found, err := infra.SetSecretReady(a.folder(a.std), true)
	if err != nil {
		return nil, err
	}
	if !found {
		a.left = true
		fmt.Fprintf(a.std.Err, "the secret has its value, and the service stays at 0 tasks until the module is told so: set %s = true, and run 'faber apply%s' again\n", infra.SecretReadyName, a.shown())
		return outputs, nil
	}
	fmt.Fprintf(a.std.Out, "%s = true is set in terraform.tfvars\n", infra.SecretReadyName)
	a.plan = "" // the one that was brought along is applied
	plan, err := makePlan(ctx, a.std, a.stack, a.news, false)
	if err != nil {
		return nil, err
	}
	if plan.Changed && !a.yes && !confirm(a.std, "Start the service"+accountPhrase(ctx)+"?") {
		a.left = true
		fmt.Fprintln(a.std.Err, "declined: the service stays at 0 tasks until the next apply")
		return outputs, plan.Discard()
	}
	return a.apply(ctx, plan)
}

// fillSecretNow puts the credentials in use into the secret, if that is wanted and
// they are all there.
func (a *apply) fillSecretNow(ctx context.Context, arn string, outputs infra.Outputs) (bool, error) {
	if a.settings == nil || a.yes && !a.fillSecret {
		return false, nil
	}
	keys := keysWanted(outputs)
	values := map[string]string{
		"PREFECT_API_KEY":         a.settings.APIKey.Reveal(),
		"PREFECT_ACCOUNT_ID":      cmp.Or(a.settings.AccountID, a.std.env("PREFECT_ACCOUNT_ID")),
		"PREFECT_WORKSPACE_ID":    cmp.Or(a.settings.WorkspaceID, a.std.env("PREFECT_WORKSPACE_ID")),
		"PREFECT_API_AUTH_STRING": a.settings.APIAuthString.Reveal(),
	}
	for name := range values {
		if !slices.Contains(keys, name) {
			delete(values, name)
		}
	}
	var missing []string
	for _, key := range keys {
		if values[key] == "" {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(a.std.Err, "the secret is empty, and the Prefect settings in use have no %s to put in\n", strings.Join(missing, ", "))
		return false, nil
	}
	if !a.fillSecret && !confirm(a.std, fmt.Sprintf("The secret is empty. Put in the credentials that this command uses%s?", a.whose(values["PREFECT_WORKSPACE_ID"]))) {
		return false, nil
	}
	if err := putSecret(ctx, arn, values); err != nil {
		return false, err
	}
	fmt.Fprintf(a.std.Out, "wrote %s to %s\n", strings.Join(keys, ", "), arn)
	return true, nil
}

// keysWanted are the keys that the secret has to have. The job template tells them:
// it says where the tasks get which credential from.
func keysWanted(outputs infra.Outputs) []string {
	var template struct {
		Variables struct {
			Properties struct {
				AuthString struct {
					Default string `json:"default"`
				} `json:"prefect_api_auth_string_secret_arn"`
			} `json:"properties"`
		} `json:"variables"`
	}
	if json.Unmarshal([]byte(outputs.String("base_job_template")), &template) == nil && template.Variables.Properties.AuthString.Default != "" {
		return []string{"PREFECT_API_AUTH_STRING"}
	}
	return secretKeys
}

// whose says whose credentials are offered, without showing any.
func (a *apply) whose(workspace string) string {
	source := a.settings.Source("PREFECT_API_KEY")
	if a.settings.APIKey == "" {
		source = a.settings.Source("PREFECT_API_AUTH_STRING")
	}
	text := " (from " + source.Kind
	if workspace != "" {
		text += ", workspace " + workspace
	}
	return text + ")"
}

// secretHasValue asks for the secret's versions, not for its value.
func secretHasValue(ctx context.Context, arn string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	machine, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(arnRegion(arn)))
	if err != nil {
		return false, fmt.Errorf("read the AWS configuration: %w", err)
	}
	out, err := secretsmanager.NewFromConfig(machine).DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: aws.String(arn)})
	if err != nil {
		return false, &UserError{Message: fmt.Sprintf("look at the secret %s: %s", arn, err), Hint: "this needs secretsmanager:DescribeSecret on it", Err: err}
	}
	for _, stages := range out.VersionIdsToStages {
		if slices.Contains(stages, "AWSCURRENT") {
			return true, nil
		}
	}
	return false, nil
}

// arnRegion is the region in an ARN, "" when there is none.
func arnRegion(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[3]
	}
	return ""
}
