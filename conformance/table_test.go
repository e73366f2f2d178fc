//go:build conformance

package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

const tableHead = `# Conformance: faber and Prefect's own worker

The worker protocol, item by item: a recording relay stands between the worker and a real Prefect 3.8.8 server, a fake on the wire
stands for AWS. Items 1 to 117 are the checklist that the protocol was written down in, L1 to L9 are scenes of a worker's life. Both
workers went through the same tests, as programs: faber, and ` + "`prefect worker start`" + ` of Prefect 3.8.8 with prefect-aws 0.7.12.

- **pass**: the worker does what the item says.
- **differs**: faber is decided to do otherwise, for the reason in [compatibility](compatibility.md); the test holds each worker to its own way.

Made on %s by ` + "`make conformance compare`" + `.

| | faber | Python |
|---|---|---|
`

// writeTable joins the verdicts on both workers into a page.
func writeTable(file, faberFile, pythonFile string) error {
	ours, err := readVerdicts(faberFile)
	if err != nil {
		return fmt.Errorf("%w (run `make conformance` first)", err)
	}
	theirs, err := readVerdicts(pythonFile)
	if err != nil {
		return err
	}
	var page bytes.Buffer
	fmt.Fprintf(&page, tableHead, time.Now().UTC().Format(time.DateOnly))
	for _, what := range []string{verdictPass, verdictDiffers, verdictFail} {
		fmt.Fprintf(&page, "| %s | %d | %d |\n", what, count(ours, what), count(theirs, what))
	}
	fmt.Fprint(&page, "\n| Item | What | faber | Python | Seen with faber | Seen with Python |\n|---|---|---|---|---|---|\n")
	items := map[string]verdict{}
	for _, v := range slices.Concat(ours, theirs) {
		items[v.Item] = v
	}
	var names []string
	for name := range items {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(order(a), order(b)) })
	for _, name := range names {
		our, their := find(ours, name), find(theirs, name)
		fmt.Fprintf(&page, "| %s | %s | %s | %s | %s | %s |\n", name, cell(items[name].Title), our.Verdict, their.Verdict, cell(our.Witness), cell(their.Witness))
	}
	return os.WriteFile(file, page.Bytes(), 0o644)
}

func readVerdicts(file string) ([]verdict, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []verdict
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return list, nil
}

func count(list []verdict, what string) int {
	n := 0
	for _, v := range list {
		if v.Verdict == what {
			n++
		}
	}
	return n
}

func find(list []verdict, item string) verdict {
	for _, v := range list {
		if v.Item == item {
			return v
		}
	}
	return verdict{Verdict: "not run"}
}

// cell makes a text fit into a cell of a Markdown table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "*", `\*`, "_", `\_`).Replace(cut(text, 240))
}
