package ecs

import (
	"errors"
	"net"
	"net/http"
	"strings"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// unknownOutcome reports whether a failed launch may have started its task all the
// same: its RunTask was sent, and AWS has not refused it.
func unknownOutcome(err error) bool {
	var failed *smithy.OperationError
	if !errors.As(err, &failed) || failed.OperationName != "RunTask" {
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
