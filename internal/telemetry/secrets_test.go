package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRedact(t *testing.T) {
	s := &Secrets{}
	const key, phrase, hook = "pnu_0a1b2c3d4e5f", "open sesame, the second door", "https://hooks.example.com/T0/B0/abcdefgh"
	s.Keep(key, phrase, hook, "", "tiny")
	for text, want := range map[string]string{
		"":                                   "",
		"nothing here, tiny things":          "nothing here, tiny things",
		"key " + key + "!":                   "key ********!",
		key + key:                            "****************",
		"cut off: " + key[:9]:                "cut off: ********",
		"cut off: " + key[:9] + " and on":    "cut off: ******** and on",
		"too little: pnu_0a1":                "too little: pnu_0a1",
		"open sesame":                        "open sesame", // a word of somebody's
		"cut off: " + phrase[:len(phrase)/2]: "cut off: ********",
		"https://hooks.org/x":                "https://hooks.org/x",
		"POST " + hook + ": 404":             "POST ********: 404",
		"Authorization: Basic cG51XzBhMWIyYzNkNGU1Zg==": "Authorization: Basic ********",
		"open%20sesame%2C%20the%20second%20door":        "********",
		"open+sesame%2C+the+second+door":                "********",
	} {
		if got := s.Redact(text); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
	if (&Secrets{}).Redact(key) != key {
		t.Error("what is not known was masked")
	}
}

// TestRedactAnySecret: however a secret looks, no usual spelling of it gets through.
func TestRedactAnySecret(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[ -~éß\n]{6,60}`).Draw(t, "secret")
		around := rapid.StringMatching(`[ -~]{0,20}`)
		s := &Secrets{}
		s.Keep(rapid.SliceOfN(rapid.StringMatching(`[ -~]{6,12}`), 0, 5).Draw(t, "others")...)
		s.Learn(secret)
		encoded, _ := json.Marshal(secret)
		twice, _ := json.Marshal(string(encoded))
		for _, spelling := range []string{
			secret, fmt.Sprintf("%q", secret), string(encoded), string(twice), fmt.Sprintf("%q", fmt.Sprintf("%q", secret)), url.QueryEscape(secret), url.PathEscape(secret),
		} {
			inner := strings.Trim(spelling, `"\`)
			text := around.Draw(t, "before") + spelling + around.Draw(t, "after")
			if got := s.Redact(text); len(inner) >= shortestSecret && strings.Contains(got, inner) && !strings.Contains(strings.Replace(text, spelling, "", 1), inner) {
				t.Fatalf("%q became %q", text, got)
			}
		}
	})
}

func TestLearnedSecretsAreBounded(t *testing.T) {
	s := &Secrets{}
	s.Keep("the-process-itself")
	for i := range 3 * mostLearned {
		s.Learn(fmt.Sprintf("%06d is a secret", i))
		s.Learn("again and again")
	}
	if n := len(s.learned); n != mostLearned {
		t.Errorf("%d are remembered", n)
	}
	text := "the-process-itself again and again 002999 is a secret 000001 is a secret"
	if got, want := s.Redact(text), "******** ******** ******** 000001 is a secret"; got != want {
		t.Errorf("%q", got)
	}
	if n := len(s.matcher.byHead); n > 10*mostLearned {
		t.Errorf("%d forms are looked for", n)
	}
}

func TestRedactedRecords(t *testing.T) {
	const secret = `a "quoted" secret`
	for _, asJSON := range []bool{false, true} {
		s, out := &Secrets{}, &bytes.Buffer{}
		s.Keep(secret)
		log := slog.New(s.Handler(NewHandler(out, slog.LevelDebug, asJSON))).With("with", secret).WithGroup("g")
		log.Info("message "+secret, "text", secret, "error", fmt.Errorf("wrapped: %w", errors.New(secret)), "number", 7,
			slog.Group("inner", "map", map[string]string{"a": secret}), "bytes", fmt.Appendf(nil, "%q", secret))
		fmt.Fprintln(s.Writer(out), "written", secret)
		if strings.Contains(out.String(), "quoted") {
			t.Errorf("json %t: %s", asJSON, out)
		}
		if !strings.Contains(out.String(), "written ********\n") || !strings.Contains(out.String(), "number") || strings.Count(out.String(), secretMask) < 6 {
			t.Errorf("json %t: %s", asJSON, out)
		}
	}
	s := &Secrets{}
	s.Keep("a secret thing")
	value := map[string]any{"a": []any{"it is a secret thing", 1.0, nil}, "b": "plain"}
	masked, _ := json.Marshal(s.RedactValue(value))
	if string(masked) != `{"a":["it is ********",1,null],"b":"plain"}` {
		t.Errorf("%s", masked)
	}
}

func BenchmarkRedact(b *testing.B) {
	s := &Secrets{}
	for i := range mostLearned {
		s.Learn(fmt.Sprintf("%08d-secret-of-a-flow-run", i*7919))
	}
	line := strings.Repeat("Flow run 'brave-lion' submitted to infrastructure; ", 4)
	for b.Loop() {
		s.Redact(line)
	}
}
