package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// drawnCases are how many machines are drawn. The seed is fixed, so that a
// failure comes back.
const drawnCases = 60

// TestPrecedenceIsPrefects sets drawn settings in drawn sources, under their
// present and their older names, in upper and lower case, and lets Prefect
// itself say which of them count.
func TestPrecedenceIsPrefects(t *testing.T) {
	python, withAWS := referencePython(t)
	random := rand.New(rand.NewPCG(3, 8))
	var (
		machines []machine
		lookups  []Lookup
	)
	for range drawnCases {
		m := drawMachine(random)
		machines = append(machines, m)
		lookups = append(lookups, m.lookup(t))
	}
	for i, want := range prefectsAnswers(t, python, machines, lookups) {
		s, err := Load(lookups[i])
		if (err != nil) != (want.Problem != "") {
			t.Errorf("case %d: %v, but Prefect says %q\n%s", i, err, want.Problem, machines[i])
			continue
		}
		if err != nil {
			continue
		}
		if diff := cmp.Diff(pairs(want.Explicit), s.Explicit()); diff != "" {
			t.Errorf("case %d: -Prefect +faber:\n%s\n%s", i, diff, machines[i])
		}
		if diff := cmp.Diff(pairs(want.AWS), explicitAWS(s)); withAWS && diff != "" {
			t.Errorf("case %d: -prefect-aws +faber:\n%s\n%s", i, diff, machines[i])
		}
	}
}

// explicitAWS are the settings of prefect-aws that are set.
func explicitAWS(s *Settings) []NameValue {
	var all []NameValue
	for _, k := range s.aws {
		if s.IsSet(k.name) {
			all = append(all, NameValue{k.name, s.text(k.name)})
		}
	}
	return all
}

// drawMachine draws up to eight settings and where they are set.
func drawMachine(random *rand.Rand) machine {
	d := drawing{random: random, env: map[string]string{}, texts: map[string]*strings.Builder{}}
	table := slices.DeleteFunc(knownSettings(), func(k known) bool { return !drawable(k) })
	if random.IntN(2) == 0 {
		table = awsSettings() // few among many
	}
	d.profile = []string{"work", "other"}[random.IntN(2)]
	for range 2 + random.IntN(7) {
		k := table[random.IntN(len(table))]
		for _, source := range []string{"env", ".env", "prefect.toml", "pyproject.toml", "work", "other"} {
			if random.IntN(10) < 4 {
				d.set(source, k)
			}
		}
	}
	return d.machine()
}

// drawable leaves out what decides where the other settings are found, what
// changes other settings, and values with a form of their own.
func drawable(k known) bool {
	for _, prefix := range []string{"PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_TEST", "PREFECT_DEBUG_MODE", "PREFECT_SERVER_DATABASE", "PREFECT_LOGGING_TO_API_BATCH_SIZE", "PREFECT_LOGGING_TO_API_MAX"} {
		if strings.HasPrefix(k.name, prefix) {
			return false
		}
	}
	return k.kind != "other"
}

// drawing collects what each source says.
type drawing struct {
	random  *rand.Rand
	env     map[string]string
	texts   map[string]*strings.Builder
	said    map[string]bool
	profile string
}

func (d *drawing) set(source string, k known) {
	key := strings.Join(k.path, ".")
	names := k.names()
	name := names[d.random.IntN(len(names))]
	if d.said[source+name] || d.said[source+key] {
		return
	}
	if d.said == nil {
		d.said = map[string]bool{}
	}
	d.said[source+name], d.said[source+key] = true, true
	text, inTOML := d.value(k)
	var line string
	switch source {
	case "env", ".env":
		if d.random.IntN(5) == 0 {
			name = strings.ToLower(name)
		}
		if source == "env" {
			d.env[name] = text
			return
		}
		line = name + "='" + text + "'"
	case "prefect.toml", "pyproject.toml":
		line = key + " = " + inTOML
	default:
		line = fmt.Sprintf("%s = %q", name, text)
	}
	if d.texts[source] == nil {
		d.texts[source] = &strings.Builder{}
	}
	fmt.Fprintln(d.texts[source], line)
}

// value draws a value as a text and as TOML has it.
func (d *drawing) value(k known) (text, inTOML string) {
	n := d.random.IntN(90) + 1
	switch k.kind {
	case kindBool:
		words := []string{"true", "0", "Yes", "off", "1", "F"}
		return words[n%len(words)], fmt.Sprint(n%2 == 0)
	case kindInt:
		return fmt.Sprint(n), fmt.Sprint(n)
	case kindFloat:
		return fmt.Sprint(n), fmt.Sprintf("%d.5", n)
	case kindLevel:
		level := []string{"debug", "INFO", "Warning"}[n%3]
		return level, fmt.Sprintf("%q", level)
	case kindList:
		if k.name == "PREFECT_CLIENT_RETRY_EXTRA_CODES" {
			return fmt.Sprintf("%d,404", 500+n), fmt.Sprintf("[%d, 404]", 500+n)
		}
		return fmt.Sprintf("b%d,a", n), fmt.Sprintf("['b%d', 'a']", n)
	case kindHeaders:
		return fmt.Sprintf(`{"X-A": "%d"}`, n), fmt.Sprintf(`{X-A = "%d"}`, n)
	case "path":
		text := fmt.Sprintf("/p/%d", n)
		return text, fmt.Sprintf("%q", text)
	default:
		text := fmt.Sprintf("http://h%d/api", n)
		return text, fmt.Sprintf("%q", text)
	}
}

func (d *drawing) machine() machine {
	m := machine{env: d.env, files: map[string]string{}}
	text := func(source string) string {
		if d.texts[source] == nil {
			return ""
		}
		return d.texts[source].String()
	}
	m.files[".env"] = text(".env")
	m.files["prefect.toml"] = text("prefect.toml")
	m.files["pyproject.toml"] = "[tool.prefect]\n" + text("pyproject.toml")
	active := "active = \"work\"\n"
	switch {
	case d.random.IntN(8) == 0:
		m.env["PREFECT_PROFILE"] = "gone" // which makes it none, not the active one
	case d.profile == "other" && d.random.IntN(2) == 0:
		m.env["PREFECT_PROFILE"] = "other"
	default:
		active = fmt.Sprintf("active = %q\n", d.profile)
	}
	m.files["~/.prefect/profiles.toml"] = active + "[profiles.work]\n" + text("work") + "[profiles.other]\n" + text("other")
	if !slices.ContainsFunc([]string{"env", ".env"}, func(s string) bool { return d.said[s+"api.url"] }) {
		m.env["PREFECT_API_URL"] = "http://host/api"
	}
	return m
}

// String is the machine for the eye.
func (m machine) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, "env:", m.env)
	for name, text := range m.files {
		fmt.Fprintf(&b, "-- %s --\n%s", name, text)
	}
	return b.String()
}

// answer is what Prefect makes of a machine.
type answer struct {
	Explicit, AWS [][2]string
	Problem       string
}

func pairs(list [][2]string) []NameValue {
	var all []NameValue
	for _, pair := range list {
		all = append(all, NameValue{pair[0], pair[1]})
	}
	return all
}

// prefectsAnswers asks one Python for all of them: it takes a second to start.
func prefectsAnswers(t *testing.T, python string, machines []machine, lookups []Lookup) []answer {
	t.Helper()
	const script = `
import json, os, sys, pathlib
import prefect.settings.sources as sources
from prefect.settings.models.root import Settings
try:
    from prefect_aws.settings import AwsSettings
except ImportError:
    AwsSettings = None
explicit = lambda model: list(model().to_environment_variables(exclude_unset=True).items()) if model else []
answers = []
for case in json.load(sys.stdin):
    os.chdir(case["Dir"])
    os.environ.clear()
    os.environ.update({"HOME": case["Home"], **case["Env"]})
    sources.DEFAULT_PREFECT_HOME = pathlib.Path(case["Home"]) / ".prefect"
    sources._file_cache.clear()
    try:
        answers.append({"Explicit": explicit(Settings), "AWS": explicit(AwsSettings)})
    except Exception as problem:
        answers.append({"Problem": str(problem)[:300]})
print("RESULT " + json.dumps(answers))`
	type input struct {
		Dir, Home string
		Env       map[string]string
	}
	var cases []input
	for i, l := range lookups {
		cases = append(cases, input{l.Dir, l.Home, machines[i].env})
	}
	data, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(python, "-W", "ignore", "-c", script)
	command.Dir, command.Env, command.Stdin = t.TempDir(), []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, bytes.NewReader(data)
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, problems.String())
	}
	_, result, _ := strings.Cut(string(output), "RESULT ")
	var answers []answer
	if err := json.Unmarshal([]byte(result), &answers); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return answers
}
