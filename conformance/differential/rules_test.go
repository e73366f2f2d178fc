//go:build conformance

package differential

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A rule allows one leaf of one body to differ, and says what must stand there.
type rule struct {
	body   string // the operation
	path   string // the leaf, exactly but for a name that is *
	when   func(python leaves) bool
	holds  func(f facts, python, faber string) bool
	reason string
}

// facts are what the rules hold faber's own values against.
type facts struct {
	run       string // id of the flow run
	claim     string // id of the Pending state by which faber claimed it
	pool      string // id of the work pool
	onFargate bool   // the task's definition is one for Fargate
}

func always(leaves) bool { return true }

// without tells that Python's body has no such leaf.
func without(path string) func(leaves) bool {
	return func(python leaves) bool { return python.at(path) == absent }
}

// is tells that Python's body has that value.
func is(path, value string) func(leaves) bool {
	return func(python leaves) bool { return python.at(path) == value }
}

// onSpot tells that Python's body may get capacity that is taken away again, for a
// run that can come back through the poll, which takes a deployment, and that
// nobody says what the run's process is to do then. Without a launch type and a
// strategy the cluster's default decides, which may be Spot where Fargate may be.
func onSpot(python leaves) bool {
	spot, chosen, said, deployed := false, false, false, false
	for path, value := range python {
		deployed = deployed || strings.HasSuffix(path, "[name=PREFECT__DEPLOYMENT_ID].value")
		chosen = chosen || path == "$.launchType" || strings.HasPrefix(path, "$.capacityProviderStrategy[")
		spot = spot || strings.HasPrefix(path, "$.capacityProviderStrategy[") && value == quote("FARGATE_SPOT")
		said = said || strings.HasSuffix(path, "[name=PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR].value")
	}
	return (spot || !chosen) && !said && deployed
}

// about reports whether the rule is about a leaf.
func (r rule) about(path string) bool {
	before, after, wild := strings.Cut(r.path, "*")
	name, fits := strings.CutPrefix(path, before)
	name, ends := strings.CutSuffix(name, after)
	return path == r.path || wild && fits && ends && !strings.Contains(name, "]")
}

// leaf is the leaf of two bodies that the rule is about.
func (r rule) leaf(python, faber leaves) string {
	for _, path := range slices.Sorted(maps.Keys(union(python, faber))) {
		if r.about(path) {
			return path
		}
	}
	return r.path
}

var hash = regexp.MustCompile(`^"[0-9a-f]{64}"$`)

// rules are all differences that bodies may have.
var rules = []rule{
	{
		"RegisterTaskDefinition", "$.tags[key=faber/definition-hash].value", always,
		func(_ facts, python, faber string) bool { return python == absent && hash.MatchString(faber) },
		"A definition is found again by the hash of its content, after a restart too; Python's worker forgets what it registered.",
	},
	{
		"RunTask", "$.clientToken", always,
		func(f facts, _, faber string) bool {
			sum := sha256.Sum256([]byte(f.run + "/" + f.claim))
			return faber == quote(hex.EncodeToString(sum[:]))
		},
		"The token is made of run and claim, so that repeating a launch whose answer was lost starts no second task; Python's is random.",
	},
	{
		"RunTask", "$.startedBy", without("$.startedBy"),
		func(f facts, _, faber string) bool { return faber == quote("faber/"+f.pool) },
		"It is the one filter by which ListTasks finds the pool's tasks, for the worker that takes over. A startedBy of the user's stays.",
	},
	{
		"RunTask", "$.cluster", is("$.cluster", `""`),
		func(_ facts, _, faber string) bool { return faber == absent },
		"A cluster without a name is the default one.",
	},
	{
		"RunTask", "$.overrides.taskRoleArn", is("$.overrides.taskRoleArn", `""`),
		func(_ facts, _, faber string) bool { return faber == absent },
		"A role without a name is none.",
	},
	{
		"RunTask", "$.tags[key=faber/claim].value", always,
		func(f facts, python, faber string) bool { return python == absent && faber == quote(f.claim) },
		"It names the claim that the task belongs to: a run that is launched again has tasks of several.",
	},
	{
		"RunTask", "$.overrides.containerOverrides[name=*].environment[name=PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR].value", onSpot,
		func(f facts, python, faber string) bool {
			if !f.onFargate {
				return python == absent && faber == absent
			}
			return python == absent && faber == quote("relinquish")
		},
		"faber launches a run again whose Spot capacity is taken away, so the run's own process must not reschedule it as well.",
	},
}

func quote(text string) string { return compact(text) }

// judgement is what became of the comparison of two bodies.
type judgement struct {
	fields      int // leaves of both sides
	unexplained []difference
	used        []int // indices of rules
}

// judge compares one body of both workers. A rule whose condition is met must
// hold: what faber adds on purpose may not be missing either.
func judge(f facts, op string, python, faber json.RawMessage) (judgement, error) {
	p, err := flatten(python)
	if err != nil {
		return judgement{}, fmt.Errorf("%s of python: %w", op, err)
	}
	b, err := flatten(faber)
	if err != nil {
		return judgement{}, fmt.Errorf("%s of faber: %w", op, err)
	}
	j := judgement{fields: len(union(p, b))}
	ruled := map[string]bool{}
	for i, r := range rules {
		if r.body != op || !r.when(p) {
			continue
		}
		path := r.leaf(p, b)
		ruled[path] = true
		j.used = append(j.used, i)
		if !r.holds(f, p.at(path), b.at(path)) {
			j.unexplained = append(j.unexplained, difference{path, p.at(path), b.at(path)})
		}
	}
	for _, d := range compare(p, b) {
		if !ruled[d.path] {
			j.unexplained = append(j.unexplained, d)
		}
	}
	return j, nil
}

// A wording allows the message of a refusal to differ.
type wording struct {
	name   string
	allows func(python, faber string) bool
	reason string
}

const refusal = "Failed to submit flow run to infrastructure: "

var wordings = []wording{
	{
		"the same", func(python, faber string) bool { return python == faber },
		"",
	},
	{
		"more follows", follows,
		"Class and text are Python's; where, and what to do about it, comes behind.",
	},
	{
		"pydantic's report", reportOf("ValidationError: ", pydanticNoise),
		"Class, field and message are pydantic's; its Python types and the URL of its documentation are left out.",
	},
	{
		"botocore's report", reportOf("ParamValidationError: ", botocoreNoise),
		"Class and parameter are botocore's; its Python types and its list of all parameters are left out.",
	},
	{
		"at its cause", func(python, faber string) bool {
			return slices.ContainsFunc(causes, func(c cause) bool { return c.python.MatchString(python) && strings.Contains(faber, c.faber) })
		},
		"faber looks at all it is going to send before it asks AWS, and names the place; Python's worker goes on until something gives way.",
	},
}

// A cause is what Python's worker stumbles over, and what faber says of it.
type cause struct {
	python *regexp.Regexp
	faber  string
}

var causes = []cause{
	{regexp.MustCompile(`Fargate only supports network mode`), "ValueError: Found network mode 'host' which is not compatible with launch type 'FARGATE'."},
	{regexp.MustCompile(`TypeError: string indices must be integers, not 'str'$`), "job_configuration.task_definition.containerDefinitions[0].environment: must be a list"},
	{regexp.MustCompile(`ValueError: Subnets \{'0': 'subnet-a'\} not found`), "job_configuration.network_configuration.subnets: must be a list"},
}

// follows tells that faber's text is Python's with more behind it.
func follows(python, faber string) bool {
	rest, ok := strings.CutPrefix(faber, strings.TrimSuffix(python, "."))
	return ok && strings.ContainsAny(rest[:min(1, len(rest))], ".\n(") || ok && strings.HasPrefix(rest, " (")
}

var (
	pydanticNoise = regexp.MustCompile(`(?s) \[type=[a-z_]+, input_value=.*?, input_type=\w+\]\n    For further information visit https://errors\.pydantic\.dev/\S+`)
	botocoreNoise = regexp.MustCompile(`(, value: .*, type: <class '\w+'>, valid types: .*|, must be one of: .*)`)
)

// reportOf tells that both are a report of the same class, and that each line of
// Python's begins one of faber's, in the same order, once the noise is taken out.
func reportOf(class string, noise *regexp.Regexp) func(python, faber string) bool {
	return func(python, faber string) bool {
		if !strings.HasPrefix(python, refusal+class) {
			return false
		}
		lines := strings.Split(faber, "\n")
		for want := range strings.SplitSeq(noise.ReplaceAllString(python, ""), "\n") {
			at := slices.IndexFunc(lines, func(line string) bool { return line == want || strings.HasPrefix(line, want+" (") })
			if at < 0 {
				return false
			}
			lines = lines[at+1:]
		}
		return true
	}
}

// wordingOf is the first wording that allows faber's message.
func wordingOf(python, faber string) int {
	return slices.IndexFunc(wordings, func(w wording) bool { return w.allows(python, faber) })
}

// A mend is something that Python's worker cannot run and faber can: it sends a
// request that AWS (or botocore, before it) refuses, or stumbles itself.
type mend struct {
	name   string
	python *regexp.Regexp // what Python's worker says; nil: it says nothing
	reason string
}

const (
	typesMend      = "numbers of other types"
	imageMend      = "no image"
	familyMend     = "family that AWS refuses"
	tagsMend       = "tags that AWS refuses"
	launchTypeMend = "no launch type"
	nullTagsMend   = "tags of other types"
	keyMend        = "key secret without a key"
	containerMend  = "container without a name"
	externalMend   = "definition for EXTERNAL"
	overrideMend   = "no override for the run's container"
)

var mends = []mend{
	{
		typesMend, regexp.MustCompile(`Parameter validation failed:(\nInvalid type for parameter [\w.\[\]]+, value: (None|[\d.]+), type: <class '(NoneType|str|int|float)'>, valid types: <class '(int|str)'>)+$`),
		"What is written as text and is a number, or the other way round, has one meaning, and null has none; botocore wants the exact type.",
	},
	{
		imageMend, regexp.MustCompile(`Container\.image should not be null or empty`),
		"The variable's own description says that the image defaults to Prefect's; Python's worker leaves it out when it is null.",
	},
	{
		familyMend, regexp.MustCompile(`Family contains invalid characters`),
		"Python's worker makes a valid family of the name, and then uses the name.",
	},
	{
		tagsMend, regexp.MustCompile(`Duplicate tag keys found|Invalid tag (key|value)`),
		"Tags are cut to what AWS allows, and of two that become the same the last one stays: a label is no reason not to run.",
	},
	{
		launchTypeMend, regexp.MustCompile(`Task definition does not support launch_type FARGATE`),
		"Without a launch type the request says FARGATE; the definition of Python's worker does not.",
	},
	{
		nullTagsMend, regexp.MustCompile(`TypeError: ('NoneType' object is not iterable|text must be str, bytes or bytearray, not int)`),
		"Tags of null are no tags, and numbers are texts.",
	},
	{
		keyMend, regexp.MustCompile(`KeyError: 'PREFECT_API_KEY'`),
		"Python's worker takes the key out of an environment that has none.",
	},
	{
		containerMend, regexp.MustCompile(`Container\.name should not be null or empty`),
		"A container whose name is null is one without a name, and gets it.",
	},
	{
		externalMend, regexp.MustCompile(`Task definition does not have 'FARGATE' in 'requiresCompatibilities' and cannot be used with launch type 'EXTERNAL'`),
		"A definition that was made for EXTERNAL instances is good for them.",
	},
	{
		overrideMend, nil,
		"Without an override the container is told neither its flow run nor what to execute: Python's worker starts a task that does nothing.",
	},
}
