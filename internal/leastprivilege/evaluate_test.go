package leastprivilege

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustParse(t *testing.T, document string) Policy {
	t.Helper()
	p, err := Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// statement is a policy of one statement that allows a:b on everything under a condition.
func statement(t *testing.T, condition string) Identity {
	t.Helper()
	return Identity{Policies: []Policy{mustParse(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":`+condition+`}}`)}}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true},
		{"", "", true},
		{"", "a", false},
		{"a*c", "abbc", true},
		{"a*c", "abbcd", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*ab", "aab", true},
		{"prefect_pool_*", "prefect_pool_", true},
		{"prefect_pool_*:*", "prefect_pool_x", false},
		{"**", "x", true},
		{"a", "A", false},
	} {
		if got := glob(c.pattern, c.text); got != c.want {
			t.Errorf("glob(%q, %q) is %t", c.pattern, c.text, got)
		}
	}
}

func TestGlobProperties(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab:/*?")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		s := text.Draw(t, "text")
		if !glob(s, strings.NewReplacer("*", "a", "?", "b").Replace(s)) || !glob("*", s) {
			t.Errorf("%q", s)
		}
		// Any part of a text may be replaced by a star.
		i := rapid.IntRange(0, len(s)).Draw(t, "i")
		j := rapid.IntRange(i, len(s)).Draw(t, "j")
		if plain := strings.NewReplacer("*", "x", "?", "y").Replace(s); !glob(plain[:i]+"*"+plain[j:], plain) {
			t.Errorf("%q with a star from %d to %d", plain, i, j)
		}
		// One that matches in parts matches as a whole: parts are the stricter rule.
		pattern, arn := "arn:"+text.Draw(t, "pattern"), "arn:"+s
		if pattern != "*" && matchARN(pattern, arn) && !glob(pattern, arn) {
			t.Errorf("%q matches %q in parts only", pattern, arn)
		}
	})
}

func TestMatchARN(t *testing.T) {
	for _, c := range []struct {
		pattern, arn string
		want         bool
	}{
		{"*", "*", true},
		{"*", "arn:aws:s3:::b", true},
		{"arn:aws:ecs:eu:1:*", "*", false}, // an action without resources is not allowed by naming some
		{"arn:aws:ecs:eu:1:task/c/*", "arn:aws:ecs:eu:1:task/c/0", true},
		{"arn:aws:ecs:eu:1:task/c/*", "arn:aws:ecs:eu:2:task/c/0", false},
		{"arn:aws:ecs:eu:1:task-definition/f_*:*", "arn:aws:ecs:eu:1:task-definition/f_x:7", true},
		{"arn:aws:ecs:eu:1:task-definition/f_*:*", "arn:aws:ecs:eu:1:task-definition/f_x", false},
		{"arn:aws:ecs:*:task/c/*", "arn:aws:ecs:eu:1:task/c/0", false}, // no wildcard over a colon before the last part
		{"arn:aws:iam::1:role/data-*", "arn:aws:iam::1:role/data-worker-1", true},
		{"arn:aws:iam::1:role/data-*", "arn:aws:iam::1:role/Data-worker-1", false},
		{"arn:aws:logs:eu:1:log-group:/a/*", "arn:aws:logs:eu:1:log-group:/a/b:log-stream:c/d", true},
	} {
		if got := matchARN(c.pattern, c.arn); got != c.want {
			t.Errorf("matchARN(%q, %q) is %t", c.pattern, c.arn, got)
		}
	}
}

// TestConditions holds the operators to the tables in IAM's user guide.
func TestConditions(t *testing.T) {
	one, two, none := Context{"k:x": {"a"}}, Context{"k:x": {"a", "b"}}, Context{}
	for _, c := range []struct {
		condition string
		context   Context
		want      bool
	}{
		{`{"StringEquals":{"k:x":"a"}}`, one, true},
		{`{"StringEquals":{"K:X":"a"}}`, one, true}, // keys have no case
		{`{"StringEquals":{"k:x":"A"}}`, one, false},
		{`{"StringEquals":{"k:x":["b","a"]}}`, one, true},
		{`{"StringEquals":{"k:x":"a"}}`, none, false},
		{`{"StringEquals":{"k:x":"*"}}`, one, false},
		{`{"StringEquals":{"k:x":"a","k:y":"b"}}`, one, false}, // several keys: all of them
		{`{"StringEquals":{"k:x":"a"},"StringLike":{"k:x":"b*"}}`, one, false},
		{`{"StringEqualsIfExists":{"k:x":"b"}}`, none, true},
		{`{"StringEqualsIfExists":{"k:x":"b"}}`, one, false},
		{`{"StringEqualsIgnoreCase":{"k:x":"A"}}`, one, true},
		{`{"StringNotEquals":{"k:x":"b"}}`, one, true},
		{`{"StringNotEquals":{"k:x":["a","b"]}}`, one, false}, // none of them may match
		{`{"StringNotEquals":{"k:x":"a"}}`, none, true},
		{`{"StringLike":{"k:x":"?"}}`, one, true},
		{`{"StringNotLike":{"k:x":"a*"}}`, one, false},
		{`{"Null":{"k:x":"true"}}`, none, true},
		{`{"Null":{"k:x":true}}`, one, false},
		{`{"Null":{"k:x":"false"}}`, one, true},
		{`{"Null":{"k:x":"false"}}`, none, false},
		{`{"Bool":{"k:x":"true"}}`, Context{"k:x": {"true"}}, true},
		{`{"Bool":{"k:x":true}}`, Context{"k:x": {"false"}}, false},
		{`{"BoolIfExists":{"k:x":true}}`, none, true},
		{`{"ForAllValues:StringEquals":{"k:x":["a","b","c"]}}`, two, true},
		{`{"ForAllValues:StringEquals":{"k:x":"a"}}`, two, false},
		{`{"ForAllValues:StringEquals":{"k:x":"a"}}`, none, true}, // the trap that Null is for
		{`{"ForAnyValue:StringEquals":{"k:x":"b"}}`, two, true},
		{`{"ForAnyValue:StringEquals":{"k:x":"c"}}`, two, false},
		{`{"ForAnyValue:StringEquals":{"k:x":"a"}}`, none, false},
		{`{"ForAnyValue:StringNotEquals":{"k:x":"a"}}`, two, true},
		{`{"ForAllValues:StringNotEquals":{"k:x":"a"}}`, two, false},
		{`{"StringEquals":{"k:x":"a"}}`, two, false}, // several values ask for a set operator
		{`{"ArnEquals":{"k:x":"arn:aws:ecs:eu:1:cluster/*"}}`, Context{"k:x": {"arn:aws:ecs:eu:1:cluster/c"}}, true},
		{`{"ArnLike":{"k:x":"arn:aws:ecs:eu:1:*"}}`, Context{"k:x": {"arn:aws:ecs:eu:1:cluster/c"}}, true},
		{`{"ArnLike":{"k:x":"arn:aws:ecs:eu:1:*"}}`, Context{"k:x": {"no ARN"}}, false},
		{`{"ArnNotLike":{"k:x":"arn:aws:ecs:eu:1:*"}}`, Context{"k:x": {"arn:aws:ecs:us:1:cluster/c"}}, true},
		{`{"ArnNotEquals":{"k:x":"arn:aws:ecs:eu:1:*"}}`, none, true},
	} {
		got := statement(t, c.condition).Decide(Request{Action: "a:b", Resource: "*", Context: c.context})
		if got.Allowed != c.want || got.Explicit {
			t.Errorf("%s on %v is %+v", c.condition, c.context, got)
		}
	}
}

func TestDecide(t *testing.T) {
	policy := mustParse(t, `{"Version":"2012-10-17","Statement":[
		{"Sid":"Read","Effect":"Allow","Action":["s3:Get*","S3:ListBucket"],"Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]},
		{"Sid":"Not","Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::b/secret"},
		{"Sid":"Boundless","Effect":"Allow","Action":"ec2:*","Resource":"*"}]}`)
	boundary := mustParse(t, `{"Version":"2012-10-17","Statement":[
		{"Sid":"S3","Effect":"Allow","Action":"s3:*","Resource":"*"},
		{"Sid":"NoList","Effect":"Deny","Action":"s3:ListBucket","Resource":"*"}]}`)
	for _, c := range []struct {
		action, resource string
		alone, bounded   Decision
	}{
		{"s3:GetObject", "arn:aws:s3:::b/o", Decision{Allowed: true, Sids: []string{"Read"}}, Decision{Allowed: true, Sids: []string{"Read"}}},
		{"s3:getobject", "arn:aws:s3:::b/o", Decision{Allowed: true, Sids: []string{"Read"}}, Decision{Allowed: true, Sids: []string{"Read"}}},
		{"s3:GetObject", "arn:aws:s3:::b/secret", Decision{Explicit: true, Sids: []string{"Not"}}, Decision{Explicit: true, Sids: []string{"Not"}}},
		{"s3:GetObject", "arn:aws:s3:::c/o", Decision{}, Decision{}},
		{"s3:PutObject", "arn:aws:s3:::b/o", Decision{}, Decision{}}, // a boundary gives nothing
		{"s3:ListBucket", "arn:aws:s3:::b", Decision{Allowed: true, Sids: []string{"Read"}}, Decision{Explicit: true, Sids: []string{"NoList"}}},
		{"ec2:RunInstances", "*", Decision{Allowed: true, Sids: []string{"Boundless"}}, Decision{}},
	} {
		request := Request{Action: c.action, Resource: c.resource}
		alone := Identity{Policies: []Policy{policy}}.Decide(request)
		bounded := Identity{Policies: []Policy{policy}, Boundary: &boundary}.Decide(request)
		if fmt.Sprint(alone) != fmt.Sprint(c.alone) || fmt.Sprint(bounded) != fmt.Sprint(c.bounded) {
			t.Errorf("%s: %+v, bounded %+v", request, alone, bounded)
		}
	}
}

// TestDecideProperties: a policy more or a statement less, and what that may change.
func TestDecideProperties(t *testing.T) {
	actions, resources := []string{"a:b", "a:c", "a:*"}, []string{"*", "arn:aws:s:r:1:x/y", "arn:aws:s:r:1:x/*"}
	draw := rapid.Custom(func(t *rapid.T) Policy {
		p := Policy{}
		for i := range rapid.IntRange(1, 4).Draw(t, "statements") {
			p.Statements = append(p.Statements, Statement{
				Sid: fmt.Sprint("S", i), Effect: rapid.SampledFrom([]Effect{Allow, Allow, Deny}).Draw(t, "effect"),
				Actions: []string{rapid.SampledFrom(actions).Draw(t, "action")}, Resources: []string{rapid.SampledFrom(resources).Draw(t, "resource")},
			})
		}
		return p
	})
	rapid.Check(t, func(t *rapid.T) {
		p, more := draw.Draw(t, "policy"), draw.Draw(t, "more")
		r := Request{Action: rapid.SampledFrom([]string{"a:b", "a:c", "b:b"}).Draw(t, "asked"), Resource: rapid.SampledFrom([]string{"*", "arn:aws:s:r:1:x/y", "arn:aws:s:r:1:x/z"}).Draw(t, "on")}
		alone := Identity{Policies: []Policy{p}}.Decide(r)
		both := Identity{Policies: []Policy{p, more}}.Decide(r)
		bounded := Identity{Policies: []Policy{p}, Boundary: &more}.Decide(r)
		if alone.Explicit && both.Allowed {
			t.Error("a further policy allows what one refuses")
		}
		if bounded.Allowed && !(alone.Allowed && (Identity{Policies: []Policy{more}}).Decide(r).Allowed) {
			t.Error("a boundary gives a right")
		}
		if reversed := (Identity{Policies: []Policy{more, p}}).Decide(r); reversed.Allowed != both.Allowed || reversed.Explicit != both.Explicit {
			t.Error("the order of policies decides")
		}
		for i, s := range p.Statements {
			less := Identity{Policies: []Policy{p.Without(i)}}.Decide(r)
			if s.Effect == Allow && less.Allowed && !alone.Allowed || s.Effect == Deny && alone.Allowed && !less.Allowed {
				t.Errorf("without %+v it is %+v, with it %+v", s, less, alone)
			}
			if alone.Allowed && slices.Equal(alone.Sids, []string{s.Sid}) && less.Allowed {
				t.Errorf("%s alone allows it, and it is allowed without", s.Sid)
			}
		}
	})
}

// TestParseRefuses: what is not evaluated may not pass for harmless.
func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"*"}}`:                                                                        "version",
		`{"Version":"2012-10-17","Statement":[]}`:                                                                                                                      "no statement",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"a:b","Resource":"*"}}`:                                                                     "unknown field",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","NotResource":"*"}}`:                                                                     "unknown field",
		`{"Version":"2012-10-17","Statement":{"Effect":"allow","Action":"a:b","Resource":"*"}}`:                                                                        "effect",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ab","Resource":"*"}}`:                                                                         "service:name",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"bucket"}}`:                                                                   "no ARN",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":[]}}`:                                                                         "no resource",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"arn:aws:s3:::${aws:username}"}}`:                                             "policy variable",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"NumericLessThan":{"k":"1"}}}}`:                              "not evaluated",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"ForSomeValues:StringEquals":{"k":"1"}}}}`:                   "unknown",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"NullIfExists":{"k":"true"}}}}`:                              "not evaluated",
		`{"Version":"2012-10-17","Statement":{"Sid":"A b","Effect":"Allow","Action":"a:b","Resource":"*"}}`:                                                            "letters and digits",
		`{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow","Action":"a:b","Resource":"*"},{"Sid":"A","Effect":"Allow","Action":"a:c","Resource":"*"}]}`: "two statements",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
