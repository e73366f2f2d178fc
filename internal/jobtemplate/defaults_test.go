package jobtemplate

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestSetDefaults(t *testing.T) {
	t.Parallel()
	const base = `{"variables":{"type":"object","z":1.0,"properties":{"b":{"type":"string","default":"mine"},"a":{"title":"A"},"n":{"default":{"y":[1],"x":2.50}}}},"job_configuration":{"own":"{{ b }}"}}`
	for name, c := range map[string]struct {
		defaults, want string
		missing        []string
	}{
		"nothing to set":        {`{}`, base, nil},
		"in place already":      {`{"n":{"x":2.50,"y":[1]},"b":"mine"}`, base, nil},
		"one is new, one other": {`{"a":7,"b":"ours"}`, `{"variables":{"type":"object","z":1.0,"properties":{"b":{"type":"string","default":"ours"},"a":{"title":"A","default":7},"n":{"default":{"y":[1],"x":2.50}}}},"job_configuration":{"own":"{{ b }}"}}`, nil},
		"no such variable":      {`{"c":1,"absent":2}`, base, []string{"absent", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, missing, err := SetDefaults(json.RawMessage(base), json.RawMessage(c.defaults))
			if err != nil || string(got) != c.want || !slices.Equal(missing, c.missing) {
				t.Errorf("%v, missing %q\ngot  %s\nwant %s", err, missing, got, c.want)
			}
		})
	}
	for _, c := range []struct{ base, defaults, want string }{
		{`[]`, `{}`, "the base job template is no JSON object"},
		{`{"variables":{}}`, `{}`, "no variables.properties"},
		{base, `7`, "the defaults is no JSON object"},
		{base, `{`, "the defaults is not valid JSON"},
	} {
		if _, _, err := SetDefaults(json.RawMessage(c.base), json.RawMessage(c.defaults)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v, not %q", c.base, c.defaults, err, c.want)
		}
	}
}

// TestSetDefaultsAgain: what was set once is in place, whatever template it is.
func TestSetDefaultsAgain(t *testing.T) {
	t.Parallel()
	base, err := os.ReadFile("../ecs/base_job_template.json")
	if err != nil {
		t.Fatal(err)
	}
	const defaults = `{"cluster":"arn:aws:ecs:eu-central-1:1:cluster/c","cpu":512,"network_configuration":{"subnets":["s"],"assignPublicIp":"DISABLED"}}`
	once, missing, err := SetDefaults(base, json.RawMessage(defaults))
	if err != nil || len(missing) > 0 || string(once) == string(base) {
		t.Fatalf("%v, missing %q", err, missing)
	}
	twice, _, err := SetDefaults(once, json.RawMessage(defaults))
	if err != nil || string(twice) != string(once) {
		t.Errorf("set twice it is another one: %v", err)
	}
	if _, err := Parse(once); err != nil {
		t.Errorf("it is no template any more: %v", err)
	}
}
