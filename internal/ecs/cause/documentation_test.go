package cause

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/failures.md anew")

const page = "../../../docs/failures.md"

// TestDocumentation holds the page for users to the table.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	want := documentation()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/failures.md is not of this table: go test ./internal/ecs/cause -run Documentation -update")
	}
}

const introduction = `# What AWS says, and what faber does

faber reads every refusal of AWS and every end of a task by one table, which is this page. The first line that fits counts. The cause is
a lasting name. AWS's own words always stay in the message.

What faber does is one of four things:

- **Asks again**: the call had no effect, or its answer was lost. It is repeated with the same client token, so there is never a second task.
- **Waits**: there is no task, and there will be one when there is room. The flow run goes back to its work pool and is claimed anew, until
  the deadline for waiting. A task that ended for want of room counts as a launch.
- **Launches again**: a task was there and ran none of the flow's code, or was taken away. The flow run goes back to its work pool and is
  claimed anew, up to the launch limit; then it is Crashed.
- **Crashed**: nothing becomes better before somebody changes something.

A text that is not on this page is not guessed at. From a call it means Crashed, with the text. Of a task that ran none of the flow's code it
means that the flow run is launched again, and Crashed with the text after the last launch.

This page is generated: ` + "`go test ./internal/ecs/cause -run Documentation -update`" + `.
`

var does = map[Verdict]string{Again: "asks again", Wait: "waits", GiveBack: "launches again", Crashed: "Crashed"}

func documentation() string {
	var b strings.Builder
	b.WriteString(introduction)
	for _, section := range []struct {
		title string
		rules []rule
	}{
		{"Pace, credentials, faults of AWS", throttleRules},
		{"Room", placementRules},
		{"Images", imageRules},
		{"Secrets", secretRules},
		{"Logs", logRules},
		{"Starting", startRules},
		{"Ends of tasks that ran", endRules},
		{"Access", accessRules},
		{"Network and capacity providers", networkRules},
		{"Task definitions and requests", definitionRules},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| AWS says | Cause | faber | What to do |\n|---|---|---|---|\n", section.title)
		for _, r := range section.rules {
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", cell(r.says), r.cause, does[r.verdict], cell(r.hintFor("")))
		}
	}
	return b.String()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
