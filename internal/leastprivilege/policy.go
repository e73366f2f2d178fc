package leastprivilege

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Effect is what a statement does to a request that it applies to.
type Effect string

// The effects there are.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Policy is a policy of an identity, or a permissions boundary.
type Policy struct {
	Version    string
	ID         string
	Statements []Statement
}

// Statement is one statement of a policy. What IAM knows and the module does not
// use is refused when it is read: NotAction, NotResource, principals, policy
// variables, and the operators that condition.go does not list. What is not
// understood must not pass for harmless.
type Statement struct {
	Sid        string
	Effect     Effect
	Actions    []string
	Resources  []string
	Conditions []Condition
}

// Condition is one line of a Condition block: an operator, a key and its values.
type Condition struct {
	Operator string
	Key      string
	Values   []string
}

// Parse reads a policy document.
func Parse(document []byte) (Policy, error) {
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement oneOrMany[rawStatement]
	}
	if err := strict(document, &raw); err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	// Without this version "${" is plain text, and nobody writes the old one on purpose.
	if raw.Version != "2012-10-17" {
		return Policy{}, fmt.Errorf("policy: version %q, want 2012-10-17", raw.Version)
	}
	p := Policy{Version: raw.Version, ID: raw.ID}
	sids := map[string]bool{}
	for i, r := range raw.Statement {
		s, err := r.statement()
		if err != nil {
			return Policy{}, fmt.Errorf("policy: statement %d (%s): %w", i, r.Sid, err)
		}
		if s.Sid != "" && sids[s.Sid] {
			return Policy{}, fmt.Errorf("policy: two statements have the Sid %q", s.Sid)
		}
		sids[s.Sid] = true
		p.Statements = append(p.Statements, s)
	}
	if len(p.Statements) == 0 {
		return Policy{}, errors.New("policy: no statement")
	}
	return p, nil
}

// Without returns the policy less one statement.
func (p Policy) Without(i int) Policy {
	p.Statements = slices.Delete(slices.Clone(p.Statements), i, i+1)
	return p
}

type rawStatement struct {
	Sid       string
	Effect    Effect
	Action    oneOrMany[string]
	Resource  oneOrMany[string]
	Condition map[string]map[string]oneOrMany[scalar]
}

func (r rawStatement) statement() (Statement, error) {
	s := Statement{Sid: r.Sid, Effect: r.Effect, Actions: r.Action, Resources: r.Resource}
	if s.Effect != Allow && s.Effect != Deny {
		return s, fmt.Errorf("effect %q", s.Effect)
	}
	if strings.ContainsFunc(s.Sid, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}) {
		return s, fmt.Errorf("the Sid %q has more than letters and digits", s.Sid)
	}
	if len(s.Actions) == 0 || len(s.Resources) == 0 {
		return s, errors.New("no action, or no resource")
	}
	for _, action := range s.Actions {
		if service, name, ok := strings.Cut(action, ":"); action != "*" && (!ok || service == "" || name == "") {
			return s, fmt.Errorf("the action %q is not service:name", action)
		}
	}
	for _, resource := range s.Resources {
		if resource != "*" && strings.Count(resource, ":") < arnParts-1 {
			return s, fmt.Errorf("the resource %q is no ARN", resource)
		}
	}
	for operator, keys := range r.Condition {
		if _, err := operatorOf(operator); err != nil {
			return s, err
		}
		for key, values := range keys {
			c := Condition{Operator: operator, Key: key}
			for _, v := range values {
				c.Values = append(c.Values, string(v))
			}
			s.Conditions = append(s.Conditions, c)
		}
	}
	for _, text := range slices.Concat(s.Resources, conditionValues(s.Conditions)) {
		if strings.Contains(text, "${") {
			return s, fmt.Errorf("the policy variable in %q is not evaluated here", text)
		}
	}
	slices.SortFunc(s.Conditions, func(a, b Condition) int {
		return strings.Compare(a.Operator+" "+a.Key, b.Operator+" "+b.Key)
	})
	return s, nil
}

func conditionValues(conditions []Condition) (all []string) {
	for _, c := range conditions {
		all = append(all, c.Values...)
	}
	return all
}

// oneOrMany is what IAM lets one write as a value or as a list of values.
type oneOrMany[T any] []T

func (m *oneOrMany[T]) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		var many []T
		if err := strict(data, &many); err != nil {
			return err
		}
		*m = many
		return nil
	}
	var one T
	if err := strict(data, &one); err != nil {
		return err
	}
	*m = []T{one}
	return nil
}

// scalar is a condition's value: IAM takes true for "true", and 1 for "1".
type scalar string

func (s *scalar) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*s = scalar(text)
		return nil
	}
	*s = scalar(data)
	return nil
}

func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
