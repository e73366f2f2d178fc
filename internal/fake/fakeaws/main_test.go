package fakeaws_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"faber/internal/fake/fakeaws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is only ever spent when a test fails.
const patience = 30 * time.Second

// sdk is Go's SDK, pointed at a server.
type sdk struct {
	ecs  *ecs.Client
	sqs  *sqs.Client
	logs *cloudwatchlogs.Client
	ec2  *ec2.Client
	sts  *sts.Client
}

func newSDK(s *fakeaws.Server) sdk {
	config := aws.Config{
		Region:       "us-west-2",
		BaseEndpoint: aws.String(s.URL),
		Credentials:  sdkcredentials.NewStaticCredentialsProvider("AKIAGO", "secret", ""),
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
	}
	return sdk{ecs.NewFromConfig(config), sqs.NewFromConfig(config), cloudwatchlogs.NewFromConfig(config), ec2.NewFromConfig(config), sts.NewFromConfig(config)}
}

func start(t *testing.T) (*fakeaws.Server, sdk) {
	t.Helper()
	s := fakeaws.New(t)
	return s, newSDK(s)
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// refused expects an error of AWS's with a code.
func refused(t *testing.T, err error, code string) {
	t.Helper()
	var problem smithy.APIError
	if !errors.As(err, &problem) || problem.ErrorCode() != code {
		t.Errorf("got %v, want %s", err, code)
	}
}
