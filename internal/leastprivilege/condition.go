package leastprivilege

import (
	"fmt"
	"slices"
	"strings"
)

// Context are the condition keys of a request. A key's name is compared without
// regard to case, its values with.
type Context map[string][]string

// values returns the values of a key, and whether the request has it.
func (c Context) values(key string) ([]string, bool) {
	for name, values := range c {
		if strings.EqualFold(name, key) {
			return values, true
		}
	}
	return nil, false
}

// operator is a condition operator taken apart.
type operator struct {
	base     string
	negated  bool
	set      string // "", "ForAllValues" or "ForAnyValue"
	ifExists bool
}

// comparisons are the operators that are evaluated here. Bool and Null are apart.
var comparisons = map[string]func(want, have string) bool{
	"StringEquals":           func(want, have string) bool { return want == have },
	"StringEqualsIgnoreCase": strings.EqualFold,
	"StringLike":             glob,
	"ArnEquals":              matchARN, // "ArnEquals and ArnLike behave identically"
	"ArnLike":                matchARN,
	"Bool":                   strings.EqualFold,
}

// operatorOf reads an operator's name, ForAllValues:StringNotLikeIfExists say.
func operatorOf(name string) (operator, error) {
	o := operator{base: name}
	if set, rest, ok := strings.Cut(o.base, ":"); ok {
		if set != "ForAllValues" && set != "ForAnyValue" {
			return o, fmt.Errorf("the condition operator %q is unknown", name)
		}
		o.set, o.base = set, rest
	}
	if o.base == "Null" && o.set == "" {
		return o, nil
	}
	o.base, o.ifExists = strings.CutSuffix(o.base, "IfExists")
	for _, family := range []string{"String", "Arn"} {
		if rest, ok := strings.CutPrefix(o.base, family+"Not"); ok {
			o.base, o.negated = family+rest, true
		}
	}
	if _, ok := comparisons[o.base]; !ok {
		return o, fmt.Errorf("the condition operator %q is not evaluated here", name)
	}
	return o, nil
}

// holds says whether a request meets a condition. The rules are those of
// docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html
// and reference_policies_elements_condition_operators.html:
//   - several values of a condition are alternatives, for a negated operator none
//     of them may match;
//   - a key that the request has not meets negated operators, those that end in
//     IfExists and ForAllValues, and no others;
//   - ForAllValues wants each of the request's values to match, ForAnyValue one.
func (c Condition) holds(request Context) bool {
	o, err := operatorOf(c.Operator)
	if err != nil {
		return false // Parse refuses it
	}
	have, exists := request.values(c.Key)
	if o.base == "Null" {
		return slices.ContainsFunc(c.Values, func(want string) bool { return strings.EqualFold(want, "true") != exists })
	}
	matches := func(value string) bool {
		found := slices.ContainsFunc(c.Values, func(want string) bool { return comparisons[o.base](want, value) })
		return found != o.negated
	}
	switch {
	case o.set == "ForAllValues":
		return !slices.ContainsFunc(have, func(value string) bool { return !matches(value) })
	case o.set == "ForAnyValue":
		return slices.ContainsFunc(have, matches)
	case !exists:
		return o.negated || o.ifExists
	default:
		// A key with several values needs a set operator; without one nothing is certain.
		return len(have) == 1 && matches(have[0])
	}
}
