package ecs

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"faber/internal/fake/fakeaws"
)

// newFakeAWS starts a server whose tasks run to a clean end by themselves.
func newFakeAWS(t testing.TB) *fakeaws.Server {
	f := fakeaws.New(t)
	f.Script("", fakeaws.Script{})
	return f
}

// loadFrom is a machine's configuration that points at the server.
func loadFrom(f *fakeaws.Server) LoadConfig {
	return func(ctx context.Context, options ...func(*config.LoadOptions) error) (aws.Config, error) {
		options = append([]func(*config.LoadOptions) error{
			config.WithRegion(fakeaws.Region),
			config.WithSharedConfigFiles(nil),
			config.WithSharedCredentialsFiles(nil),
			config.WithCredentialsProvider(sdkcredentials.NewStaticCredentialsProvider("machine", "secret", "")),
			config.WithBaseEndpoint(f.URL),
		}, options...)
		return config.LoadDefaultConfig(ctx, options...)
	}
}

// last is the latest call of an operation.
func last(t *testing.T, f *fakeaws.Server, op string) fakeaws.Call {
	t.Helper()
	calls := f.Calls(op)
	if len(calls) == 0 {
		t.Fatalf("no %s", op)
	}
	return calls[len(calls)-1]
}
