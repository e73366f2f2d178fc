package cause

// stoppedOnly, callOnly: who may say a thing.
var (
	stoppedOnly  = []Where{Stopped}
	callOnly     = []Where{Call}
	failuresOnly = []Where{Failures}
	unstarted    = []Where{Failures, Stopped}
)

// endRules are the ends of tasks that had begun to run. Somebody who stops a task
// may write any text as a reason, so his stop code comes before all texts.
var endRules = []rule{
	{
		cause: "stopped_by_request", where: stoppedOnly, stops: []string{"userinitiated"},
		verdict: Crashed,
		hint:    "Look up in CloudTrail who called StopTask.",
		says:    "Task stopped by user",
	},
	{
		cause: "spot_interruption", where: stoppedOnly, stops: []string{"spotinterruption"},
		any:     []string{"spot task was interrupted"},
		verdict: GiveBack,
		hint:    "Give runs that must not be interrupted a capacity_provider_strategy with a base of FARGATE.",
		says:    "Your Spot Task was interrupted.",
	},
	{
		cause: "host_lost", where: stoppedOnly, stops: []string{"terminationnotice", "infrastructurehealth"},
		any:     []string{"performing maintenance on the underlying infrastructure", "host ec2"},
		verdict: GiveBack,
		hint:    "Nothing is to be done: the next launch gets another host.",
		says:    "ECS is performing maintenance on the underlying infrastructure hosting the task",
	},
	{
		cause: "out_of_memory", where: stoppedOnly,
		any:     []string{"outofmemory"},
		verdict: Crashed,
		hint:    "Raise 'memory' of the job variables.",
		says:    "OutOfMemoryError: Container killed due to memory usage",
	},
}

// throttleRules are what has no effect, or an unknown one. A registry that limits
// pulls speaks nearly the same words: it says so of an image.
var throttleRules = []rule{
	{
		cause: "image_rate_limited", where: stoppedOnly,
		any:     []string{"toomanyrequests", "pull rate limit", "429 too many requests"},
		verdict: GiveBack, of: Image,
		hint: "Mirror %s into ECR, whose limits are your own.",
		says: "toomanyrequests: You have reached your pull rate limit",
	},
	{
		cause: "rate_limited",
		codes: []string{
			"throttlingexception", "throttling", "throttledexception", "toomanyrequestsexception", "requestlimitexceeded",
			"requestthrottled", "requestthrottledexception", "slowdown", "bandwidthlimitexceeded",
		},
		any:     []string{"rate exceeded", "request limit exceeded", "too many requests"},
		verdict: Again, of: Operation,
		hint: "Launch fewer flows at once: AWS limits how often %s may be called.",
		says: "Rate exceeded",
	},
	{
		cause: "registration_conflict", where: callOnly,
		any:     []string{"too many concurrent attempts"},
		verdict: Again, of: Operation,
		hint: "Nothing is to be done: AWS takes one revision of a family at a time, and %s is repeated.",
		says: "Too many concurrent attempts to create a new revision of the specified family.",
	},
	{
		cause: "credentials_expired", where: callOnly,
		codes:   []string{"expiredtoken", "expiredtokenexception", "requestexpired"},
		any:     []string{"token included in the request is expired"},
		verdict: Again,
		hint:    "Renew the session token if it stands in the work pool's aws_credentials.",
		says:    "The security token included in the request is expired",
	},
	{
		cause: "credentials_missing", where: callOnly,
		any:     []string{"unable to locate credentials", "get credentials", "refresh cached credentials"},
		verdict: Again,
		hint:    "Give the worker a task role.",
		says:    "Unable to locate credentials",
	},
	{
		cause: "server_error", where: callOnly, server: true,
		codes: []string{
			"serverexception", "internalserverexception", "internalservererror", "internalfailure", "internalerror",
			"serviceunavailable", "serviceunavailableexception", "unavailable", "requesttimeout", "requesttimeoutexception",
			"updateinprogressexception", "resourceinuseexception",
		},
		any:     []string{"service unavailable. please try again later"},
		verdict: Again, of: Operation,
		hint: "Nothing is to be done: the fault is AWS's own, and %s is repeated.",
		says: "Service Unavailable. Please try again later.",
	},
	{
		cause: "no_answer", where: callOnly, lost: true,
		verdict: Again,
		hint:    "Give the worker a route to the AWS endpoints of its region.",
		says:    "dial tcp: i/o timeout",
	},
}
