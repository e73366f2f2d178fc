package leastprivilege

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Request is what AWS authorises: one action on one resource.
type Request struct {
	Action string
	// Resource is an ARN. "*" is the resource of an action that AWS authorises on
	// none: then only a statement for "*" applies.
	Resource string
	Context  Context
}

func (r Request) String() string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(r.Context)) {
		keys = append(keys, key+"="+strings.Join(r.Context[key], "|"))
	}
	return fmt.Sprintf("%s on %s [%s]", r.Action, r.Resource, strings.Join(keys, " "))
}

// Identity is a role with everything that decides about its requests.
type Identity struct {
	Policies []Policy
	// Boundary is its permissions boundary; nil means none.
	Boundary *Policy
}

// Decision is the answer to a request.
type Decision struct {
	Allowed bool
	// Explicit says that a statement refuses the request; else none allows it.
	Explicit bool
	// Sids name the statements that decided.
	Sids []string
}

// Decide answers a request as IAM does within one account and without other kinds
// of policies: whatever refuses wins; else a policy of the identity has to allow
// it, and the boundary too if there is one
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics-id-bdry.html).
func (i Identity) Decide(r Request) Decision {
	boundary := []Policy{}
	if i.Boundary != nil {
		boundary = append(boundary, *i.Boundary)
	}
	if refused := applying(slices.Concat(i.Policies, boundary), Deny, r); len(refused) > 0 {
		return Decision{Explicit: true, Sids: refused}
	}
	allowed := applying(i.Policies, Allow, r)
	if len(allowed) == 0 || i.Boundary != nil && len(applying(boundary, Allow, r)) == 0 {
		return Decision{}
	}
	return Decision{Allowed: true, Sids: allowed}
}

// applying are the statements of one effect that a request meets.
func applying(policies []Policy, effect Effect, r Request) (sids []string) {
	for _, p := range policies {
		for _, s := range p.Statements {
			if s.Effect == effect && s.applies(r) {
				sids = append(sids, s.Sid)
			}
		}
	}
	return sids
}

func (s Statement) applies(r Request) bool {
	return slices.ContainsFunc(s.Actions, func(a string) bool { return matchAction(a, r.Action) }) &&
		slices.ContainsFunc(s.Resources, func(pattern string) bool { return matchARN(pattern, r.Resource) }) &&
		!slices.ContainsFunc(s.Conditions, func(c Condition) bool { return !c.holds(r.Context) })
}
