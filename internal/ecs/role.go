package ecs

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/uuid"
)

const sessionNameBase = "prefect-session-"

// renewBefore is how long before their end a role's credentials are renewed, so
// that no request leaves with some that end on the way.
const renewBefore = 5 * time.Minute

// role assumes a role anew whenever its session is about to end. It passes on
// everything that AssumeRole takes, and leaves out what was not configured, so
// that the role's own limits hold.
type role struct {
	sts   *sts.Client
	input sts.AssumeRoleInput
}

func newRole(from aws.Config, input *sts.AssumeRoleInput) aws.CredentialsProvider {
	r := &role{sts: sts.NewFromConfig(from), input: *input}
	if r.input.RoleSessionName == nil {
		r.input.RoleSessionName = aws.String(sessionNameBase + strings.ReplaceAll(uuid.NewString(), "-", "")[:8])
	}
	return aws.NewCredentialsCache(r, func(o *aws.CredentialsCacheOptions) {
		o.ExpiryWindow = renewBefore
		o.ExpiryWindowJitterFrac = 0.5
	})
}

// Retrieve assumes the role.
func (r *role) Retrieve(ctx context.Context) (aws.Credentials, error) {
	input := r.input
	out, err := r.sts.AssumeRole(ctx, &input)
	if err != nil {
		return aws.Credentials{}, err
	}
	if out.Credentials == nil {
		return aws.Credentials{}, errors.New("STS answered without credentials")
	}
	return aws.Credentials{
		AccessKeyID:     aws.ToString(out.Credentials.AccessKeyId),
		SecretAccessKey: aws.ToString(out.Credentials.SecretAccessKey),
		SessionToken:    aws.ToString(out.Credentials.SessionToken),
		Source:          "AssumeRole",
		CanExpire:       true,
		Expires:         aws.ToTime(out.Credentials.Expiration),
	}, nil
}
