package cause

import (
	"regexp"
	"strings"
)

// Kind is a kind of thing that a text may name.
type Kind string

// Kinds of things.
const (
	Action           Kind = "action"
	CapacityProvider Kind = "capacity provider"
	Cluster          Kind = "cluster"
	Command          Kind = "command"
	Container        Kind = "container"
	FileSystem       Kind = "file system"
	Image            Kind = "image"
	LogGroup         Kind = "log group"
	Operation        Kind = "operation"
	Parameter        Kind = "parameter"
	PassedRole       Kind = "passed role"
	Platform         Kind = "platform"
	Quota            Kind = "quota"
	Role             Kind = "role"
	Secret           Kind = "secret"
	SecurityGroup    Kind = "security group"
	Shortage         Kind = "resource of the instances"
	Size             Kind = "size"
	Subnet           Kind = "subnet"
)

// nouns stand for things that nobody named.
var nouns = map[Kind]string{
	Action:           "the action",
	CapacityProvider: "the capacity provider of the strategy",
	Cluster:          "the one that is set now",
	Command:          "the job's command",
	Container:        "the container",
	FileSystem:       "the EFS file system",
	Image:            "the image",
	LogGroup:         "the log group of the task definition",
	Operation:        "this",
	Parameter:        "the parameter",
	PassedRole:       "the task role and the execution role",
	Platform:         "the platform that the task definition asks for",
	Quota:            "vCPUs",
	Role:             "the role",
	Secret:           "the secret",
	SecurityGroup:    "the security group",
	Shortage:         "what the task asks for",
	Size:             "the present pair",
	Subnet:           "the subnet",
}

const nameEnd = `[^\s"',;:.)\]]`

// finders are tried in order; the first one's first group is the name.
var finders = map[Kind][]*regexp.Regexp{
	Action:           each(`not authorized to perform: ([\w*-]+:[\w*]+)`),
	CapacityProvider: each(`capacity provider '([^']+)'`),
	Cluster:          each(`arn:aws[\w-]*:ecs:[^\s"']*?:cluster/([\w-]+)`, `cluster '([^']+)'`),
	Command:          each(`exec: \\*"([^"\\]+)`),
	Container:        each(`container named (\S+) is not`, `container '([^']+)'`),
	FileSystem:       each(`\b(fs-[0-9a-f]+|fs-<[^>]+>)`),
	Image: each(
		`failed to resolve ref(?:erence)? "?([^\s"]+[^\s":])`,
		`pull access denied for ([^\s,]+)`,
		`repository (\S+) not found`, `not found in repository ([^\s,;]+)`,
		`https?://([^\s"]+?/v2/[^\s"]+?)/(?:manifests|blobs)\b`,
		`https?://([^\s"/]+)/v2/`, `https?://([^\s"/]+)/token`, `https?://(api\.ecr[^\s"/]*)`,
	),
	LogGroup: each(`log-group:([^\s:"',]+)`),
	Operation: each(
		`when calling the (\w+) operation`, `operation error (\w+: \w+)`, `throttled on (\w+:\w+)`,
	),
	Parameter:  each(`(arn:aws[\w-]*:ssm:(?:<[^>]+>|[^\s"',;])*`+nameEnd+`)`, `invalid ssm parameters: ([^\s;]+)`),
	PassedRole: each(`on resource: (arn:aws[\w-]*:iam::[^\s"',;]*` + nameEnd + `)`),
	Platform:   each(`(?:matching |for )?platform '?\{?(\w+/\w+)`, `no matching manifest for (\w+/[\w/]+)`),
	Quota:      each(`the number of ([\w ]+?) you can run concurrently`),
	Role: each(
		`(arn:aws[\w-]*:iam::[^\s"',;]*`+nameEnd+`)`, `assume the role '([^']+)'`, `assume the role (\S+) that`,
	),
	Secret: each(
		`fetch secret (\S+) from`, `secret with ARN '([^']+)'`, `on resource: (arn:aws[\w-]*:(?:secretsmanager|ssm):\S+)`,
		`(arn:aws[\w-]*:secretsmanager:[^\s"',;]*`+nameEnd+`)`,
	),
	SecurityGroup: each(`(?i)\b(sg-[0-9a-z]+|sg-<[^>]+>)`),
	Shortage:      each(`RESOURCE:([A-Z]+)`),
	Size:          each(`given values: (\d+ CPU ?, \d+ memory)`),
	Subnet:        each(`(?i)subnet ID '([^']+)'`, `(?i)\b(subnet-[0-9a-f]{8,})`),
}

// each compiles patterns. The words around a name may be written in any case.
func each(patterns ...string) []*regexp.Regexp {
	out := make([]*regexp.Regexp, len(patterns))
	for i, pattern := range patterns {
		out[i] = regexp.MustCompile("(?i)" + strings.TrimPrefix(pattern, "(?i)"))
	}
	return out
}

// find is the first thing of a kind that a text names.
func find(kind Kind, oneLine string) string {
	for _, finder := range finders[kind] {
		if found := finder.FindStringSubmatch(oneLine); found != nil {
			return found[1]
		}
	}
	return ""
}
