package dev

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// AWSEnv is the environment in which AWS's own programs, and terraform, speak to
// the stack's emulator. The key is the account's number by the emulator's
// custom; nothing in it is secret.
func (s State) AWSEnv() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.AWSURL(),
		"AWS_ACCESS_KEY_ID=" + accountID,
		"AWS_SECRET_ACCESS_KEY=" + secretKey,
		"AWS_REGION=" + region,
		"AWS_DEFAULT_REGION=" + region,
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

func ecsClient(s State) *ecs.Client {
	return ecs.New(ecs.Options{
		Region:       region,
		BaseEndpoint: aws.String(s.AWSURL()),
		Credentials:  credentials.NewStaticCredentialsProvider(accountID, secretKey, ""),
	})
}

// serviceStatus says how many tasks the worker's service runs.
func serviceStatus(ctx context.Context, s State) (string, error) {
	if s.Service == "" {
		return "", &Problem{Message: "not deployed yet", Hint: "run 'faber dev up'"}
	}
	out, err := ecsClient(s).DescribeServices(ctx, &ecs.DescribeServicesInput{
		Cluster:  aws.String(s.Cluster),
		Services: []string{s.Service},
	})
	if err != nil {
		return "", fmt.Errorf("describe the service: %w", err)
	}
	if len(out.Services) == 0 {
		return "", fmt.Errorf("the service %s is not in cluster %s", s.Service, s.Cluster)
	}
	service := out.Services[0]
	detail := fmt.Sprintf("%s: %d of %d tasks running", s.Service, service.RunningCount, service.DesiredCount)
	if service.RunningCount < service.DesiredCount {
		return "", fmt.Errorf("%s", detail)
	}
	return detail, nil
}
