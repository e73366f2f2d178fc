//go:build conformance

package differential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
)

// exhibits are the cases whose bodies are mutated: between them they have
// everything that a body can have.
var exhibits = []string{
	"nothing set", "env of deployment and run", "labels", "capacity providers", "vpc and network", "logs with options", "both secrets",
	"template with a rich definition", "template with other fields of RunTask", "template with two overrides",
}

// testMutations proves that the comparison sees: it changes faber's bodies in
// every place and in several ways, and wants each change reported. Only the value
// of a leaf that a rule is about may change to another that the rule accepts.
func testMutations(t *testing.T, kept []exhibit, all bool) {
	t.Helper()
	for _, name := range exhibits {
		if all && !slices.ContainsFunc(kept, func(e exhibit) bool { return e.name == name }) {
			t.Errorf("there are no bodies of %q", name)
		}
	}
	mutants, accepted := 0, map[string]int{}
	for _, e := range kept {
		if !slices.Contains(exhibits, e.name) {
			continue
		}
		for _, m := range mutantsOf(t, e.faber) {
			mutants++
			j, err := judge(e.facts, e.op, e.python, m.body)
			switch {
			case err != nil:
				t.Errorf("%s: %s: %v", e.name, m.what, err)
			case len(j.unexplained) > 0:
			case slices.ContainsFunc(rules, func(r rule) bool { return r.body == e.op && r.about(m.leaf) }):
				accepted[e.op+" "+m.leaf]++
			default:
				t.Errorf("%s, %s: nobody noticed that faber's body was changed: %s", e.name, e.op, m.what)
			}
		}
	}
	if mutants == 0 {
		t.Skip("none of the cases that bodies are taken from was run")
	}
	t.Logf("%d mutants, all noticed but %v", mutants, accepted)
}

// mutant is a body with one change.
type mutant struct {
	what string
	leaf string // the leaf whose value was changed, "" for any other change
	body json.RawMessage
}

// mutator makes mutants of one body: it changes the decoded value in place,
// writes it down, and changes it back.
type mutator struct {
	root any
	out  []mutant
}

func mutantsOf(t *testing.T, body json.RawMessage) []mutant {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	m := &mutator{}
	if err := decoder.Decode(&m.root); err != nil {
		t.Fatal(err)
	}
	m.visit("$", m.root, func(v any) { m.root = v })
	return m.out
}

func (m *mutator) add(what, leaf string) {
	m.out = append(m.out, mutant{what, leaf, json.RawMessage(compact(m.root))})
}

// visit mutates one value and all that is in it; set replaces it where it stands.
func (m *mutator) visit(path string, value any, set func(any)) {
	for _, other := range instead(value) {
		if compact(other) == compact(value) {
			continue
		}
		set(other)
		m.add(fmt.Sprintf("%s becomes %s", path, compact(other)), path)
	}
	set(value)
	switch v := value.(type) {
	case map[string]any:
		m.visitObject(path, v)
	case []any:
		m.visitList(path, v, set)
	}
}

// instead are values to put in the place of one.
func instead(value any) []any {
	switch v := value.(type) {
	case string:
		return []any{v + "x", "x" + v, swapLast(v), nil, []any{v}, map[string]any{"v": v}}
	case json.Number:
		return []any{json.Number("1" + v.String()), json.Number(v.String() + ".0"), v.String(), nil}
	case bool:
		return []any{!v, fmt.Sprint(v), nil}
	case nil:
		return []any{"", false}
	case map[string]any:
		return []any{nil, map[string]any{}, []any{v}}
	case []any:
		return []any{nil, []any{}, map[string]any{}}
	default:
		return nil
	}
}

// swapLast changes a text without changing its length or its kind.
func swapLast(text string) string {
	if text == "" || text[len(text)-1] > 'y' {
		return text + "0"
	}
	last := byte('0')
	if text[len(text)-1] == '0' {
		last = '1'
	}
	return text[:len(text)-1] + string(last)
}

func (m *mutator) visitObject(path string, object map[string]any) {
	object["mutant"] = "x"
	m.add(path+" gets another key", "")
	delete(object, "mutant")
	for _, key := range slices.Sorted(maps.Keys(object)) {
		value := object[key]
		delete(object, key)
		m.add(path+" loses "+key, "")
		object[key+"x"] = value
		m.add(path+" has "+key+" under another name", "")
		delete(object, key+"x")
		object[key] = value
		m.visit(path+"."+key, value, func(v any) { object[key] = v })
	}
}

func (m *mutator) visitList(path string, list []any, set func(any)) {
	by, names := namedBy(list)
	for i, item := range list {
		set(slices.Delete(slices.Clone(list), i, i+1))
		m.add(fmt.Sprintf("%s loses item %d", path, i), "")
		set(slices.Insert(slices.Clone(list), i, item))
		m.add(fmt.Sprintf("%s has item %d twice", path, i), "")
		if i > 0 {
			swapped := slices.Clone(list)
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			if compact(swapped) != compact(list) {
				set(swapped)
				m.add(fmt.Sprintf("%s has items %d and %d the other way round", path, i-1, i), "")
			}
		}
		set(list)
		at := fmt.Sprintf("%s[%d]", path, i)
		if by != "" {
			at = fmt.Sprintf("%s[%s=%s]", path, by, names[i])
		}
		m.visit(at, item, func(v any) { list[i] = v })
	}
}
