package ecs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/google/uuid"
)

const (
	// callTimeout bounds one attempt of one call. It is longer than the long
	// poll of the event queue.
	callTimeout = 30 * time.Second
	// callAttempts bounds the SDK's own retries, which serve short hiccups;
	// patience beyond them is the worker's.
	callAttempts    = 3
	callMaxBackoff  = 5 * time.Second
	maxClientSets   = 32
	maxSessionName  = 64
	sessionNameBase = "prefect-session-"
)

// LoadConfig finds the AWS configuration of this machine; config.LoadDefaultConfig
// is the one of the SDK.
type LoadConfig func(context.Context, ...func(*config.LoadOptions) error) (aws.Config, error)

// clients speak to AWS under one set of credentials in one region.
type clients struct {
	key    string
	region string
	config aws.Config
	ecs    *awsecs.Client
	ec2    *ec2.Client
}

func (c *clients) logs(region string) *cloudwatchlogs.Client {
	return cloudwatchlogs.NewFromConfig(c.config, func(o *cloudwatchlogs.Options) {
		if region != "" {
			o.Region = region
		}
	})
}

func (c *clients) sqs(region string) *sqs.Client {
	return sqs.NewFromConfig(c.config, func(o *sqs.Options) {
		if region != "" {
			o.Region = region
		}
	})
}

// clientSets makes clients once for every credentials value.
type clientSets struct {
	load    LoadConfig
	region  string // used when the credentials name none; "" leaves it to the machine
	backoff time.Duration
	known   cache[*clients]

	loading    sync.Mutex // the SDK reads files and may call out: one at a time is enough
	transports []*http.Transport
}

func (s *clientSets) get(ctx context.Context, c credentials) (*clients, error) {
	if c.Region == "" {
		c.Region = s.region
	}
	key := c.key()
	if known, ok := s.known.get(key); ok {
		return known, nil
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	if known, ok := s.known.get(key); ok {
		return known, nil
	}
	loaded, err := s.loadConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		return nil, &configError{"No AWS region is configured.", "Set AWS_REGION for the worker, or region_name in the work pool's aws_credentials."}
	}
	made := &clients{
		key:    key,
		region: loaded.Region,
		config: loaded,
		ecs:    awsecs.NewFromConfig(loaded),
		ec2:    ec2.NewFromConfig(loaded),
	}
	s.known.put(key, made)
	return made, nil
}

// regionOf is the region that clients with these credentials speak to, as far as
// that is known without reading the machine's configuration.
func (s *clientSets) regionOf(c credentials) string {
	if c.Region == "" {
		c.Region = s.region
	}
	if made, ok := s.known.get(c.key()); ok {
		return made.region
	}
	return c.Region
}

func (s *clientSets) loadConfig(ctx context.Context, c credentials) (aws.Config, error) {
	httpClient, err := httpClient(c)
	if err != nil {
		return aws.Config{}, err
	}
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(httpClient),
		config.WithRetryer(s.retryer),
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	if c.AccessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(
			sdkcredentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)))
	}
	loaded, err := s.load(ctx, options...)
	if err != nil {
		return aws.Config{}, err
	}
	if built, ok := loaded.HTTPClient.(*awshttp.BuildableClient); ok {
		loaded.HTTPClient = s.closable(built)
	}
	if c.Role.ARN != "" {
		// The role is assumed at AWS's own address: the block's endpoint is for
		// the services that are then used.
		loaded.Credentials = aws.NewCredentialsCache(roleProvider(loaded, c.Role))
	}
	if c.EndpointURL != "" {
		loaded.BaseEndpoint = aws.String(c.EndpointURL)
	}
	return loaded, nil
}

// closable is the same HTTP client with a transport whose connections can be
// closed in the end.
func (s *clientSets) closable(built *awshttp.BuildableClient) *http.Client {
	transport := built.GetTransport()
	s.transports = append(s.transports, transport)
	return &http.Client{
		Transport: transport,
		Timeout:   built.GetTimeout(),
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a signed request is good for one address
		},
	}
}

// close gives idle connections back.
func (s *clientSets) close() {
	s.loading.Lock()
	defer s.loading.Unlock()
	for _, transport := range s.transports {
		transport.CloseIdleConnections()
	}
}

// retryer retries a few times and never holds calls back by itself: pacing is
// the governor's, and the SDK's shared retry budget would let one API that is
// down fail the calls to the others.
func (s *clientSets) retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = callAttempts
		o.MaxBackoff = s.backoff
		o.RateLimiter = ratelimit.None
	})
}

func httpClient(c credentials) (*awshttp.BuildableClient, error) {
	client := awshttp.NewBuildableClient().WithTimeout(callTimeout)
	if c.SkipVerify {
		return client.WithTransportOptions(func(t *http.Transport) {
			if t.TLSClientConfig == nil {
				t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			t.TLSClientConfig.InsecureSkipVerify = true // asked for in the credentials block
		}), nil
	}
	if c.CAFile == "" {
		return client, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA certificates: %s holds none", c.CAFile)
	}
	return client.WithTransportOptions(func(t *http.Transport) {
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		t.TLSClientConfig.RootCAs = pool
	}), nil
}

func roleProvider(from aws.Config, role assumedRole) aws.CredentialsProvider {
	name := role.SessionName
	if name == "" {
		name = sessionNameBase + strings.ReplaceAll(uuid.NewString(), "-", "")[:8]
	}
	if len(name) > maxSessionName {
		name = name[:maxSessionName]
	}
	return stscreds.NewAssumeRoleProvider(sts.NewFromConfig(from), role.ARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = name
		o.Duration = role.Duration
		o.Policy = optional(role.Policy)
		o.ExternalID = optional(role.ExternalID)
		o.SerialNumber = optional(role.SerialNumber)
		o.SourceIdentity = optional(role.SourceIdentity)
		o.TransitiveTagKeys = role.TransitiveTagKeys
		for _, arn := range role.PolicyARNs {
			o.PolicyARNs = append(o.PolicyARNs, ststypes.PolicyDescriptorType{Arn: aws.String(arn)})
		}
		for _, t := range role.Tags {
			o.Tags = append(o.Tags, ststypes.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)})
		}
		if role.TokenCode != "" {
			o.TokenProvider = func() (string, error) { return role.TokenCode, nil }
		}
	})
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
