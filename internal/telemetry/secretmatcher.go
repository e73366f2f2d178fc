package telemetry

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const secretMask = "********"

// secretMatcher finds secrets in a text, in each way in which they may be written
// there, and also when they were cut off.
type secretMatcher struct {
	byHead map[string][]secretForm // by the first shortestSecret bytes
	first  [256]int                // how many forms begin with a byte
}

// secretForm is a secret as it is written; the first few bytes of it are as good.
type secretForm struct {
	text  string
	least int
	uses  int // by how many values
}

// tokenHead is how much of a token gives it away, in a text that was cut.
const tokenHead = 8

func (m *secretMatcher) add(value string) {
	for _, form := range secretForms(value) {
		if len(form) < shortestSecret {
			continue
		}
		head := form[:shortestSecret]
		if known := m.find(form); known != nil {
			known.uses++
			continue
		}
		if m.byHead == nil {
			m.byHead = make(map[string][]secretForm)
		}
		m.byHead[head] = append(m.byHead[head], secretForm{form, leastOf(form), 1})
		m.first[form[0]]++
	}
}

func (m *secretMatcher) find(form string) *secretForm {
	same := m.byHead[form[:shortestSecret]]
	i := slices.IndexFunc(same, func(known secretForm) bool { return known.text == form })
	if i < 0 {
		return nil
	}
	return &same[i]
}

func (m *secretMatcher) remove(value string) {
	for _, form := range secretForms(value) {
		if len(form) < shortestSecret {
			continue
		}
		known := m.find(form)
		if known.uses--; known.uses > 0 {
			continue
		}
		head := form[:shortestSecret]
		m.first[form[0]]--
		m.byHead[head] = slices.DeleteFunc(m.byHead[head], func(f secretForm) bool { return f.uses == 0 })
		if len(m.byHead[head]) == 0 {
			delete(m.byHead, head)
		}
	}
}

// leastOf is how many bytes of a secret are masked where there are no more. What
// begins like a word needs half of it: it may be that word.
func leastOf(form string) int {
	if len(form) <= tokenHead {
		return len(form)
	}
	letters, digits := false, false
	for _, r := range form[:tokenHead] {
		letters = letters || unicode.IsLetter(r)
		digits = digits || unicode.IsDigit(r)
	}
	if letters && digits {
		return tokenHead
	}
	return max(tokenHead, (len(form)+1)/2)
}

// secretForms are the ways in which a value may be written in a text, also in a text
// that was put into another.
func secretForms(value string) []string {
	forms := []string{value, strings.Join(strings.Fields(value), " "), base64.StdEncoding.EncodeToString([]byte(value))}
	forms = append(forms, url.QueryEscape(value), url.PathEscape(value))
	for _, once := range escapes(value) {
		forms = append(append(forms, once), escapes(once)...)
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// escapes are a text as it stands between quotes.
func escapes(text string) []string {
	quoted := strconv.Quote(text)
	encoded, _ := json.Marshal(text) // a string always has JSON
	plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(encoded))
	forms := []string{quoted, string(encoded), plain}
	for i, form := range forms {
		forms[i] = form[1 : len(form)-1]
	}
	return forms
}

// replace masks all that is found, the longest where several begin.
func (m *secretMatcher) replace(text string) string {
	var b strings.Builder
	done := 0
	for i := 0; i+shortestSecret <= len(text); {
		n := 0
		if m.first[text[i]] > 0 {
			n = m.match(text[i:])
		}
		if n == 0 {
			i++
			continue
		}
		b.WriteString(text[done:i])
		b.WriteString(secretMask)
		i += n
		done = i
	}
	if done == 0 {
		return text
	}
	b.WriteString(text[done:])
	return b.String()
}

// match is how much of a secret a text begins with, if that is enough to be one.
func (m *secretMatcher) match(text string) (longest int) {
	for _, form := range m.byHead[text[:shortestSecret]] {
		n := shortestSecret
		for n < len(text) && n < len(form.text) && text[n] == form.text[n] {
			n++
		}
		if n >= form.least && n > longest {
			longest = n
		}
	}
	return longest
}
