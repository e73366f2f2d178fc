package leastprivilege

import "strings"

// arnParts is how many parts an ARN has: arn:partition:service:region:account:resource,
// of which the last may hold further colons.
const arnParts = 6

// glob says whether text is what a pattern describes: * is any text, ? any one
// character (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html).
func glob(pattern, text string) bool {
	// The last * seen, and how much of the text it has taken so far.
	star, taken := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, taken = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			taken++
			p, t = star+1, taken
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchAction compares without regard to case, as IAM does with actions.
func matchAction(pattern, action string) bool {
	return glob(strings.ToLower(pattern), strings.ToLower(action))
}

// matchARN compares an ARN part by part, so that no wildcard reaches over a colon
// before the last part: "each of the six colon-delimited components of the ARN is
// checked separately". The parts before the resource are compared as they stand.
func matchARN(pattern, arn string) bool {
	if pattern == "*" {
		return true
	}
	want, have := strings.SplitN(pattern, ":", arnParts), strings.SplitN(arn, ":", arnParts)
	if len(want) != arnParts || len(have) != arnParts {
		return false
	}
	for i := range want {
		if !glob(want[i], have[i]) {
			return false
		}
	}
	return true
}
