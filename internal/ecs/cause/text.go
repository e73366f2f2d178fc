package cause

import (
	"regexp"
	"strings"
)

// text is what was said, in the forms in which it is looked at.
type text struct {
	raw     string // as it was said, its parts joined
	oneLine string // with single blanks, for finding names
	plain   string // in lower case and without names, for finding phrases
}

func newText(r Report) text {
	parts := make([]string, 0, len(r.Reasons)+2)
	for _, part := range append([]string{r.Code, r.Message}, r.Reasons...) {
		if part != "" {
			parts = append(parts, part)
		}
	}
	t := text{raw: strings.Join(parts, "; ")}
	t.oneLine = strings.Join(strings.Fields(t.raw), " ")
	t.plain = strings.ToLower(straight.Replace(t.oneLine))
	for _, name := range names {
		t.plain = name.ReplaceAllString(t.plain, "${1}…")
	}
	return t
}

// straight makes quotes of one kind of those that a page may have made round.
var straight = strings.NewReplacer("’", "'", "‘", "'", "“", `"`, "”", `"`)

// names are what users call their things. They must not be mistaken for what AWS
// says of them: an image may be called rate-exceeded.
var names = []*regexp.Regexp{
	regexp.MustCompile(`(\b)arn:aws[^\s"',;]*[^\s"',;.:]`),
	regexp.MustCompile(`(\b)https?://[^\s"',;]*[^\s"',;.:]`),
	regexp.MustCompile(`(failed to resolve ref(?:erence)? )"?[^\s"]+[^\s":]`),
	regexp.MustCompile(`(pull access denied for )[^\s,]+`),
	regexp.MustCompile(`(invalid ssm parameters: )[^;]+`),
}

func (t text) hasAny(phrases []string) bool {
	for _, phrase := range phrases {
		if strings.Contains(t.plain, phrase) {
			return true
		}
	}
	return false
}

// hasWord finds a code as a whole word: AGENT is not in "agent-4".
func (t text) hasWord(codes []string) bool {
	for _, code := range codes {
		for at, rest := 0, t.plain; ; {
			i := strings.Index(rest, code)
			if i < 0 {
				break
			}
			at += i
			if !inWord(t.plain, at-1) && !inWord(t.plain, at+len(code)) {
				return true
			}
			at += len(code)
			rest = t.plain[at:]
		}
	}
	return false
}

func inWord(s string, i int) bool {
	if i < 0 || i >= len(s) {
		return false
	}
	c := s[i]
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '/' || c == '.' && i+1 < len(s) && s[i+1] != ' '
}
