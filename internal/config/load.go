package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

const sourceDefault = "default"

// found is a setting that some source sets.
type found struct {
	raw    any
	text   string // as a flow run's environment has it
	source Source
	bad    bool // cannot be read, or is out of bounds
}

// Load reads all sources and checks them; every problem is in the error.
func Load(l Lookup) (*Settings, error) {
	s, err := Inspect(l)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Inspect is Load for showing settings: beside an error it still returns what
// could be read, and the defaults where nothing could.
func Inspect(l Lookup) (*Settings, error) {
	files, err := l.readFiles()
	problems := []error{err}
	active, err := l.profile(files)
	problems = append(problems, err)
	s := &Settings{
		table: knownSettings(), aws: awsSettings(), standard: map[string]string{},
		found: map[string]found{}, altered: map[string]alteration{},
		Profile: active.name, ProfilesPath: active.path, profile: active,
	}
	if active.warning != "" {
		s.warn("%s", active.warning)
	}
	for _, line := range files.dotenv.bad {
		s.warn("%s: line %d cannot be read, and is left out", l.in(".env"), line)
	}
	problems = append(problems, s.collect(l, l.sources(files, active))...)
	problems = append(problems, s.fill(l)...)
	s.unknown = s.findUnknown(l, files, active)
	if errors.Join(problems...) == nil {
		// Which API is meant cannot be said while a source is unreadable.
		problems = append(problems, s.resolveAPI()...)
	} else {
		s.CloudAPIURL, s.APIURL = s.text(cloudURLName), s.text(apiURLName)
	}
	s.adaptToCloud()
	return s, errors.Join(problems...)
}

// all are the settings of every table.
func (s *Settings) all() []known { return slices.Concat(s.table, s.aws, ownSettings()) }

// collect takes each setting from the highest source that has it.
func (s *Settings) collect(l Lookup, sources []source) []error {
	var problems []error
	for _, k := range s.all() {
		s.standard[k.name] = k.standard
		for _, from := range sources {
			raw, as, ok := from.find(k)
			if !ok {
				continue
			}
			where := from.Source
			if as != k.name {
				where.As = as
			}
			text, err := textForm(k.kind, raw)
			if plain(raw) == "" && k.kind != kindHeaders {
				text, err = "", nil // set to nothing: hides lower sources, and that is all
			}
			if err == nil {
				err = k.checkBounds(text)
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s (%s): %w", k.name, where, err))
			}
			if k.name == "PREFECT_HOME" && text != "" {
				text = l.absolute(text)
			}
			s.found[k.name] = found{raw: raw, text: text, source: where, bad: err != nil}
			break
		}
	}
	return problems
}

// orText is the raw value, or the empty text of an unset setting.
func (f found) orText() any {
	if f.raw == nil {
		return ""
	}
	return f.raw
}

func (s *Settings) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// text is the value of a setting, or the default when it is unset, set to
// nothing or unreadable.
func (s *Settings) text(name string) string {
	if text := s.found[name].text; text != "" {
		return text
	}
	return s.standard[name]
}

func (s *Settings) bool(name string) bool { return s.text(name) == "True" }

// int reads a whole number. What cannot be read is unset and has no text.
func (s *Settings) int(name string) int {
	number, err := strconv.Atoi(s.text(name))
	if err != nil {
		return 0
	}
	return number
}

func (s *Settings) float(name string) float64 {
	number, err := strconv.ParseFloat(s.text(name), 64)
	if err != nil || math.IsNaN(number) {
		number, err = strconv.ParseFloat(s.standard[name], 64)
		if err != nil {
			return 0
		}
	}
	return number
}

func (s *Settings) duration(name string) time.Duration {
	const longest = 365 * 24 * 3600 // keeps a slip of the finger within what a Duration holds
	return time.Duration(min(s.float(name), longest) * float64(time.Second))
}

// truncated is a number of seconds that the worker counts in whole ones.
func (s *Settings) truncated(name string) int {
	number := s.float(name)
	if number != math.Trunc(number) {
		s.alter(name, strconv.Itoa(int(number)), "whole seconds only")
	}
	return int(number)
}

// alter notes that another value than the one that was set is in force.
func (s *Settings) alter(name, value, note string) {
	s.altered[name] = alteration{value, note}
}

func isPort(n int) bool { return n >= 0 && n <= 65535 }

// retryCodes reads the list of statuses.
func (s *Settings) retryCodes() []error {
	const name = "PREFECT_CLIENT_RETRY_EXTRA_CODES"
	var problems []error
	for _, item := range listItems(s.text(name)) {
		code, err := strconv.Atoi(strings.TrimSpace(item))
		if err != nil || code < 100 || code > 599 {
			problems = append(problems, fmt.Errorf("%s (%s): %q is no HTTP status code", name, s.Source(name), item))
			continue
		}
		s.RetryExtraCodes = append(s.RetryExtraCodes, code)
	}
	return problems
}
