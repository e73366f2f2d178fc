package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"faber/internal/prefect"
)

// sayDoubts logs what is probably not as the user meant it.
func (s *workerStart) sayDoubts() {
	for _, warning := range append(s.settings.Warnings(), startWarnings(s.std, &s.flags, s.settings)...) {
		s.log.Warn(warning)
	}
	for _, unknown := range unknownNames(s.std, s.settings) {
		if unknown.Nearest != "" {
			s.log.Warn(fmt.Sprintf("%s (%s) is no setting, nobody reads it: did you mean %s?", unknown.Name, unknown.Source, unknown.Nearest))
		}
	}
}

// checkAccess asks the API once whether it lets this worker in. A refusal ends
// the command: no worker gets better by waiting for another key. No answer does
// not: the API may come up later.
func (s *workerStart) checkAccess(ctx context.Context) error {
	err := s.client.CheckAccess(ctx)
	var access *prefect.AccessError
	switch {
	case errors.As(err, &access):
		return s.refusal(access)
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		s.log.Warn(fmt.Sprintf("Unable to reach the Prefect API while starting up; the worker will keep attempting to connect: %v", err))
		return nil
	}
	if s.settings.ServerVersionCheck {
		if err := s.client.CheckVersion(ctx); errors.Is(err, prefect.ErrIncompatible) {
			return &UserError{Message: err.Error(), Hint: "use a Prefect server of the same major version, or PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED=false to try anyway", Err: err}
		}
	}
	return nil
}

// refusal is an API that does not let the worker in, as the user sees it.
func (s *workerStart) refusal(access *prefect.AccessError) error {
	problem := &UserError{Message: access.Message, Hint: access.Hint, Code: exitUnauthorised, Err: access}
	if access.Subject != "URL" {
		return problem
	}
	problem.Code = exitUsage
	if parsed, err := url.Parse(s.settings.APIURL); err == nil && strings.Trim(parsed.Path, "/") == "" && parsed.User == nil {
		problem.Hint = "set PREFECT_API_URL to " + parsed.Scheme + "://" + parsed.Host + "/api: what answers there now is no API, the server's web page most likely"
	}
	return problem
}

// inferType takes the type from the pool when none was given.
func (s *workerStart) inferType(ctx context.Context) error {
	if s.flags.typ != "" {
		return nil
	}
	pool, err := s.client.ReadWorkPool(ctx, s.flags.pool)
	switch {
	case errors.Is(err, prefect.ErrNotFound):
		s.log.Warn(fmt.Sprintf("Work pool '%s' does not exist and no worker type was provided. Starting a process worker...", s.flags.pool))
		s.flags.typ = "process"
		return nil
	case err != nil:
		return s.typeUnknown(err)
	}
	s.log.Info(fmt.Sprintf("Discovered type '%s' for work pool '%s'.", pool.Type, s.flags.pool))
	s.flags.typ = pool.Type
	err = checkType(pool.Type)
	var problem *UserError
	if errors.As(err, &problem) {
		problem.Code = exitFailed // the pool's, not the command line's
	}
	return err
}

// typeUnknown is a pool that could not be read, as the user sees it.
func (s *workerStart) typeUnknown(err error) error {
	message := fmt.Sprintf("Unable to determine the type of work pool '%s': %s", s.flags.pool, err)
	var status *prefect.StatusError
	if !errors.As(err, &status) || status.Code >= 500 {
		message = fmt.Sprintf("Unable to reach the Prefect API to determine the type of work pool '%s': %s.", s.flags.pool, err)
	}
	return &UserError{Message: message, Hint: "Provide a worker type with '--type' to start a worker while the API is unavailable.", Err: err}
}

// noteQueues says when the queues that the worker serves give no flow runs for
// now. The pool itself is watched by the worker.
func (s *workerStart) noteQueues(ctx context.Context) {
	timed, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	queues, err := s.client.WorkQueues(timed, s.flags.pool, s.flags.queues)
	if err != nil {
		return // pool or queues may come later
	}
	var paused []string
	for _, queue := range queues {
		if queue.IsPaused {
			paused = append(paused, queue.Name)
		}
	}
	switch {
	case len(paused) == 0:
	case len(paused) == len(queues):
		scope := "All work queues"
		if len(s.flags.queues) > 0 {
			scope = "Specified work queue(s)"
		}
		s.log.Warn(fmt.Sprintf("%s in the work pool '%s' are currently paused. This worker will not execute any flow runs until the work queues are unpaused.", scope, s.flags.pool))
	default:
		s.log.Warn(fmt.Sprintf("Some work queues of the work pool '%s' are currently paused, and their flow runs are not executed: %s", s.flags.pool, strings.Join(paused, ", ")))
	}
}
