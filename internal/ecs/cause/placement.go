package cause

// placementRules are about room for a task: a call, failures[] and the end of a
// task may say them all.
var placementRules = []rule{
	{
		cause: "quota", codes: []string{"limitexceededexception"},
		any:     []string{"reached the limit on the number of", "concurrently running tasks", "vcpu limit"},
		verdict: Wait, of: Quota,
		hint: "Ask AWS for a higher Fargate quota of %s: the present quota is used up.",
		says: "You've reached the limit on the number of vCPUs you can run concurrently",
	},
	{
		cause:   "size_above_quota",
		any:     []string{"configuration is above your limit"},
		verdict: Crashed,
		hint:    "Lower 'cpu' of the job variables.",
		says:    "The requested CPU configuration is above your limit",
	},
	{
		cause:   "no_capacity",
		any:     []string{"capacity is unavailable", "no capacity"},
		verdict: Wait,
		hint:    "Add subnets in other availability zones.",
		says:    "Capacity is unavailable at this time. Please try again later or in a different availability zone",
	},
	{
		cause:   "no_container_instances",
		any:     []string{"no container instances were found"},
		verdict: Wait, of: Cluster,
		hint: "Register container instances with the cluster: %s has none.",
		says: "No Container Instances were found in your cluster.",
	},
	{
		cause: "instance_full", where: unstarted,
		any:     []string{"resource:"},
		verdict: Wait, of: Shortage,
		hint: "Add container instances: none has enough of %s left.",
		says: "RESOURCE:MEMORY",
	},
	{
		cause: "placement_constraint", where: unstarted,
		any:     []string{"placement constraint unsatisfied"},
		verdict: Crashed,
		hint:    "Correct the placement constraint in the task definition.",
		says:    "MemberOf placement constraint unsatisfied.",
	},
	{
		cause: "agent_disconnected", where: unstarted,
		reasons: []string{"agent"},
		any:     []string{"taskfailedtostart: agent"},
		verdict: Wait,
		hint:    "Restart the ECS agent of the container instance.",
		says:    "AGENT",
	},
	{
		cause: "instance_attribute", where: failuresOnly,
		reasons: []string{"attribute"},
		verdict: Crashed,
		hint:    "Add a container instance with the attributes that the task definition requires.",
		says:    "ATTRIBUTE",
	},
	{
		cause: "instance_missing", where: failuresOnly,
		reasons: []string{"missing", "inactive"},
		verdict: Crashed,
		hint:    "Name a registered container instance in the placement.",
		says:    "MISSING",
	},
}
