// Package ecs launches flow runs as ECS tasks, on Fargate above all. It is one
// launch.Launcher; what it knows of tasks it reads from ECS, and what it
// remembers (definitions, subnets, clients) only saves calls.
package ecs

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/prometheus/client_golang/prometheus"

	"faber/internal/launch"
)

// Type is the work pool type that the launcher serves.
const Type = "ecs"

// DefaultImage is the image of flow runs whose deployment names none.
const DefaultImage = "prefecthq/prefect:3.8.8-python3.11"

//go:embed base_job_template.json
var baseJobTemplate []byte

// Options say how a Launcher works. The zero value is usable.
type Options struct {
	Logger *slog.Logger // nil discards

	Region string // region of work pools whose credentials name none; "" is the machine's
	Image  string // "" is DefaultImage

	// SecretARN and AuthStringSecretARN hold the worker's Prefect API key and
	// auth string, for pools that name no secret of their own.
	SecretARN           string
	AuthStringSecretARN string
	// RefusePlaintextCredentials fails launches that would send either of them
	// in clear text.
	RefusePlaintextCredentials bool

	// Queue is the name or URL of the SQS queue that EventBridge feeds with
	// task state changes, read with the machine's own credentials. "" gives no
	// hints.
	Queue       string
	QueueRegion string // "" is the machine's
	// QueueOptional says that nobody asked for this queue: its name is the usual
	// one, and it is no mistake when it does not exist.
	QueueOptional bool

	Metrics prometheus.Registerer // of the calls to AWS; nil counts for nobody

	// LoadConfig finds the machine's AWS configuration; nil is the SDK's way.
	LoadConfig LoadConfig

	maxBackoff   time.Duration // of the SDK's retries
	queueWait    time.Duration // before a missing queue is looked for again
	queueBackoff time.Duration // the first pause after an error of the queue
	extendEvery  time.Duration // how often messages are held back while the worker is busy
	patience     time.Duration // of a launch that waits for its turn
	askTags      time.Duration // between two questions for tags
}

// Launcher launches ECS tasks. Make one with New.
type Launcher struct {
	options Options
	logger  *slog.Logger
	clients *clientSets

	lookups    keyedLock
	registered cache[revision]    // by clients, family and hash
	contents   cache[string]      // by clients and ARN: hashes of revisions
	revisions  cache[*definition] // by clients and ARN: definitions of users
	networks   cache[network]
	places     cache[place]
	logOptions cache[logStream] // by definition and container
	warned     onceSet
	tags       cache[map[string]string] // of tasks, by ARN
	found      cache[origin]            // of tasks that Find met, by ARN
	stopped    cache[ended]             // of tasks that are over, by ARN
	ownMarks   cache[string]            // startedBy that users set, with the pool that was launched for
	writers    cache[logWriter]         // of ended tasks, by ARN: their logs are asked for next
	asked      cache[map[string]string] // tags of tasks that ECS is just asked for, by flow run
	askedTags  atomic.Int64             // when tags were last asked for, in Unix nanoseconds

	template        atomic.Pointer[map[string]any] // the pool's job_configuration, with its placeholders
	poolCredentials atomic.Pointer[credentials]    // nil when the pool has none
	ended           onceSet                        // definitions that were deregistered
	launching       tally                          // definitions that launches are just using

	hints  chan launch.Hint
	events eventCounters
	fresh  freshness
	cancel context.CancelFunc
	done   sync.WaitGroup
}

var (
	_ launch.Launcher  = (*Launcher)(nil)
	_ launch.Placer    = (*Launcher)(nil)
	_ launch.Templated = (*Launcher)(nil)

	_ launch.MemoryLadder = (*Launcher)(nil)
	_ launch.Historian    = (*Launcher)(nil)
)

// place is where tasks were launched, and how they are seen.
type place struct {
	on     *clients
	poolID string
}

// Sizes of what is remembered. Each is well above what one worker uses.
const (
	maxDefinitions = 4096
	maxPlaces      = 256
	maxTaskTags    = 4096
)

// New makes a launcher. It reads no AWS configuration before it is needed, and
// fails only on options that can never work.
func New(o Options) (*Launcher, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Image = cmp.Or(o.Image, DefaultImage)
	if o.LoadConfig == nil {
		o.LoadConfig = config.LoadDefaultConfig
	}
	o.maxBackoff = cmp.Or(o.maxBackoff, callMaxBackoff)
	o.queueWait = cmp.Or(o.queueWait, missingQueueWait)
	o.queueBackoff = cmp.Or(o.queueBackoff, firstQueueBackoff)
	o.extendEvery = cmp.Or(o.extendEvery, extendEvery)
	o.patience = cmp.Or(o.patience, launchPatience)
	o.askTags = cmp.Or(o.askTags, askTagsEvery)
	for name, arn := range map[string]string{"API key": o.SecretARN, "auth string": o.AuthStringSecretARN} {
		if arn != "" && !isSecretARN(arn) {
			return nil, fmt.Errorf("secret of the %s: %q is not the ARN of a Secrets Manager secret or SSM parameter", name, arn)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Launcher{
		options: o,
		logger:  o.Logger,
		clients: &clientSets{
			load: o.LoadConfig, region: o.Region, backoff: o.maxBackoff, known: cache[*clients]{limit: maxClientSets},
			govern: newGovernors(newCallMetrics(o.Metrics)),
		},
		registered: cache[revision]{limit: maxDefinitions},
		contents:   cache[string]{limit: maxDefinitions},
		revisions:  cache[*definition]{limit: maxDefinitions},
		networks:   cache[network]{limit: maxPlaces},
		places:     cache[place]{limit: maxPlaces},
		logOptions: cache[logStream]{limit: maxDefinitions},
		tags:       cache[map[string]string]{limit: maxTaskTags},
		asked:      cache[map[string]string]{limit: maxPlaces},
		found:      cache[origin]{limit: maxTaskTags},
		stopped:    cache[ended]{limit: maxTaskTags},
		ownMarks:   cache[string]{limit: maxPlaces},
		writers:    cache[logWriter]{limit: maxPlaces},
		cancel:     cancel,
	}
	if o.Queue != "" {
		l.registerEvents(o.Metrics)
		l.hints = make(chan launch.Hint)
		l.done.Go(func() {
			defer close(l.hints)
			newConsumer(l).run(ctx)
		})
	}
	return l, nil
}

// Type is "ecs".
func (l *Launcher) Type() string { return Type }

// DefaultBaseJobTemplate is the template of new ECS work pools.
func (l *Launcher) DefaultBaseJobTemplate() json.RawMessage { return DefaultBaseJobTemplate() }

// DefaultBaseJobTemplate is the template of new ECS work pools.
func DefaultBaseJobTemplate() json.RawMessage {
	return append(json.RawMessage(nil), baseJobTemplate...)
}

// Check reports everything that can be found wrong with a job without asking
// AWS.
func (l *Launcher) Check(job launch.Job) error {
	c, err := parseConfiguration(job)
	if err != nil {
		return err
	}
	d, problems := l.checkBuilt(c, job)
	problems = append(problems, c.checkNetwork())
	request, err := c.buildRequest(job, d)
	if err != nil {
		return refuse(append(problems, err)...)
	}
	if _, err := decodeRequest(request); err != nil {
		problems = append(problems, err)
	}
	if c.userDefinition() != "" { // else they were made to fit, or found not to
		problems = append(problems, checkOverrides(request))
	}
	if tags, _ := request["tags"].([]any); len(tags) > maxTags {
		problems = append(problems, fmt.Errorf("the task would have %d tags, and ECS allows %d: use fewer labels", len(tags), maxTags))
	}
	return refuse(problems...)
}

// checkBuilt makes the job's definition, as far as it is not the user's, and says
// what is wrong with it.
func (l *Launcher) checkBuilt(c *configuration, job launch.Job) (*definition, []error) {
	d := &definition{arn: c.userDefinition()}
	if d.arn != "" {
		return d, []error{c.checkLadder(d)}
	}
	b, err := l.buildDefinition(c, job, "")
	if err != nil {
		return d, []error{err}
	}
	problems := []error{checkSize(c, b), c.checkDefinition(b.as("", false)), c.checkLadder(b.as("", false))}
	fitted, err := l.fitOverrides(c, job, b)
	if err != nil {
		return b.as("", false), append(problems, err)
	}
	return fitted.as("", false), problems
}

// Preview is what a launch would send to ECS, as far as it is known without
// asking AWS: the revision's number and a network that is looked up are not.
type Preview struct {
	TaskDefinition map[string]any `json:"task_definition,omitempty"` // absent when the user names one
	RunTask        map[string]any `json:"run_task"`
}

// Preview shows what Launch would send for a job.
func (l *Launcher) Preview(job launch.Job) (*Preview, error) {
	c, err := parseConfiguration(job)
	if err != nil {
		return nil, err
	}
	p := &Preview{}
	d := &definition{arn: c.userDefinition()}
	if d.arn == "" {
		b, err := l.buildDefinition(c, job, l.options.Region)
		if err != nil {
			return nil, err
		}
		if b, err = l.fitOverrides(c, job, b); err != nil {
			return nil, err
		}
		p.TaskDefinition = b.shape
		d = b.as(b.family, false)
	}
	if p.RunTask, err = c.buildRequest(job, d); err != nil {
		return nil, err
	}
	if len(c.network) > 0 {
		p.RunTask["networkConfiguration"] = map[string]any{"awsvpcConfiguration": c.network}
	}
	_, err = decodeRequest(p.RunTask)
	return p, err
}

// Place names the cluster and the region that a job's task is going to run in.
func (l *Launcher) Place(job launch.Job) string {
	c, err := parseConfiguration(job)
	if err != nil {
		return ""
	}
	return placeOf(c.clusterOrDefault(), l.clients.regionOf(c.credentials))
}

// SetTemplate tells the work pool's job_configuration as it is written, with its
// placeholders. It is only read to name the job variables that have no effect;
// without it they are not named.
func (l *Launcher) SetTemplate(jobConfiguration map[string]any) {
	template := copyObject(jobConfiguration)
	l.template.Store(&template)
}

// Hints tells what the event queue says; nil without a queue.
func (l *Launcher) Hints() <-chan launch.Hint {
	if l.hints == nil {
		return nil
	}
	return l.hints
}

// Close stops reading the event queue and closes idle connections. Tasks
// outlive the worker, so there is nothing that needs grace.
func (l *Launcher) Close(time.Duration) error {
	l.cancel()
	l.done.Wait()
	l.clients.close()
	return nil
}
