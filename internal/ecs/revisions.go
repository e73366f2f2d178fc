package ecs

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/launch"
)

const (
	// revisionsSearched is how many revisions of a family are looked through for
	// one with the wanted content. Contents that alternate are among the newest.
	revisionsSearched = 10
	// registerTries is how often a revision is registered while others register
	// one of the same family. Whoever comes first may have registered this one.
	registerTries = 4
	registerPause = 500 * time.Millisecond
)

// revision is a registered task definition that has a wanted content.
type revision struct {
	arn  string
	ours bool // registered by a worker like this one, as its hash tells
}

// contentKey names the content of a definition as whoever may see it.
func contentKey(on *clients, family, hash string) string { return on.key + " " + family + " " + hash }

// register returns an active revision with exactly this content: one used
// before, one of the family's newest, else a new one. One caller per family at a
// time; the others then find what it registered.
func (l *Launcher) register(ctx context.Context, on *clients, c *configuration, b *built, job launch.Job) (revision, error) {
	key := contentKey(on, b.family, b.hash)
	if known, ok := l.registered.get(key); ok {
		return known, nil
	}
	unlock, err := l.lookups.lock(ctx, "family "+on.key+" "+b.family)
	if err != nil {
		return revision{}, err
	}
	defer unlock()
	if known, ok := l.registered.get(key); ok {
		return known, nil
	}
	found, err := l.findOrRegister(ctx, on, c, b, job)
	if err == nil {
		l.registered.put(key, found)
	}
	return found, err
}

// findOrRegister looks for a revision before it registers one, and again each
// time that ECS refuses because somebody else registers one just now.
func (l *Launcher) findOrRegister(ctx context.Context, on *clients, c *configuration, b *built, job launch.Job) (revision, error) {
	var last error
	for try := 1; ; try++ {
		found, err := l.findRevision(ctx, on, c, b, job)
		if err != nil || found.arn != "" {
			return found, withLastWord(err, last)
		}
		job.Log(slog.LevelInfo, "Registering ECS task definition...")
		logRequest(job, "Task definition request", b.shape)
		arn, err := l.registerNew(ctx, on, b)
		if err == nil {
			return revision{arn, true}, nil
		}
		if try == registerTries || !concurrent(err) || ctx.Err() != nil {
			return revision{}, fmt.Errorf("register task definition %s: %w", b.family, withLastWord(err, last))
		}
		last = err
		longest := min(time.Duration(try)*registerPause, l.options.maxBackoff)
		pause(ctx, longest/2+rand.N(longest/2+1))
	}
}

// concurrent reports whether somebody else registers a revision of the family.
func concurrent(err error) bool {
	return err != nil && errorCode(err) == "ClientException" && strings.Contains(strings.ToLower(errorMessage(err)), "too many concurrent attempts")
}

// findRevision looks for a revision with the content among the newest of the
// family; one without an ARN is none. Its hash tells, if it was registered by a
// worker like this one. Whoever asks for it may have the latest of any origin,
// when all its fields are equal. A worker that may not look registers a revision
// instead.
func (l *Launcher) findRevision(ctx context.Context, on *clients, c *configuration, b *built, job launch.Job) (revision, error) {
	logFamily(job, b.family)
	latest, err := l.describeDefinition(ctx, on, b.family)
	if err != nil {
		if transient(err) {
			return revision{}, fmt.Errorf("describe task definition %s: %w", b.family, err)
		}
		l.logger.Warn("cannot look for a task definition to use again", "family", b.family, "error", err)
		if c.matchLatest {
			job.Log(slog.LevelWarn, fmt.Sprintf("Failed to retrieve task definition for family '%s'. Error: %s", b.family, describe(err)))
		}
		return revision{}, nil
	}
	if latest == nil || latest.TaskDefinition.Status != types.TaskDefinitionStatusActive {
		return revision{}, nil
	}
	arn := aws.ToString(latest.TaskDefinition.TaskDefinitionArn)
	switch {
	case l.ended.has(arn): // it is shown as active for a little longer
	case l.noteContent(on, latest) == b.hash:
		return revision{arn, true}, nil
	case c.matchLatest && l.matches(b, latest, job):
		return revision{arn, false}, nil
	}
	return l.findEarlier(ctx, on, b, arn)
}

// matches reports whether a definition of any origin is the wanted one.
func (l *Launcher) matches(b *built, latest *awsecs.DescribeTaskDefinitionOutput, job launch.Job) bool {
	fields := difference(b.shape, latest.TaskDefinition)
	if len(fields) > 0 {
		job.Log(slog.LevelDebug, fmt.Sprintf("The generated task definition and the retrieved task definition '%s' are not equal: they differ in %s.",
			aws.ToString(latest.TaskDefinition.TaskDefinitionArn), strings.Join(fields, ", ")))
	}
	return len(fields) == 0
}

// noteContent remembers which content a revision has, and returns its hash: ""
// for a revision of another origin.
func (l *Launcher) noteContent(on *clients, d *awsecs.DescribeTaskDefinitionOutput) string {
	arn, hash := aws.ToString(d.TaskDefinition.TaskDefinitionArn), tagsOf(d.Tags)[tagHash]
	l.contents.put(on.key+" "+arn, hash)
	if key := contentKey(on, aws.ToString(d.TaskDefinition.Family), hash); hash != "" && !l.ended.has(arn) {
		if _, known := l.registered.get(key); !known {
			l.registered.put(key, revision{arn, true})
		}
	}
	return hash
}

// findEarlier looks through the revisions before the latest one. What a revision
// holds never changes, so each is read once.
func (l *Launcher) findEarlier(ctx context.Context, on *clients, b *built, latest string) (revision, error) {
	arns, err := l.newestRevisions(ctx, on, b.family)
	if err != nil {
		if transient(err) {
			return revision{}, fmt.Errorf("list task definitions of family %s: %w", b.family, err)
		}
		if l.warned.first("list definitions") {
			l.logger.Warn("cannot look for earlier revisions of a task definition: contents that alternate in one family are registered again and again",
				"error", err, "hint", "grant the worker's role ecs:ListTaskDefinitions")
		}
		return revision{}, nil
	}
	for _, arn := range arns {
		if arn == latest || l.ended.has(arn) {
			continue
		}
		hash, err := l.contentOf(ctx, on, arn)
		if err != nil {
			return revision{}, err
		}
		if hash == b.hash {
			return revision{arn, true}, nil
		}
	}
	return revision{}, nil
}

// contentOf is the hash of a revision's content, "" when it tells none.
func (l *Launcher) contentOf(ctx context.Context, on *clients, arn string) (string, error) {
	if hash, known := l.contents.get(on.key + " " + arn); known {
		return hash, nil
	}
	d, err := l.describeDefinition(ctx, on, arn)
	switch {
	case err != nil && transient(err):
		return "", fmt.Errorf("describe task definition %s: %w", arn, err)
	case err != nil || d == nil || d.TaskDefinition.Status != types.TaskDefinitionStatusActive:
		return "", nil
	}
	return l.noteContent(on, d), nil
}

// newestRevisions lists the family's newest active revisions.
func (l *Launcher) newestRevisions(ctx context.Context, on *clients, family string) ([]string, error) {
	var arns []string
	input := &awsecs.ListTaskDefinitionsInput{
		FamilyPrefix: aws.String(family), Status: types.TaskDefinitionStatusActive, Sort: types.SortOrderDesc, MaxResults: aws.Int32(revisionsSearched),
	}
	for {
		out, err := on.ecs.ListTaskDefinitions(ctx, input)
		if err != nil {
			return nil, err
		}
		for _, arn := range out.TaskDefinitionArns {
			if strings.Contains(arn, "task-definition/"+family+":") {
				arns = append(arns, arn)
			}
		}
		if len(arns) >= revisionsSearched || aws.ToString(out.NextToken) == "" {
			return arns[:min(len(arns), revisionsSearched)], nil
		}
		input.NextToken = out.NextToken
	}
}

// registerNew registers a revision, with its hash as a tag. Where the worker
// may not tag, it does without: then a restart registers once more.
func (l *Launcher) registerNew(ctx context.Context, on *clients, b *built) (string, error) {
	input := *b.input
	input.Tags = append(slices.Clip(input.Tags), types.Tag{Key: aws.String(tagHash), Value: aws.String(b.hash)})
	out, err := on.ecs.RegisterTaskDefinition(ctx, &input)
	if err != nil && errorCode(err) == "AccessDeniedException" && strings.Contains(errorMessage(err), "TagResource") {
		l.logger.Warn("the worker may not tag task definitions: after each restart they are registered again", "hint", "grant the worker's role ecs:TagResource")
		out, err = on.ecs.RegisterTaskDefinition(ctx, b.input)
	}
	if err != nil {
		return "", err
	}
	return aws.ToString(out.TaskDefinition.TaskDefinitionArn), nil
}

// forgetDefinition drops what is known of a revision that is no longer active.
func (l *Launcher) forgetDefinition(arn string) {
	l.registered.forget(func(_ string, known revision) bool { return known.arn == arn })
	l.revisions.forget(func(_ string, known *definition) bool { return known.arn == arn })
}
