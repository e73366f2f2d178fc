//go:build chaos

package chaos

import "regexp"

// tableHead is what stands above the table, with the date.
const tableHead = `# Chaos: what was broken, and what came of it

Made %s by ` + "`make chaos` and `make compare`" + ` (see [chaos/](../chaos/main_test.go)). Each scenario is a file in
` + "`chaos/scenarios/`" + `: a real Prefect 3.8.8 server, a real worker process, AWS played by a fake that keeps to its rules,
and between them fronts that spoil, hold and record. What is judged is what the fronts recorded and what Prefect's state
history says. A proof on a fake shows the worker's logic, not AWS's behaviour.

The columns: **faber**, seeds passed of seeds played, of which the first has all of a scenario's runs and the others about half
where there are many; **s**, its slowest seed in seconds; **Python**, Prefect's own worker
with prefect-aws 0.7.12; **Stub**, a worker that polls, proposes Pending, starts a task, stores where, and does nothing else:
a scenario that it passed would be too weak. n/a: the worker never makes the call at which the scenario strikes.

`

var (
	uuidForm = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	clockFor = regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}`)
)

// anonymous is a finding without what is another in every run of the suite.
func anonymous(text string) string {
	return clockFor.ReplaceAllString(uuidForm.ReplaceAllString(text, "…"), "…")
}
