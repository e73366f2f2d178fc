package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go/middleware"
)

const (
	// callTimeout bounds one attempt of one call. It is longer than the long
	// poll of the event queue.
	callTimeout = 30 * time.Second
	// callAttempts bounds the SDK's own retries, which serve short hiccups: lost
	// connections and 5xx. Patience beyond them is the worker's.
	callAttempts   = 3
	callMaxBackoff = 5 * time.Second
	maxClientSets  = 32
)

// LoadConfig finds the AWS configuration of this machine; config.LoadDefaultConfig
// is the one of the SDK.
type LoadConfig func(context.Context, ...func(*config.LoadOptions) error) (aws.Config, error)

// clients speak to AWS under one set of credentials in one region.
type clients struct {
	key      string
	region   string
	endpoint *string // of all services; nil leaves it to the machine's configuration
	config   aws.Config
	ecs      *awsecs.Client
	ec2      *ec2.Client
}

func (c *clients) logs(region string) *cloudwatchlogs.Client {
	return cloudwatchlogs.NewFromConfig(c.config, func(o *cloudwatchlogs.Options) {
		o.BaseEndpoint = cmp.Or(c.endpoint, o.BaseEndpoint)
		if region != "" {
			o.Region = region
		}
	})
}

func (c *clients) sqs(region string) *sqs.Client {
	return sqs.NewFromConfig(c.config, func(o *sqs.Options) {
		o.BaseEndpoint = cmp.Or(c.endpoint, o.BaseEndpoint)
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
	govern  *governors

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
		return nil, &configError{
			message: "You must specify a region.", class: noRegionError,
			hint: "Set AWS_REGION for the worker, or region_name in the work pool's aws_credentials.",
		}
	}
	made := &clients{key: key, region: loaded.Region, endpoint: optional(c.EndpointURL), config: loaded}
	// Set on each client, the block's endpoint goes before those that the
	// machine's environment names for single services.
	made.ecs = awsecs.NewFromConfig(loaded, func(o *awsecs.Options) { o.BaseEndpoint = cmp.Or(made.endpoint, o.BaseEndpoint) })
	made.ec2 = ec2.NewFromConfig(loaded, func(o *ec2.Options) { o.BaseEndpoint = cmp.Or(made.endpoint, o.BaseEndpoint) })
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

// loadConfig finds the configuration to speak to AWS under credentials. What is
// wrong with them is for their owner to mend.
func (s *clientSets) loadConfig(ctx context.Context, c credentials) (aws.Config, error) {
	client, err := httpClient(c)
	if err != nil {
		return aws.Config{}, refused(err, "Correct aws_client_parameters in the work pool's aws_credentials.")
	}
	loaded, err := s.load(ctx, append(s.identity(c), s.manners(c, client)...)...)
	var noProfile config.SharedConfigProfileNotExistError
	if errors.As(err, &noProfile) {
		return aws.Config{}, &configError{
			message: fmt.Sprintf("The config profile (%s) could not be found", noProfile.Profile), class: profileNotFound,
			hint: "Correct profile_name in the work pool's aws_credentials, or the worker's AWS_PROFILE, or give the worker its AWS configuration files.",
		}
	}
	if err != nil {
		return aws.Config{}, err
	}
	s.closable(&loaded)
	if c.Client.Unsigned {
		loaded.Credentials = aws.AnonymousCredentials{}
	}
	if c.Role != nil {
		// The role is assumed at AWS's own address and in the usual way: the block's
		// parameters are for the services that are then used.
		plain, err := s.load(ctx, append(s.identity(c), s.manners(credentials{}, newHTTPClient())...)...)
		if err != nil {
			return aws.Config{}, err
		}
		s.closable(&plain)
		loaded.Credentials = newRole(plain, c.Role)
	}
	return loaded, nil
}

type loadOption = func(*config.LoadOptions) error

// identity says who speaks, and where.
func (s *clientSets) identity(c credentials) []loadOption {
	var options []loadOption
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
	return options
}

// manners say how it is spoken.
func (s *clientSets) manners(c credentials, client *awshttp.BuildableClient) []loadOption {
	options := []loadOption{
		config.WithHTTPClient(client),
		config.WithRetryer(func() aws.Retryer { return s.retryer(c.Client.Attempts) }),
		config.WithAPIOptions([]func(*middleware.Stack) error{s.govern.govern(c.account())}),
	}
	if c.Client.FIPS != nil {
		state := aws.FIPSEndpointStateDisabled
		if *c.Client.FIPS {
			state = aws.FIPSEndpointStateEnabled
		}
		options = append(options, config.WithUseFIPSEndpoint(state))
	}
	if c.Client.DualStack != nil {
		state := aws.DualStackEndpointStateDisabled
		if *c.Client.DualStack {
			state = aws.DualStackEndpointStateEnabled
		}
		options = append(options, config.WithUseDualStackEndpoint(state))
	}
	if c.Client.AppID != "" {
		options = append(options, config.WithAppID(c.Client.AppID))
	}
	if c.Client.UserAgent != "" {
		options = append(options, config.WithAPIOptions([]func(*middleware.Stack) error{awsmiddleware.AddUserAgentKey(c.Client.UserAgent)}))
	}
	return options
}

// closable gives a configuration the same HTTP client with a transport whose
// connections can be closed in the end.
func (s *clientSets) closable(loaded *aws.Config) {
	built, ok := loaded.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return
	}
	transport := built.GetTransport()
	s.transports = append(s.transports, transport)
	loaded.HTTPClient = &http.Client{
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
// the governor's, throttled calls too are for it to repeat, and the SDK's shared
// retry budget would let one API that is down fail the calls to the others.
func (s *clientSets) retryer(attempts int) aws.Retryer {
	if attempts == 0 {
		attempts = callAttempts
	}
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = s.backoff
		o.RateLimiter = ratelimit.None
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(notThrottled)}, retry.DefaultRetryables...)
	})
}

// notThrottled has the SDK not retry what the governor repeats; of all else it says
// nothing.
func notThrottled(err error) aws.Ternary {
	if isThrottle(err) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
