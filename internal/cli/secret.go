package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

// secretKeys are the keys of the JSON object that the secret holds; they are the
// names of the environment variables that the tasks get.
var secretKeys = []string{"PREFECT_API_KEY", "PREFECT_ACCOUNT_ID", "PREFECT_WORKSPACE_ID"} //nolint:gochecknoglobals // a constant list

func newSecretCommand(std *IO) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Fill the Secrets Manager secret that tasks read",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var fromStdin, authString bool
	put := &cobra.Command{
		Use:   "put <secret name or ARN>",
		Short: "Write API key, account id and workspace id into the secret",
		Long: strings.TrimSpace(`
Writes the Prefect credentials into the secret that the Terraform module made,
when Terraform does not manage its value. The values come from the environment
variables PREFECT_API_KEY, PREFECT_ACCOUNT_ID and PREFECT_WORKSPACE_ID, or, with
--stdin, from a JSON object with these keys on standard input; never from the
command line, which every user of the machine can read.

For a self-hosted server with basic authentication, --auth-string writes
PREFECT_API_AUTH_STRING in their place.

AWS credentials and region are found as by the AWS CLI. Afterwards set
secret_value_ready = true and apply again: the service then starts its tasks.`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys := secretKeys
			if authString {
				keys = []string{"PREFECT_API_AUTH_STRING"}
			}
			values, err := readSecret(std, fromStdin, keys)
			if err != nil {
				return err
			}
			if err := putSecret(cmd.Context(), args[0], values); err != nil {
				return err
			}
			fmt.Fprintf(std.Out, "wrote %s to %s\n", strings.Join(keys, ", "), args[0])
			return nil
		},
	}
	put.Flags().BoolVar(&fromStdin, "stdin", false, "read the values as a JSON object from standard input")
	put.Flags().BoolVar(&authString, "auth-string", false, "write PREFECT_API_AUTH_STRING, for a self-hosted server")
	cmd.AddCommand(put)
	return cmd
}

// readSecret reads and checks the values before anything is called.
func readSecret(std *IO, fromStdin bool, keys []string) (map[string]string, error) {
	values := map[string]string{}
	if fromStdin {
		data, err := io.ReadAll(std.In)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		if json.Unmarshal(data, &values) != nil {
			// The decoder's words could quote the input, which holds a key.
			return nil, usageError("give an object with the keys "+strings.Join(keys, ", ")+", all strings", "standard input is no JSON object of strings")
		}
	} else {
		for _, key := range keys {
			values[key] = std.env(key)
		}
	}
	var errs []error
	for _, key := range keys {
		values[key] = strings.TrimSpace(values[key])
		if values[key] == "" {
			errs = append(errs, fmt.Errorf("%s is missing", key))
		}
	}
	for _, key := range secretKeys[1:] {
		if _, err := uuid.Parse(values[key]); values[key] != "" && err != nil {
			errs = append(errs, fmt.Errorf("%s is no UUID", key))
		}
	}
	for key := range values {
		if !slices.Contains(keys, key) {
			errs = append(errs, fmt.Errorf("%s is no key of the secret", key))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usageError("the ids stand in the address of your workspace: app.prefect.cloud/account/<account id>/workspace/<workspace id>; "+
			"a key is made under Profile, API Keys", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return values, nil
}

// secretTimeout bounds the whole exchange with AWS.
const secretTimeout = 30 * time.Second

func putSecret(ctx context.Context, id string, values map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	config, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("read the AWS configuration: %w", err)
	}
	if region := arnRegion(id); region != "" {
		config.Region = region
	}
	if config.Region == "" {
		return usageError("set AWS_REGION", "no AWS region is configured")
	}
	body, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("encode the secret: %w", err)
	}
	_, err = secretsmanager.NewFromConfig(config).PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId:     aws.String(id),
		SecretString: aws.String(string(body)),
	})
	if err != nil {
		return &UserError{
			Message: fmt.Sprintf("write the secret %s: %s", id, err),
			Hint:    "the name or ARN is the output secret_arn of the Terraform module; writing needs secretsmanager:PutSecretValue on it",
			Err:     err,
		}
	}
	return nil
}
