//go:build conformance

package differential

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// lanes is how many cases run at the same time: each has a Python of its own.
const lanes = 2

// TestDifferential has both workers do all cases.
func TestDifferential(t *testing.T) {
	executable := reference(t)
	faber := buildFaber(t)
	free := make(chan *lane, lanes)
	var about *python
	for range lanes {
		l := newLane(t, executable, faber)
		about = l.python
		free <- l
	}
	t.Log(about.Versions)
	cases := slices.Concat(handCases(), generateCases(*generated))
	for i := range cases {
		if cases[i].template == "" {
			cases[i].template = string(about.Template)
		}
	}
	r := newReport()
	t.Run("cases", func(t *testing.T) {
		for i := range cases {
			c := &cases[i]
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				l := <-free
				defer func() { free <- l }()
				p, f := l.enact(t, c)
				assess(t, c, r, p, f)
			})
		}
	})
	t.Run("mutations", func(t *testing.T) { testMutations(t, r.kept, r.cases() == len(cases)) })
	t.Log("\n" + r.String())
	if r.cases() == len(cases) { // else some were not asked for, or failed
		r.check(t)
	}
}

func handCases() []testCase {
	return slices.Concat(optionCases, environmentCases, nameCases, referenceCases, settingCases, templateCases, refusalCases)
}

// assess compares what the workers did with one case.
func assess(t *testing.T, c *testCase, r *report, p, f outcome) {
	t.Helper()
	switch {
	case p.gaveUp() && f.gaveUp():
		if !c.refused && !c.generated {
			t.Errorf("both workers refused the run, which is no refusal in the table")
		}
		assessRefusal(t, r, p, f)
		assessBodies(t, c, r, p, f)
		r.count(&r.refused)
	case f.gaveUp():
		t.Errorf("faber gave up a run that Python launches: %s %q", f.state, f.message)
	case p.gaveUp():
		i := slices.IndexFunc(mends, func(m mend) bool { return m.python != nil && m.python.MatchString(p.message) })
		if i < 0 || !c.generated && c.mended != mends[i].name {
			t.Errorf("faber launched a run that Python gives up: %s %q", p.state, p.message)
			assessBodies(t, c, r, p, f)
			break
		}
		r.mended(i)
	case c.mended == overrideMend:
		assessOverride(t, c, r, p, f)
	default:
		if c.refused || c.mended != "" {
			t.Errorf("both workers launched the run, which the table says is refused")
		}
		if p.pid != f.pid {
			t.Errorf("infrastructure_pid: python %s, faber %s", p.pid, f.pid)
		}
		assessBodies(t, c, r, p, f)
		r.count(&r.launched)
		if c.generated {
			r.count(&r.drawn)
		}
	}
	if t.Failed() {
		t.Logf("job variables\ndeployment %s\nrun        %s", c.deployment, c.run)
		if testing.Verbose() {
			t.Logf("faber's log\n%s", f.log)
		}
	}
}

// assessOverride is for a template that names no override for the container which
// executes the run: what Python's worker launches cannot know its run, and faber's
// request is the same but for that override.
func assessOverride(t *testing.T, c *testCase, r *report, p, f outcome) {
	t.Helper()
	if len(p.launched) != 1 || len(f.launched) != 1 {
		t.Fatalf("RunTask: python %d, faber %d calls", len(p.launched), len(f.launched))
	}
	if bytes.Contains(p.launched[0], []byte("PREFECT__FLOW_RUN_ID")) {
		t.Errorf("Python's task knows its run: %s", p.launched[0])
	}
	j, err := judge(f.facts, "RunTask", p.launched[0], f.launched[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range j.unexplained {
		if !strings.HasPrefix(d.path, "$.overrides.containerOverrides[name=prefect].") && d.path != "$.overrides.containerOverrides" {
			t.Errorf("RunTask %s", d)
		}
	}
	p.launched, f.launched = nil, nil
	assessBodies(t, c, r, p, f)
	r.mended(slices.IndexFunc(mends, func(m mend) bool { return m.name == overrideMend }))
}

func assessRefusal(t *testing.T, r *report, p, f outcome) {
	t.Helper()
	if p.state != f.state {
		t.Errorf("state: python %s %q, faber %s %q", p.state, p.message, f.state, f.message)
		return
	}
	i := wordingOf(p.message, f.message)
	if i < 0 {
		t.Errorf("message\npython %q\nfaber  %q", p.message, f.message)
		return
	}
	r.count(&r.wordings[i])
}

// assessBodies compares what the workers asked of AWS. Where both refuse the run,
// faber may have refused it before it asked.
func assessBodies(t *testing.T, c *testCase, r *report, p, f outcome) {
	t.Helper()
	for _, op := range []struct {
		name          string
		python, faber []json.RawMessage
	}{
		{"RegisterTaskDefinition", p.registered, f.registered},
		{"RunTask", p.launched, f.launched},
	} {
		if len(op.python) != len(op.faber) && (!f.gaveUp() || len(op.faber) > len(op.python)) {
			t.Errorf("%s: python %d, faber %d calls\npython %s\nfaber  %s", op.name, len(op.python), len(op.faber), op.python, op.faber)
			continue
		}
		for i := range op.faber {
			assessBody(t, r, exhibit{c.name, f.facts, op.name, op.python[i], op.faber[i]})
		}
	}
}

func assessBody(t *testing.T, r *report, e exhibit) {
	t.Helper()
	j, err := judge(e.facts, e.op, e.python, e.faber)
	if err != nil {
		t.Error(err)
		return
	}
	for _, d := range j.unexplained {
		t.Errorf("%s %s", e.op, d)
	}
	r.compared(e.op, j)
	if len(j.unexplained) == 0 {
		r.keep(e)
	}
}
