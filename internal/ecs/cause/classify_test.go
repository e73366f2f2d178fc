package cause

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// mutations change what differs between two accounts, regions and moments, and
// how a page or a program has written it down.
var mutations = map[string]func(*rand.Rand, string) string{
	"account ids": func(r *rand.Rand, s string) string {
		return replace(s, `\b\d{11,12}\b`, func(string) string { return fmt.Sprintf("%012d", r.Int64N(1_000_000_000_000)) })
	},
	"regions": func(r *rand.Rand, s string) string {
		others := []string{"us-gov-west-1", "me-central-1", "ap-southeast-5", "eu-south-2"}
		return replace(s, `\b(us|eu|ap)-(east|west|central|southeast|northeast)-\d\b`, func(string) string { return others[r.IntN(len(others))] })
	},
	"ids": func(r *rand.Rand, s string) string {
		return replace(s, `\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{17,64}\b`, func(id string) string {
			return replace(id, `[0-9a-f]`, func(string) string { return string("0123456789abcdef"[r.IntN(16)]) })
		})
	},
	"ARNs": func(r *rand.Rand, s string) string {
		return replace(s, `arn:aws:[\w:*-]+`, func(string) string {
			return fmt.Sprintf("arn:aws-cn:%s:cn-north-1:%012d:x/%d", []string{"iam:", "ecs", "logs"}[r.IntN(3)], r.Int64N(1_000_000_000_000), r.IntN(1000))
		})
	},
	"upper case": func(_ *rand.Rand, s string) string { return strings.ToUpper(s) },
	"lower case": func(_ *rand.Rand, s string) string { return strings.ToLower(s) },
	"mixed case": func(r *rand.Rand, s string) string {
		return strings.Map(func(c rune) rune {
			if r.IntN(2) == 0 {
				return unicode.ToUpper(c)
			}
			return c
		}, s)
	},
	"white space": func(r *rand.Rand, s string) string {
		return replace(s, ` `, func(string) string { return []string{" ", "  ", "\n", "\n\t", "\r\n  "}[r.IntN(5)] })
	},
	"round quotes": func(_ *rand.Rand, s string) string { return strings.NewReplacer("'", "’", `"`, "“").Replace(s) },
}

func replace(s, pattern string, with func(string) string) string {
	return regexp.MustCompile(pattern).ReplaceAllStringFunc(s, with)
}

// TestMutatedTexts classifies the whole corpus as other accounts would see it.
func TestMutatedTexts(t *testing.T) {
	t.Parallel()
	entries, changed := corpus(t), map[string]map[string]bool{}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		for name, mutate := range mutations {
			if changed[name] == nil {
				changed[name] = map[string]bool{}
			}
			for _, e := range entries {
				report := e.report()
				if report.Message = mutate(r, e.Message); report.Message != e.Message {
					changed[name][e.Message] = true
				}
				if got := Classify(report); got.Cause != e.Cause || got.Verdict != e.Verdict {
					t.Errorf("seed %d, other %s: %q is %s, %s, not %s, %s", seed, name, report.Message, got.Cause, got.Verdict, e.Cause, e.Verdict)
				}
			}
		}
	}
	all := map[string]bool{}
	for name, messages := range changed {
		t.Logf("other %s: %d texts", name, len(messages))
		if len(messages) == 0 {
			t.Errorf("other %s change nothing", name)
		}
		if name == "account ids" || name == "regions" || name == "ids" || name == "ARNs" {
			maps.Copy(all, messages)
		}
	}
	if len(all) < 20 {
		t.Errorf("names change in %d texts", len(all))
	}
}

// TestUnknownTexts makes texts of words that AWS uses in its refusals and that
// decide nothing, and of any letters. They are never guessed at.
func TestUnknownTexts(t *testing.T) {
	t.Parallel()
	words := []string{
		"ClientException", "An error occurred", "the task", "service", "container", "exceeds", "invalid", "unexpected", "status", "the value", "parameter", "for",
		"of", "is", "not", "allowed", "deployment", "tag", "volume", "state", "arn:aws:ecs:eu-west-1:111122223333:task/rate-exceeded/cannotpull", "400",
		"https://example.com/no-capacity/throttling", "(Service: AmazonECS; Status Code: 400)", "retry", "later", "policy", "version", "family",
	}
	rapid.Check(t, func(t *rapid.T) {
		where := rapid.SampledFrom([]Where{Call, Failures, Stopped}).Draw(t, "where")
		message := strings.Join(rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(words), rapid.StringMatching(`[a-z]{12,30}`)), 1, 12).Draw(t, "words"), " ")
		got := Classify(Report{Where: where, Code: "ClientException", StopCode: "TaskFailedToStart", Message: message})
		if got.Cause != Unknown || got.Verdict != Crashed || got.Permanent() || got.Hint != unknownHint || got.Resource != "" || !strings.Contains(got.Text, message) {
			t.Fatalf("%q is %+v", message, got)
		}
	})
}

// TestNamesDecideNothing gives an image that is missing, a role that may not be
// passed and a secret names of other causes.
func TestNamesDecideNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		other := rules()[rapid.IntRange(0, len(rules())-1).Draw(t, "rule")]
		phrases := append(append([]string{"x"}, other.any...), other.codes...)
		name := regexp.MustCompile(`[^a-z0-9-]+`).ReplaceAllString(rapid.SampledFrom(phrases).Draw(t, "name"), "-")
		for _, test := range []struct {
			where Where
			text  string
			want  Name
		}{
			{Stopped, "CannotPullContainerError: failed to resolve ref docker.io/" + name + ":" + "1: pull access denied, repository does not exist", "image_pull_denied"},
			{Stopped, "failed to fetch secret arn:aws:secretsmanager:eu-west-1:111122223333:secret:" + name + " from secrets manager: AccessDeniedException", "secret_denied"},
			{Call, "User: arn:aws:sts::111122223333:assumed-role/" + name + "/x is not authorized to perform: iam:PassRole on resource: arn:aws:iam::111122223333:role/" + name, "pass_role_denied"},
		} {
			if got := Classify(Report{Where: test.where, Message: test.text}); got.Cause != test.want {
				t.Fatalf("%s is %s", test.text, got.Cause)
			}
		}
	})
}

// TestCallerKnows fills in what the text leaves out, and no more.
func TestCallerKnows(t *testing.T) {
	t.Parallel()
	known := map[Kind]string{Cluster: "blue", Image: "flows:1"}
	got := Classify(Report{Where: Call, Code: "ClusterNotFoundException", Message: "Cluster not found.", Known: known})
	if got.Resource != "blue" || !strings.Contains(got.Hint, "none called blue") {
		t.Errorf("%+v", got)
	}
	got = Classify(Report{Where: Stopped, Message: "CannotPullContainerError: pull access denied for other:2, …", Known: known})
	if got.Resource != "other:2" {
		t.Errorf("%+v", got)
	}
	if got := Classify(Report{Where: Call, Message: "Unable to describe task definition.", Known: known}); got.Resource != "" {
		t.Errorf("%+v", got)
	}
}

// TestWhoSpeaksCounts: the same words mean another thing from a call, in
// failures[] and of a task that has ended.
func TestWhoSpeaksCounts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		report Report
		cause  Name
		want   Verdict
	}{
		{"a throttled call", Report{Where: Call, Message: "Rate exceeded"}, "rate_limited", Again},
		{"the token would get the same failures again", Report{Where: Failures, Message: "Rate exceeded"}, "rate_limited", Wait},
		{"a task that met throttling has ended", Report{Where: Stopped, Message: "ResourceInitializationError: ThrottlingException: Rate exceeded"}, "rate_limited", GiveBack},
		{"a registry that limits", Report{Where: Stopped, Message: "CannotPullContainerError: toomanyrequests: Rate exceeded"}, "image_rate_limited", GiveBack},
		{"nobody answered", Report{Where: Call, Lost: true, Message: "EOF"}, "no_answer", Again},
		{"a server's fault of any name", Report{Where: Call, Code: "Weird", Status: 502, Message: "bad gateway"}, "server_error", Again},
		{"a client's fault of any name", Report{Where: Call, Code: "Weird", Status: 400, Message: "bad request"}, Unknown, Crashed},
		{"the agent", Report{Where: Failures, Code: "AGENT"}, "agent_disconnected", Wait},
		{"a text about an agent", Report{Where: Failures, Code: "OTHER", Message: "agent"}, Unknown, Crashed},
		{"somebody wrote a reason", Report{Where: Stopped, StopCode: "UserInitiated", Message: "Your Spot Task was interrupted."}, "stopped_by_request", Crashed},
		{"Spot, by its code alone", Report{Where: Stopped, StopCode: "SpotInterruption"}, "spot_interruption", GiveBack},
		{"the host, by its code alone", Report{Where: Stopped, StopCode: "TerminationNotice"}, "host_lost", GiveBack},
		{"a container's own reason", Report{Where: Stopped, Message: "Essential container in task exited", Reasons: []string{"OutOfMemoryError: Container killed due to memory usage"}}, "out_of_memory", Crashed},
		{"nothing is said", Report{Where: Stopped, StopCode: "TaskFailedToStart"}, Unknown, Crashed},
	} {
		if got := Classify(test.report); got.Cause != test.cause || got.Verdict != test.want {
			t.Errorf("%s: %s, %s", test.name, got.Cause, got.Verdict)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, e := range corpus(f) {
		f.Add(string(e.Where), e.Code, e.Message, e.StopCode, e.Note)
	}
	f.Fuzz(func(t *testing.T, where, code, message, stopCode, reason string) {
		got := Classify(Report{Where: Where(where), Code: code, Message: message, StopCode: stopCode, Reasons: []string{reason}})
		for _, said := range []string{code, message, reason} {
			if !strings.Contains(got.Text, said) {
				t.Errorf("%q is lost in %q", said, got.Text)
			}
		}
		if got.Cause == "" || got.Verdict == "" || got.Hint == "" {
			t.Errorf("%+v", got)
		}
		if got.Resource != "" && !strings.Contains(got.Hint, got.Resource) {
			t.Errorf("the hint %q does not name %q", got.Hint, got.Resource)
		}
	})
}
