package config

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDotenvIsReadAsByPrefect has the library that Prefect uses read files of
// drawn pieces: quotes, escapes, comments, references, blanks where they may be.
func TestDotenvIsReadAsByPrefect(t *testing.T) {
	python := prefectPython(t)
	random := rand.New(rand.NewPCG(3, 8))
	var texts []string
	for range 600 {
		texts = append(texts, drawDotenv(random))
	}
	const script = `
import io, json, sys, dotenv
read = lambda text: {k: v for k, v in dotenv.dotenv_values(stream=io.StringIO(text)).items() if v is not None}
print("RESULT " + json.dumps([read(text) for text in json.load(sys.stdin)]))`
	data, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(python, "-c", script)
	command.Dir, command.Env, command.Stdin = t.TempDir(), []string{"SET=set", "EMPTY=", "PATH=" + os.Getenv("PATH")}, bytes.NewReader(data)
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, result, _ := strings.Cut(string(output), "RESULT ")
	var answers []map[string]string
	if err := json.Unmarshal([]byte(result), &answers); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SET": "set", "EMPTY": ""}
	for i, want := range answers {
		got := parseDotenv(texts[i], func(name string) (string, bool) { v, ok := env[name]; return v, ok })
		if diff := cmp.Diff(want, got.values); diff != "" {
			t.Errorf("%q: -Prefect +faber\n%s", texts[i], diff)
		}
	}
}

func drawDotenv(random *rand.Rand) string {
	pick := func(options ...string) string { return options[random.IntN(len(options))] }
	var b strings.Builder
	for range 1 + random.IntN(4) {
		b.WriteString(pick("", "", "", "  ", "export ", "export  ", "# ", "\n"))
		b.WriteString(pick("A", "B", "C", "A.B", "a_1", "'Q'"))
		b.WriteString(pick("=", "=", "=", " = ", "= ", " =", ""))
		b.WriteString(drawDotenvValue(random))
		b.WriteString(pick("\n", "\n", "\r\n", "\n\n", " # comment\n", "# tight\n", "  \n"))
	}
	return b.String()
}

func drawDotenvValue(random *rand.Rand) string {
	quote := []string{"", "", "'", "\""}[random.IntN(4)]
	open := random.IntN(20) == 0 // a quote that is not closed
	pieces := []string{"x", "two words", "a#b", "${SET}", "${NONE}", "${NONE:-none}", "${EMPTY:-d}", "${A}", "$SET", `\n`, `\\`, `\t`, "=", "é", "1"}
	switch quote {
	case "'":
		pieces = append(pieces, "\"", `\'`, "\n", " # no comment")
	case "\"":
		pieces = append(pieces, "'", `\"`, "\n", " # no comment", `\'`)
	}
	var b strings.Builder
	b.WriteString(quote)
	for range random.IntN(4) {
		b.WriteString(pieces[random.IntN(len(pieces))])
	}
	if !open {
		b.WriteString(quote)
	}
	return b.String()
}
