package ecs

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"faber/internal/launch"
)

// Tags that Prefect and this launcher read back from tasks and definitions.
const (
	tagFlowRunID  = "prefect.io/flow-run-id"
	tagWorkerName = "prefect.io/worker-name"
	tagPoolID     = "prefect.io/work-pool-id"
	tagClaim      = "faber/claim"
	tagHash       = "faber/definition-hash"

	// tagDeregister is misspelt on purpose: Prefect's own observer looks for it
	// like this.
	tagDeregister = "prefect.io/degregister-task-definition"
)

// Limits of ECS.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

type tag struct{ key, value string }

var (
	tagQuotes = regexp.MustCompile(`'+`)
	tagOthers = regexp.MustCompile(`[^a-zA-Z0-9_./=+:@-]+`)
	dashRuns  = regexp.MustCompile(`-{2,}`)
)

// tagText makes a text fit for a tag, in the same way as Prefect does, so that
// filters on tags keep working. Case is kept.
func tagText(s string) string {
	s = tagQuotes.ReplaceAllString(s, "-")
	s = norm.NFKC.String(decodeEntities(norm.NFKC.String(s)))
	s = strings.ReplaceAll(s, "'", "")
	s = dropDigitCommas(s)
	s = tagOthers.ReplaceAllString(s, "-")
	return strings.Trim(dashRuns.ReplaceAllString(s, "-"), "-")
}

// dropDigitCommas turns 1,000 into 1000.
func dropDigitCommas(s string) string {
	runes := []rune(s)
	var b strings.Builder
	for i, r := range runes {
		between := i > 0 && i+1 < len(runes) && unicode.IsDigit(runes[i-1]) && unicode.IsDigit(runes[i+1])
		if r == ',' && between {
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// runTags are the tags of a job's task: those of the request, then the labels,
// which win, then the claim. Keys that sanitising leaves empty are dropped, and
// of keys that it makes equal the last is kept: ECS refuses both.
func runTags(requested []tag, job launch.Job, extra ...tag) []tag {
	var raw []tag
	for _, t := range requested {
		if _, isLabel := job.Labels[t.key]; !isLabel {
			raw = append(raw, t)
		}
	}
	for _, key := range labelNames(job) {
		raw = append(raw, tag{key, job.Labels[key]})
	}
	raw = append(raw, extra...)
	raw = append(raw, tag{tagClaim, job.ClaimID})

	var out []tag
	position := map[string]int{}
	for _, t := range raw {
		clean := tag{shorten(tagText(t.key), maxTagKey), shorten(tagText(t.value), maxTagValue)}
		if clean.key == "" {
			continue
		}
		if at, known := position[clean.key]; known {
			out[at] = clean
			continue
		}
		position[clean.key] = len(out)
		out = append(out, clean)
	}
	return out
}

// labelNames are the names of a job's labels in their order, and behind them
// those that have none.
func labelNames(job launch.Job) []string {
	names := slices.Clone(job.LabelNames)
	for _, name := range sortedKeys(job.Labels) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// shorten cuts a sanitised text, which is ASCII, to the limit of ECS.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.TrimRight(s[:limit], "-")
}

// requestedTags reads the tags of a templated request: a list of key and
// value, or an object.
func (c *configuration) requestedTags(value any) []tag {
	var out []tag
	if object, ok := value.(map[string]any); ok {
		for _, key := range c.keysOf(object, "task_run_request", "tags") {
			if object[key] != nil {
				out = append(out, tag{key, text(object[key])})
			}
		}
		return out
	}
	for _, item := range objects(value) {
		if item["value"] != nil {
			out = append(out, tag{stringField(item, "key"), text(item["value"])})
		}
	}
	return out
}

func tagsAsList(tags []tag) []any {
	out := make([]any, len(tags))
	for i, t := range tags {
		out[i] = map[string]any{"key": t.key, "value": t.value}
	}
	return out
}
