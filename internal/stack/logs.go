package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

// Line is one line of a log group.
type Line struct {
	At      time.Time
	Stream  string
	Message string

	id string
}

// IsMetric says that a line is for CloudWatch to read: the worker's metrics, which
// it writes among its lines in the embedded metric format, once a minute.
func (l Line) IsMetric() bool { return strings.HasPrefix(l.Message, `{"_aws":`) }

// ErrNoLogGroup means that there is no such log group.
var ErrNoLogGroup = errors.New("the log group is not there")

// ReadLogs calls fn for each line of a log group from a moment on, oldest first.
func (s *Stack) ReadLogs(ctx context.Context, group string, from time.Time, fn func(Line)) error {
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(s.Logs, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: aws.String(group), StartTime: aws.Int64(from.UnixMilli()),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		var missing *logstypes.ResourceNotFoundException
		switch {
		case errors.As(err, &missing):
			return fmt.Errorf("%w: %s", ErrNoLogGroup, group)
		case err != nil:
			return fmt.Errorf("read the log group %s: %w", group, err)
		}
		for _, event := range page.Events {
			fn(Line{
				At: time.UnixMilli(aws.ToInt64(event.Timestamp)), Stream: aws.ToString(event.LogStreamName),
				Message: aws.ToString(event.Message), id: aws.ToString(event.EventId),
			})
		}
	}
	return nil
}

const (
	// lookBack is for how long lines may come late: a log driver sends them in
	// batches, and CloudWatch orders by the time in them.
	lookBack = 30 * time.Second
	// askEvery paces Follow. FilterLogEvents is allowed 5 times a second and account
	// in most regions, and others share that.
	// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
	askEvery = 2 * time.Second
)

// FollowLogs calls fn for each line of a log group from a moment on, those to come
// as well, until ctx ends, which is no error.
func (s *Stack) FollowLogs(ctx context.Context, group string, from time.Time, fn func(Line)) error {
	seen := map[string]time.Time{}
	newest := from
	for {
		since := newest.Add(-lookBack)
		if since.Before(from) {
			since = from
		}
		err := s.ReadLogs(ctx, group, since, func(line Line) {
			if _, told := seen[line.key()]; told {
				return
			}
			seen[line.key()] = line.At
			if line.At.After(newest) {
				newest = line.At
			}
			fn(line)
		})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whoever follows a log ends that some time
		}
		if err != nil {
			return err
		}
		for id, at := range seen {
			if at.Before(newest.Add(-2 * lookBack)) {
				delete(seen, id)
			}
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// key tells lines apart, also where no id does.
func (l Line) key() string {
	if l.id != "" {
		return l.id
	}
	return fmt.Sprintf("%d %s %s", l.At.UnixMilli(), l.Stream, l.Message)
}
