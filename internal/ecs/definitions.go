package ecs

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/launch"
)

// definitionFor gives a job its task definition: the user's, or one with the
// content that the configuration asks for.
func (l *Launcher) definitionFor(ctx context.Context, on *clients, c *configuration, job launch.Job) (*definition, error) {
	if arn := c.userDefinition(); arn != "" {
		d, err := l.userDefinition(ctx, on, arn, job)
		if err == nil && len(c.definition) > 0 {
			l.warnOfUnused(job)
		}
		return d, err
	}
	b, err := l.buildDefinition(c, job, on.region)
	if err != nil {
		return nil, refused(err, "Correct the job variables that shape the task definition.")
	}
	if err := c.fits(b.as("", false)); err != nil { // before there is a revision that nobody can use
		return nil, err
	}
	if b, err = l.fitOverrides(c, job, b); err != nil {
		return nil, refused(err, tooLongHint)
	}
	if len(b.moved) > 0 && l.warned.first("moved "+owner(job)) {
		job.Log(slog.LevelInfo, fmt.Sprintf("The environment is too long for the overrides of a task, of which ECS takes %d characters: "+
			"what the runs of a deployment have in common is set in the task definition.", maxOverrides))
	}
	found, err := l.register(ctx, on, c, b, job)
	if err != nil {
		return nil, err
	}
	return b.as(found.arn, found.ours), nil
}

// warnOfUnused tells which job variables have no effect beside a task
// definition of the user's own.
func (l *Launcher) warnOfUnused(job launch.Job) {
	job.Log(slog.LevelWarn, "Skipping task definition construction since a task definition ARN is provided.")
	template := l.template.Load()
	if template == nil {
		return
	}
	if names := placeholders((*template)["task_definition"]); len(names) > 0 {
		job.Log(slog.LevelWarn, "The following job variable references in the task definition template will be ignored: "+strings.Join(names, ", "))
	}
}

var placeholder = regexp.MustCompile(`\{\{\s*([\p{L}\p{N}_.\-\[\]$]+)\s*\}\}`)

// placeholders lists what a template refers to, sorted.
func placeholders(template any) []string {
	var names []string
	switch template := template.(type) {
	case string:
		for _, match := range placeholder.FindAllStringSubmatch(template, -1) {
			names = append(names, match[1])
		}
	case map[string]any:
		for _, inner := range template {
			names = append(names, placeholders(inner)...)
		}
	case []any:
		for _, inner := range template {
			names = append(names, placeholders(inner)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// userDefinition reads a definition that the launcher did not make. A revision
// never changes, so it is read once; a family's latest is read each time.
func (l *Launcher) userDefinition(ctx context.Context, on *clients, name string, job launch.Job) (*definition, error) {
	key := on.key + " " + name
	if known, ok := l.revisions.get(key); ok {
		return known, nil
	}
	if strings.HasPrefix(name, "arn:") {
		job.Log(slog.LevelInfo, fmt.Sprintf("Retrieving ECS task definition '%s'...", name))
	} else {
		logFamily(job, name)
	}
	described, err := l.describeDefinition(ctx, on, name)
	if err != nil {
		return nil, fmt.Errorf("describe task definition %s: %w", name, err)
	}
	if described == nil {
		return nil, &configError{
			message: fmt.Sprintf("An error occurred (ClientException) when calling the DescribeTaskDefinition operation: Unable to describe task definition. (There is no '%s'.)", name),
			class:   "ClientException",
			hint:    "Set task_definition_arn to a definition that exists in this account and region, or remove it.",
		}
	}
	d := definitionOf(described.TaskDefinition)
	d.asked = name
	if strings.Contains(name[strings.LastIndex(name, "/")+1:], ":") {
		l.revisions.put(key, d)
	}
	return d, nil
}

func definitionOf(t *types.TaskDefinition) *definition {
	d := &definition{
		arn:           aws.ToString(t.TaskDefinitionArn),
		networkMode:   string(t.NetworkMode),
		executionRole: aws.ToString(t.ExecutionRoleArn),
		containers:    t.ContainerDefinitions,
		cpu:           aws.ToString(t.Cpu),
		memory:        aws.ToString(t.Memory),
	}
	for _, compatibility := range t.RequiresCompatibilities {
		d.compatibilities = append(d.compatibilities, string(compatibility))
	}
	return d
}

func logFamily(job launch.Job, family string) {
	job.Log(slog.LevelInfo, fmt.Sprintf("Retrieving most recent active revision from ECS task family '%s'...", family))
}

// describeDefinition reads a definition; nil when there is none.
func (l *Launcher) describeDefinition(ctx context.Context, on *clients, name string) (*awsecs.DescribeTaskDefinitionOutput, error) {
	out, err := on.ecs.DescribeTaskDefinition(ctx, &awsecs.DescribeTaskDefinitionInput{
		TaskDefinition: aws.String(name),
		Include:        []types.TaskDefinitionField{types.TaskDefinitionFieldTags},
	})
	if code := errorCode(err); code == "ClientException" && strings.Contains(strings.ToLower(errorMessage(err)), "unable to describe task definition") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if out.TaskDefinition == nil {
		return nil, nil
	}
	return out, nil
}
