package awsfront

import (
	"slices"
	"sync"
	"time"
)

// A client token lives until 24 hours after its call, or one hour after the
// last of its tasks has stopped, whichever comes first.
const (
	tokenLife      = 24 * time.Hour
	tokenAfterlife = time.Hour
)

// tokenKey is the scope of a client token: one cluster.
type tokenKey struct{ account, region, cluster, token string }

// tokens remembers the answers of RunTask calls by their client token.
type tokens struct {
	mu   sync.Mutex
	now  func() time.Time
	seen map[tokenKey]*tokenEntry
	// of finds the token that started a task.
	of map[string]*tokenEntry
}

// tokenEntry is one token. Its own lock is held during the call: a second call
// with the same token waits for the outcome of the first.
type tokenEntry struct {
	mu          sync.Mutex
	fingerprint string
	answer      *answer // nil until a call took effect
	running     []string
	arns        []string
	expires     time.Time
}

func newTokens(now func() time.Time) *tokens {
	return &tokens{now: now, seen: map[tokenKey]*tokenEntry{}, of: map[string]*tokenEntry{}}
}

// once makes the call, unless one with this token took effect before: then its
// answer comes again, failures included, or ConflictException naming the tasks
// when the parameters differ. A call that was refused took no effect. What comes
// again goes through again, with the tasks that the first call started.
func (t *tokens) once(key tokenKey, fingerprint string, call func() (*answer, error), again func(first *answer, arns []string) *answer) (*answer, error) {
	e := t.entry(key)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.answer != nil && t.alive(e) {
		if e.fingerprint != fingerprint {
			return nil, &refusal{
				code:    "ConflictException",
				message: "The clientToken was already used by a RunTask call with other parameters.",
				extra:   map[string]any{"resourceIds": e.arns},
			}
		}
		return again(e.answer.replay(), e.arns), nil
	}
	a, err := call()
	if err != nil || !a.ok() {
		return a, err
	}
	t.remember(e, fingerprint, a)
	return a, nil
}

// entry finds or makes the entry of a token, and forgets those that are over.
func (t *tokens) entry(key tokenKey) *tokenEntry {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.seen[key]
	if e != nil {
		return e
	}
	for k, old := range t.seen {
		if !old.expires.IsZero() && t.now().After(old.expires) {
			delete(t.seen, k)
			for _, arn := range old.running {
				delete(t.of, arn)
			}
		}
	}
	e = &tokenEntry{}
	t.seen[key] = e
	return e
}

func (t *tokens) alive(e *tokenEntry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.now().After(e.expires)
}

func (t *tokens) remember(e *tokenEntry, fingerprint string, a *answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.fingerprint, e.answer, e.arns = fingerprint, a, startedTasks(a.body)
	e.running = slices.Clone(e.arns)
	for _, arn := range e.arns {
		t.of[arn] = e
	}
	e.expires = t.now().Add(tokenLife)
	if len(e.running) == 0 {
		// Nothing started: the tasks' lifetime is none.
		e.expires = t.now().Add(tokenAfterlife)
	}
}

// stopped shortens the life of the token that started a task.
func (t *tokens) stopped(arn string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.of[arn]
	if e == nil {
		return
	}
	delete(t.of, arn)
	e.running = slices.DeleteFunc(e.running, func(other string) bool { return other == arn })
	if end := t.now().Add(tokenAfterlife); len(e.running) == 0 && end.Before(e.expires) {
		e.expires = end
	}
}
