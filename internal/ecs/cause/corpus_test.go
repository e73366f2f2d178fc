package cause

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// An entry is a message as somebody saw it in public, and what it means.
type entry struct {
	Source    string  `json:"source"` // where it was seen
	Where     Where   `json:"where"`
	Operation string  `json:"operation"`
	Code      string  `json:"code"`
	StopCode  string  `json:"stop_code"`
	Message   string  `json:"message"` // to the letter, what the source left out or masked included
	Cause     Name    `json:"cause"`
	Verdict   Verdict `json:"verdict"`
	Resource  string  `json:"resource"` // "" when the message names none
	Note      string  `json:"note"`
}

func (e entry) report() Report {
	return Report{Where: e.Where, Operation: e.Operation, Code: e.Code, StopCode: e.StopCode, Message: e.Message}
}

func corpus(t testing.TB) []entry {
	t.Helper()
	data, err := os.ReadFile("testdata/corpus.json")
	if err != nil {
		t.Fatal(err)
	}
	var entries []entry
	if err := json.Unmarshal(data, &entries); err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestCorpus(t *testing.T) {
	t.Parallel()
	for _, e := range corpus(t) {
		got := Classify(e.report())
		if got.Cause != e.Cause || got.Verdict != e.Verdict || got.Resource != e.Resource {
			t.Errorf("%s\n%s\n got %s, %s, %q\nwant %s, %s, %q", e.Source, e.Message, got.Cause, got.Verdict, got.Resource, e.Cause, e.Verdict, e.Resource)
		}
		if e.Resource != "" && !strings.Contains(got.Hint, e.Resource) {
			t.Errorf("%s: the hint %q does not name %s", e.Source, got.Hint, e.Resource)
		}
		if !strings.Contains(got.Text, e.Message) {
			t.Errorf("%s: the text is %q, of\n%s", e.Source, got.Text, e.Message)
		}
	}
}

// TestCorpusIsWide holds what the corpus is worth: messages that differ, of many
// causes, from many places, and one at least for each line of the table.
func TestCorpusIsWide(t *testing.T) {
	t.Parallel()
	messages, sources, causes := map[string]bool{}, map[string]bool{}, map[Name]bool{}
	for _, e := range corpus(t) {
		messages[strings.ToLower(strings.Join(strings.Fields(e.Message), " "))] = true
		causes[e.Cause] = true
		sources[e.Source] = true
		if !strings.HasPrefix(e.Source, "https://") {
			t.Errorf("%q is no address", e.Source)
		}
	}
	t.Logf("%d messages, %d causes, %d sources", len(messages), len(causes), len(sources))
	for what, has := range map[string][2]int{"messages": {len(messages), 80}, "causes": {len(causes), 25}, "sources": {len(sources), 40}} {
		if has[0] < has[1] {
			t.Errorf("%d %s, not %d", has[0], what, has[1])
		}
	}
	for _, r := range rules() {
		// That nobody answers is told by no text.
		if !causes[r.cause] && r.cause != "no_answer" {
			t.Errorf("nobody was seen to meet %s", r.cause)
		}
		delete(causes, r.cause)
	}
	for cause := range causes {
		t.Errorf("%s is not in the table", cause)
	}
}

// TestHintsAreOneStep holds the form of hints: one sentence, no alternatives, and
// the resource in it where the cause is about one.
func TestHintsAreOneStep(t *testing.T) {
	t.Parallel()
	for _, r := range rules() {
		hint := r.hintFor("")
		if strings.Contains(hint, "%") || strings.Contains(hint, "  ") {
			t.Errorf("%s: %q", r.cause, hint)
		}
		if strings.Count(hint, ". ") > 0 || strings.Count(hint, ";") > 0 || strings.Contains(hint, " or ") || !strings.HasSuffix(hint, ".") && !strings.HasSuffix(hint, ".com") {
			t.Errorf("%s: %q is not one step", r.cause, hint)
		}
		if (r.of != "") != strings.Contains(r.hint, "%s") {
			t.Errorf("%s is about %q: %q", r.cause, r.of, r.hint)
		}
		if r.of != "" && (nouns[r.of] == "" || finders[r.of] == nil) {
			t.Errorf("%s is about %q, which nothing finds", r.cause, r.of)
		}
		if r.says == "" || r.cause == Unknown {
			t.Errorf("%s: no words for the documentation", r.cause)
		}
	}
}
