package ecs

import "strings"

// taskARN is arn:aws:ecs:<region>:<account>:task/<cluster>/<id>. Accounts that
// keep the old format leave the cluster out.
type taskARN struct {
	partition, region, account, cluster, id string
}

func parseTaskARN(arn string) (taskARN, bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "ecs" {
		return taskARN{}, false
	}
	path := strings.Split(parts[5], "/")
	if path[0] != "task" || len(path) < 2 || len(path) > 3 || path[len(path)-1] == "" {
		return taskARN{}, false
	}
	parsed := taskARN{partition: parts[1], region: parts[3], account: parts[4], id: path[len(path)-1]}
	if len(path) == 3 {
		parsed.cluster = path[1]
	}
	return parsed, true
}

// clusterARN is the ARN of the task's cluster, "" when the task's does not tell.
func (a taskARN) clusterARN() string {
	if a.cluster == "" {
		return ""
	}
	return strings.Join([]string{"arn", a.partition, "ecs", a.region, a.account, "cluster/" + a.cluster}, ":")
}

// place is where a task runs; all tasks of a place are seen with the same
// credentials.
func (a taskARN) place() string {
	return a.region + " " + a.account + " " + a.cluster
}

// splitPID cuts "cluster::taskArn" into its parts.
func splitPID(pid string) (cluster string, task taskARN, arn string, ok bool) {
	cluster, arn, found := strings.Cut(pid, pidSeparator)
	if !found || cluster == "" {
		return "", taskARN{}, "", false
	}
	task, ok = parseTaskARN(arn)
	return cluster, task, arn, ok
}

// isSecretARN tells whether ECS could take a secret's value from there.
func isSecretARN(arn string) bool {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return false
	}
	return parts[2] == "secretsmanager" && strings.HasPrefix(parts[5], "secret:") ||
		parts[2] == "ssm" && strings.HasPrefix(parts[5], "parameter/")
}
