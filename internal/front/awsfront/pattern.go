package awsfront

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
)

// Pattern is a compiled EventBridge event pattern.
type Pattern struct{ fields []field }

// field is one name of a pattern with what its value must be: either a nested
// pattern, or any of some tests. The name "$or" has alternatives instead.
type field struct {
	name         string
	nested       *Pattern
	tests        []test
	alternatives []*Pattern
}

// test looks at one value of an event. Present is false for a name that the
// event has not.
type test func(v any, present bool) bool

// ParsePattern compiles an event pattern. Operators that EventBridge has and
// this has not are errors: a rule must not match by accident.
func ParsePattern(text []byte) (*Pattern, error) {
	v, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("event pattern: %w", err)
	}
	object, ok := v.(map[string]any)
	if !ok || len(object) == 0 {
		return nil, errors.New("event pattern: must be an object with at least one field")
	}
	p, err := compilePattern(object)
	if err != nil {
		return nil, fmt.Errorf("event pattern: %w", err)
	}
	return p, nil
}

// Match reports whether an event satisfies the pattern.
func (p *Pattern) Match(event []byte) bool {
	v, err := decode(event)
	if err != nil {
		return false
	}
	object, ok := v.(map[string]any)
	return ok && p.match(object)
}

func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	return v, d.Decode(&v)
}

func compilePattern(object map[string]any) (*Pattern, error) {
	p := &Pattern{}
	for name, value := range object {
		f, err := compileField(name, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p.fields = append(p.fields, f)
	}
	return p, nil
}

func compileField(name string, value any) (field, error) {
	f := field{name: name}
	switch value := value.(type) {
	case map[string]any:
		nested, err := compilePattern(value)
		f.nested = nested
		return f, err
	case []any:
		if name == "$or" {
			return compileAlternatives(value)
		}
		if len(value) == 0 {
			return f, errors.New("an empty list matches nothing")
		}
		for _, item := range value {
			t, err := compileTest(item)
			if err != nil {
				return f, err
			}
			f.tests = append(f.tests, t)
		}
		return f, nil
	default:
		return f, errors.New("must be a list or an object")
	}
}

func compileAlternatives(list []any) (field, error) {
	f := field{name: "$or"}
	for _, item := range list {
		object, ok := item.(map[string]any)
		if !ok {
			return f, errors.New("must be a list of objects")
		}
		p, err := compilePattern(object)
		if err != nil {
			return f, err
		}
		f.alternatives = append(f.alternatives, p)
	}
	if len(f.alternatives) < 2 {
		return f, errors.New("needs two alternatives")
	}
	return f, nil
}

func (p *Pattern) match(event map[string]any) bool {
	for _, f := range p.fields {
		if !f.match(event) {
			return false
		}
	}
	return true
}

func (f field) match(event map[string]any) bool {
	if f.alternatives != nil {
		return slices.ContainsFunc(f.alternatives, func(p *Pattern) bool { return p.match(event) })
	}
	value, present := event[f.name]
	if f.nested != nil {
		return f.matchNested(value)
	}
	list, isList := value.([]any)
	if !isList {
		// Exists looks at leaves only: an object is not one.
		if _, isObject := value.(map[string]any); isObject {
			present, value = false, nil
		}
		return slices.ContainsFunc(f.tests, func(t test) bool { return t(value, present) })
	}
	if len(list) == 0 {
		return slices.ContainsFunc(f.tests, func(t test) bool { return t(nil, false) })
	}
	// Of a list in the event, one element must satisfy one test.
	return slices.ContainsFunc(list, func(item any) bool {
		return slices.ContainsFunc(f.tests, func(t test) bool { return t(item, true) })
	})
}

// matchNested matches an object, or any object in a list; a name that the event
// has not is an empty object, in which {"exists": false} still holds.
func (f field) matchNested(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		return f.nested.match(value)
	case []any:
		return slices.ContainsFunc(value, func(item any) bool {
			object, ok := item.(map[string]any)
			return ok && f.nested.match(object)
		})
	default:
		return f.nested.match(map[string]any{})
	}
}

func compileTest(v any) (test, error) {
	operator, ok := v.(map[string]any)
	if !ok {
		if _, isList := v.([]any); isList {
			return nil, errors.New("a list in a list is not allowed")
		}
		return func(got any, present bool) bool { return present && same(v, got) }, nil
	}
	if len(operator) != 1 {
		return nil, errors.New("a match expression has exactly one operator")
	}
	for name, operand := range operator {
		t, err := compileOperator(name, operand)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return t, nil
	}
	return nil, nil
}

func compileOperator(name string, operand any) (test, error) {
	switch name {
	case "exists":
		want, ok := operand.(bool)
		if !ok {
			return nil, errors.New("must be true or false")
		}
		return func(_ any, present bool) bool { return present == want }, nil
	case "anything-but":
		return compileAnythingBut(operand)
	case "numeric":
		return compileNumeric(operand)
	case "cidr":
		return compileCIDR(operand)
	default:
		return compileText(name, operand)
	}
}

// compileText compiles the operators over strings.
func compileText(name string, operand any) (test, error) {
	fold := false
	if o, ok := operand.(map[string]any); ok && len(o) == 1 && (name == "prefix" || name == "suffix") {
		operand, fold = o["equals-ignore-case"], true
	}
	want, ok := operand.(string)
	if !ok {
		return nil, errors.New("must be a string")
	}
	var holds func(got, want string) bool
	switch name {
	case "prefix":
		holds = strings.HasPrefix
	case "suffix":
		holds = strings.HasSuffix
	case "equals-ignore-case":
		holds = strings.EqualFold
	case "wildcard":
		holds = wildcard
	default:
		return nil, errors.New("unknown operator")
	}
	if fold {
		want = strings.ToLower(want)
	}
	return func(v any, _ bool) bool {
		got, ok := v.(string)
		if fold {
			got = strings.ToLower(got)
		}
		return ok && holds(got, want)
	}, nil
}

func compileAnythingBut(operand any) (test, error) {
	list, isList := operand.([]any)
	if !isList {
		list = []any{operand}
	}
	var tests []test
	for _, item := range list {
		t, err := expandAnythingBut(item)
		if err != nil {
			return nil, err
		}
		tests = append(tests, t...)
	}
	return func(v any, present bool) bool {
		return present && !slices.ContainsFunc(tests, func(t test) bool { return t(v, true) })
	}, nil
}

// expandAnythingBut compiles one thing that a value must not be. The operators
// in it may have a list of operands.
func expandAnythingBut(item any) ([]test, error) {
	operator, ok := item.(map[string]any)
	if !ok {
		t, err := compileTest(item)
		return []test{t}, err
	}
	var tests []test
	for name, operand := range operator {
		operands, ok := operand.([]any)
		if !ok {
			operands = []any{operand}
		}
		for _, o := range operands {
			t, err := compileText(name, o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			tests = append(tests, t)
		}
	}
	return tests, nil
}

// compileNumeric compiles ["=", n], [">", n], [">=", n, "<", m] and so on.
func compileNumeric(operand any) (test, error) {
	list, ok := operand.([]any)
	if !ok || len(list) == 0 || len(list)%2 != 0 {
		return nil, errors.New("must be a list of comparisons and numbers")
	}
	type bound struct {
		sign string
		n    *big.Float
	}
	var bounds []bound
	for i := 0; i < len(list); i += 2 {
		sign, _ := list[i].(string)
		n := number(list[i+1])
		if n == nil || !slices.Contains([]string{"=", "<", "<=", ">", ">="}, sign) {
			return nil, fmt.Errorf("%v %v is no comparison", list[i], list[i+1])
		}
		bounds = append(bounds, bound{sign, n})
	}
	return func(v any, _ bool) bool {
		got := number(v)
		return got != nil && !slices.ContainsFunc(bounds, func(b bound) bool {
			c := got.Cmp(b.n)
			holds := map[string]bool{"=": c == 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}
			return !holds[b.sign]
		})
	}, nil
}

func compileCIDR(operand any) (test, error) {
	text, _ := operand.(string)
	block, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, err
	}
	return func(v any, _ bool) bool {
		text, _ := v.(string)
		ip, err := netip.ParseAddr(text)
		return err == nil && block.Contains(ip)
	}, nil
}

// same compares two JSON values as EventBridge does: by type and by value, and
// numbers by their value whatever their spelling.
func same(want, got any) bool {
	if a, b := number(want), number(got); a != nil && b != nil {
		return a.Cmp(b) == 0
	}
	return want == got
}

func number(v any) *big.Float {
	n, ok := v.(json.Number)
	if !ok {
		return nil
	}
	f, _, err := big.ParseFloat(n.String(), 10, 128, big.ToNearestEven)
	if err != nil {
		return nil
	}
	return f
}

// wildcard matches * in the pattern with any text; a backslash takes the next
// character as it is.
func wildcard(got, pattern string) bool {
	var pieces []string
	piece := strings.Builder{}
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern):
			i++
			piece.WriteByte(pattern[i])
		case pattern[i] == '*':
			pieces = append(pieces, piece.String())
			piece.Reset()
		default:
			piece.WriteByte(pattern[i])
		}
	}
	if len(pieces) == 0 {
		return got == piece.String()
	}
	last := piece.String()
	if !strings.HasPrefix(got, pieces[0]) {
		return false
	}
	got = got[len(pieces[0]):]
	for _, middle := range pieces[1:] {
		_, after, ok := strings.Cut(got, middle)
		if !ok {
			return false
		}
		got = after
	}
	return strings.HasSuffix(got, last)
}
