package ecs

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// outcome remembers whether one of the tries of a call may have had its effect,
// although no answer said so. The answer to a later try, a refusal for example, says
// nothing of it.
type outcome struct{ unknown atomic.Bool }

type outcomeKey struct{}

// watching has the tries of calls under a context noted.
func (o *outcome) watching(ctx context.Context) context.Context {
	return context.WithValue(ctx, outcomeKey{}, o)
}

// noteTry takes in how one try of a call went.
func noteTry(ctx context.Context, err error) {
	if o, ok := ctx.Value(outcomeKey{}).(*outcome); ok && err != nil && maybeDone(err) {
		o.unknown.Store(true)
	}
}

// maybeDone reports whether a call that failed may have had its effect: it was sent,
// and AWS has not refused it.
func maybeDone(err error) bool {
	if isThrottle(err) {
		return false
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusInternalServerError {
		return true
	}
	return errorCode(err) == "" && !neverSent(err)
}

// neverSent reports whether a call without an answer did not leave this machine: it
// lacked parameters, credentials or a connection.
func neverSent(err error) bool {
	var (
		invalid  smithy.InvalidParamsError
		unsigned *v4.SigningError
		network  *net.OpError
	)
	switch {
	case errors.As(err, &invalid), errors.As(err, &unsigned), strings.Contains(err.Error(), "get identity"):
		return true
	default:
		return errors.As(err, &network) && network.Op == "dial"
	}
}
