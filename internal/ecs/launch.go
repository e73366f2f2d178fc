package ecs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/fair"
	"faber/internal/launch"
)

// launchPatience is how long a launch waits for its turns at AWS. Then it says so,
// and its place is kept for when it is called again.
const launchPatience = 20 * time.Second

// pidSeparator stands between cluster and task in an infrastructure_pid. ARNs
// hold single colons.
const pidSeparator = "::"

// Launch starts the job's task. ECS itself sees to it that a claim gets one
// task: the client token names the claim, and a call that differs from the
// first one is answered with the first one's task.
func (l *Launcher) Launch(ctx context.Context, job launch.Job) (launch.Handle, error) {
	c, err := parseConfiguration(job)
	if err != nil {
		return launch.Handle{}, &launch.Failure{Kind: launch.FailurePermanent, Message: err.Error(), Hint: "Correct the job variables.", Err: err}
	}
	now := time.Now()
	ctx = withCaller(ctx, caller{
		who: fair.Who{Queue: job.WorkQueue, Deployment: job.DeploymentID}, ticket: job.ClaimID, since: now, until: now.Add(l.options.patience),
	})
	var tries outcome // of RunTask
	handle, err := l.launch(ctx, c, job, &tries)
	if err != nil {
		failure := launchFailure(err, c, c.clusterOrDefault())
		failure.Unknown = tries.unknown.Load()
		return launch.Handle{}, failure
	}
	return handle, nil
}

// clusterOrDefault is the cluster that a request goes to.
func (c *configuration) clusterOrDefault() string {
	if cluster := c.askedCluster(); cluster != "" {
		return cluster
	}
	return "default"
}

func (c *configuration) askedCluster() string {
	if cluster := stringField(c.request, "cluster"); cluster != "" {
		return cluster
	}
	return c.cluster
}

func (l *Launcher) launch(ctx context.Context, c *configuration, job launch.Job, tries *outcome) (launch.Handle, error) {
	on, err := l.clients.get(ctx, c.credentials)
	if err != nil {
		return launch.Handle{}, err
	}
	for _, warning := range c.warnings {
		if l.warned.first(owner(job) + warning) {
			job.Log(slog.LevelWarn, warning)
		}
	}
	began := time.Now()
	handle, definitionARN, err := l.tryLaunch(ctx, on, c, job, tries)
	if err != nil && (l.forgetStale(err, on, c, definitionARN, began) || c.relieveNow(err)) {
		// The refused call had no effect, so the token is still free.
		handle, _, err = l.tryLaunch(ctx, on, c, job, tries)
	}
	if err != nil && c.userDefinition() == "" && isInactive(err) {
		// Whoever deregistered it, the next call registers it again.
		err = &launch.Failure{Kind: launch.FailureRetry, Message: describe(err), Err: err}
	}
	return handle, err
}

// isInactive reports whether ECS refuses a definition that was deregistered.
func isInactive(err error) bool {
	return errorCode(err) == "ClientException" && strings.Contains(strings.ToLower(errorMessage(err)), "taskdefinition is inactive")
}

// forgetStale drops what ECS says is no longer so: a definition that somebody
// deregistered, subnets that somebody deleted. It reports whether a launch with
// what is so now may go better.
func (l *Launcher) forgetStale(err error, on *clients, c *configuration, definitionARN string, began time.Time) bool {
	message := strings.ToLower(errorMessage(err))
	switch {
	case isInactive(err):
		l.forgetDefinition(definitionARN)
		if c.userDefinition() != "" {
			return false
		}
		l.ended.first(definitionARN) // it may be shown as active for a little longer
		return true
	case errorCode(err) == "InvalidParameterException" && strings.Contains(message, "subnet") && !isThrottle(err):
		key := networkKey(on, c.vpcID)
		known, cached := l.networks.get(key)
		l.networks.forget(func(known string, _ network) bool { return known == key })
		return cached && known.readAt.Before(began) && len(c.network) == 0
	default:
		return false
	}
}

// relieveNow has the next try move variables into the definition, after ECS found
// the overrides too long: how exactly it counts is not documented.
func (c *configuration) relieveNow(err error) bool {
	if c.relieved || c.userDefinition() != "" || !strings.Contains(strings.ToLower(errorMessage(err)), "container overrides length") || errorCode(err) == "" {
		return false
	}
	c.relieved = true
	return true
}

func (l *Launcher) tryLaunch(ctx context.Context, on *clients, c *configuration, job launch.Job, tries *outcome) (_ launch.Handle, definitionARN string, _ error) {
	d, err := l.definitionFor(ctx, on, c, job)
	if err != nil {
		return launch.Handle{}, "", err
	}
	defer l.launching.use(d.arn)()
	request, err := l.prepare(c, job, d)
	if err != nil {
		return launch.Handle{}, d.arn, err
	}
	job.Log(slog.LevelInfo, fmt.Sprintf("Using ECS task definition '%s'...", d.name()))
	if err := l.addNetwork(ctx, on, c, d, request); err != nil {
		return launch.Handle{}, d.arn, err
	}
	input, err := decodeRequest(request)
	if err != nil {
		return launch.Handle{}, d.arn, refused(err, "Correct task_run_request in the work pool's base job template.")
	}
	if err := checkOverrides(request); err != nil {
		return launch.Handle{}, d.arn, refused(err, tooLongHint)
	}
	job.Log(slog.LevelInfo, "Creating ECS task run...")
	logRequest(job, "Task run request", request)
	handle, err := l.runTask(ctx, on, c, job, input, request, tries)
	return handle, d.arn, err
}

// logRequest writes what is sent to ECS to the run's log, for those who debug it,
// without the values of secrets. Prefect's worker shows the first six characters of
// its own credentials, which is more of a password than anybody needs.
func logRequest(job launch.Job, what string, request map[string]any) {
	shown := copyObject(request)
	overrides, _ := shown["overrides"].(map[string]any)
	for _, override := range append(objects(overrides["containerOverrides"]), objects(shown["containerDefinitions"])...) {
		for _, variable := range objects(override["environment"]) {
			if launch.SecretName(stringField(variable, "name")) && text(variable["value"]) != "" {
				variable["value"] = launch.Masked
			}
		}
	}
	if encoded, err := json.MarshalIndent(shown, "", "  "); err == nil {
		job.Log(slog.LevelDebug, what+string(encoded))
	}
}

// prepare makes the request, all but its network, and refuses what cannot work.
func (l *Launcher) prepare(c *configuration, job launch.Job, d *definition) (map[string]any, error) {
	if err := c.fits(d); err != nil {
		return nil, err
	}
	if !empty(c.request["capacityProviderStrategy"]) && l.warned.first("strategy "+owner(job)) {
		l.logger.Warn("Found capacityProviderStrategy. Removing launchType from task run request.", "flow_run", job.FlowRunID)
	}
	request, err := c.buildRequest(job, d)
	if err != nil {
		return nil, refused(err, "Correct the job variables.")
	}
	for _, note := range c.attemptNotes(job, d) {
		job.Log(slog.LevelInfo, note)
	}
	return request, l.checkPlaintext(job, d, request)
}

func (l *Launcher) runTask(ctx context.Context, on *clients, c *configuration, job launch.Job, input *awsecs.RunTaskInput, request map[string]any, tries *outcome) (launch.Handle, error) {
	body, err := encode(request)
	if err != nil {
		return launch.Handle{}, fmt.Errorf("encode the request: %w", err)
	}
	tags := tagsOf(input.Tags)
	l.asked.put(job.FlowRunID, tags)
	defer l.asked.forget(func(run string, _ map[string]string) bool { return run == job.FlowRunID })
	out, err := on.ecs.RunTask(tries.watching(ctx), input, sending(body))
	var conflict *types.ConflictException
	if errors.As(err, &conflict) && len(conflict.ResourceIds) > 0 {
		return l.adopt(ctx, on, c, job, conflict.ResourceIds[0])
	}
	if err != nil {
		return launch.Handle{}, err
	}
	if len(out.Tasks) == 0 {
		return launch.Handle{}, runFailure(out.Failures)
	}
	handle := l.launched(on, c, job, out.Tasks[0])
	if mark := aws.ToString(input.StartedBy); mark != startedBy(job.Pool.ID) {
		l.ownMarks.put(mark, job.Pool.ID)
	}
	l.tags.put(aws.ToString(out.Tasks[0].TaskArn), tags)
	job.Log(slog.LevelInfo, fmt.Sprintf("Created ECS task '%s'", aws.ToString(out.Tasks[0].TaskArn)))
	return handle, nil
}

// adopt takes over the task that an earlier, different call for the same claim
// has started.
func (l *Launcher) adopt(ctx context.Context, on *clients, c *configuration, job launch.Job, id string) (launch.Handle, error) {
	job.Log(slog.LevelInfo, fmt.Sprintf("ECS task '%s' was already created for this claim", id))
	out, err := on.ecs.DescribeTasks(ctx, &awsecs.DescribeTasksInput{
		Cluster: aws.String(c.clusterOrDefault()),
		Tasks:   []string{id},
	})
	if err == nil && len(out.Tasks) > 0 {
		return l.launched(on, c, job, out.Tasks[0]), nil
	}
	if _, ok := parseTaskARN(id); !ok {
		// Without its cluster the task cannot be named; the next call will be
		// answered in the same way.
		return launch.Handle{}, &launch.Failure{
			Kind: launch.FailureRetry, Message: fmt.Sprintf("ECS task '%s' exists for this claim, but cannot be described yet.", id), Err: err,
		}
	}
	return l.launched(on, c, job, types.Task{TaskArn: aws.String(id)}), nil
}

// launched names a task as Prefect does: by the configured cluster, so that
// the name matches what users look for, else by the cluster's ARN.
func (l *Launcher) launched(on *clients, c *configuration, job launch.Job, task types.Task) launch.Handle {
	arn := aws.ToString(task.TaskArn)
	cluster := c.cluster
	if cluster == "" || cluster != c.askedCluster() {
		cluster = aws.ToString(task.ClusterArn)
	}
	if parsed, ok := parseTaskARN(arn); ok {
		if cluster == "" {
			cluster = parsed.clusterARN()
		}
		l.places.put(parsed.place(), place{on, job.Pool.ID})
	}
	at := time.Now()
	if task.CreatedAt != nil {
		at = *task.CreatedAt
	}
	return launch.Handle{
		PID:        cluster + pidSeparator + arn,
		FlowRunID:  job.FlowRunID,
		ClaimID:    job.ClaimID,
		WorkerName: job.WorkerName,
		StartedAt:  at,
	}
}
