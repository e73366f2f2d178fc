//go:build conformance

package differential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// absent is the value of a leaf that is not there.
const absent = "(absent)"

// difference is one leaf that is not the same on both sides.
type difference struct {
	path          string
	python, faber string // JSON text, or absent
}

func (d difference) String() string {
	return fmt.Sprintf("%s: python %s, faber %s", d.path, d.python, d.faber)
}

// leaves are the leaves of a JSON value by path: scalars as their JSON text, with
// numbers as they were written, and containers that are empty. A list of named
// things ({"name": …} or {"key": …}, no name twice) is addressed by name, and its
// order is one more leaf, `path#order`.
type leaves map[string]string

func flatten(body json.RawMessage) (leaves, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	out := leaves{}
	out.add("$", value)
	return out, nil
}

func (l leaves) add(path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 {
			l[path] = "{}"
		}
		for key, item := range v {
			l.add(path+"."+key, item)
		}
	case []any:
		l.addList(path, v)
	default:
		l[path] = compact(v)
	}
}

func (l leaves) addList(path string, list []any) {
	if len(list) == 0 {
		l[path] = "[]"
	}
	by, names := namedBy(list)
	if by == "" {
		for i, item := range list {
			l.add(fmt.Sprintf("%s[%d]", path, i), item)
		}
		return
	}
	for i, item := range list {
		rest := maps.Clone(item.(map[string]any))
		delete(rest, by)
		l.add(fmt.Sprintf("%s[%s=%s]", path, by, names[i]), rest)
	}
	l[path+"#order"] = compact(names)
}

// namedBy is the field by which the items of a list are told apart, "" if none.
func namedBy(list []any) (by string, names []string) {
	for _, by := range []string{"name", "key"} {
		names := make([]string, 0, len(list))
		for _, item := range list {
			object, _ := item.(map[string]any)
			name, ok := object[by].(string)
			if !ok || slices.Contains(names, name) {
				break
			}
			names = append(names, name)
		}
		if len(list) > 0 && len(names) == len(list) {
			return by, names
		}
	}
	return "", nil
}

func compact(value any) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err) // it was decoded a moment ago
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// compare lists the leaves that differ. An item of a list that only one side
// has is a difference of its own, and leaves the order of the others as it is.
func compare(python, faber leaves) []difference {
	var out []difference
	for _, path := range slices.Sorted(maps.Keys(union(python, faber))) {
		p, f := python.at(path), faber.at(path)
		if strings.HasSuffix(path, "#order") {
			p, f = inCommon(p, f)
		}
		if p != f {
			out = append(out, difference{path, p, f})
		}
	}
	return out
}

func (l leaves) at(path string) string {
	if value, ok := l[path]; ok {
		return value
	}
	return absent
}

func union(a, b leaves) leaves {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// inCommon reduces two orders to the names that are in both. What only faber has
// must stand behind all else, or it is kept.
func inCommon(python, faber string) (string, string) {
	if python == absent || faber == absent {
		return "", ""
	}
	var p, f []string
	_ = json.Unmarshal([]byte(python), &p) // written by addList
	_ = json.Unmarshal([]byte(faber), &f)
	p = slices.DeleteFunc(p, func(name string) bool { return !slices.Contains(f, name) })
	for len(f) > 0 && !slices.Contains(p, f[len(f)-1]) {
		f = f[:len(f)-1]
	}
	return compact(p), compact(f)
}
