//go:build conformance

package differential

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestDifferential(t *testing.T) {
	faber := buildFaber(t)
	l := newLane(t, faber)
	t.Log(l.python.Versions)
	cases := handCases()
	for i := range cases {
		c := &cases[i]
		t.Run(c.name, func(t *testing.T) {
			if c.template == "" {
				c.template = string(l.python.Template)
			}
			p, f := l.enact(t, c)
			if p.state != f.state || p.message != f.message {
				t.Errorf("state\npython %s %q\nfaber  %s %q", p.state, p.message, f.state, f.message)
			}
			if p.pid != f.pid {
				t.Errorf("pid\npython %s\nfaber  %s", p.pid, f.pid)
			}
			both(t, c, "RegisterTaskDefinition", p.registered, f.registered)
			both(t, c, "RunTask", p.launched, f.launched)
		})
	}
}

func both(t *testing.T, c *testCase, op string, p, f []json.RawMessage) {
	if len(p) != len(f) {
		t.Errorf("%s: python %d, faber %d calls\npython %s\nfaber  %s", op, len(p), len(f), p, f)
		return
	}
	for i := range p {
		j, err := judge(c, op, p[i], f[i])
		if err != nil {
			t.Error(err)
		}
		for _, d := range j.unexplained {
			t.Errorf("%s %s", op, d)
		}
	}
}

func handCases() []testCase {
	return slices.Concat(optionCases, environmentCases, nameCases, referenceCases, settingCases, templateCases, refusalCases)
}
