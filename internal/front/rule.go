package front

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Subject is what rules are matched against: a call, a task or a message.
type Subject struct {
	Op
	// Method and Path as the service behind knows them.
	Method, Path string
	// URLPath is the path as the caller wrote it, where it is another.
	URLPath string
	Body    []byte
	// Runs are the flow runs that it concerns.
	Runs []string
	// Task is an ARN, LastStatus that task's in a message.
	Task, LastStatus string
}

// rule is a fault with its expressions compiled and its state.
type rule struct {
	Fault
	route, path, request *regexp.Regexp
	serial               int // never used again, unlike the id
	added                time.Time
	seen                 int
	draw                 func() float64
}

func compile(f Fault) (*rule, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	f.Hits = 0
	path, err := regexp.Compile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	request, err := regexp.Compile(f.Request)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	route, err := compileRoute(f.Route)
	if err != nil {
		return nil, fmt.Errorf("route: %w", err)
	}
	return &rule{Fault: f, route: route, path: path, request: request}, nil
}

var placeholder = regexp.MustCompile(`^\{[^{}/]*\}$`)

// compileRoute makes one expression over "METHOD /path"; of "" it makes nil.
func compileRoute(route string) (*regexp.Regexp, error) {
	if route == "" {
		return nil, nil
	}
	method, path, _ := strings.Cut(route, " ")
	if !strings.HasPrefix(path, "/") {
		return nil, errors.New(`it is a method and a path, for instance "POST /flow_runs/{id}/set_state"`)
	}
	expression := regexp.QuoteMeta(strings.ToUpper(method))
	if method == "*" {
		expression = "[^ ]*"
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		switch {
		case placeholder.MatchString(s):
			segments[i] = "[^/]+"
		case s == "*" && i == len(segments)-1:
			segments[i] = ".*"
		default:
			segments[i] = regexp.QuoteMeta(s)
		}
	}
	return regexp.Compile("^" + expression + " " + strings.Join(segments, "/") + "$")
}

func (r *rule) matches(s Subject) bool {
	return (r.Service == "" || r.Service == s.Service) &&
		(r.Operation == "" || r.Operation == s.Operation) &&
		(len(r.Failures) == 0 || s.Operation == "RunTask") &&
		(r.LastStatus == "" || r.LastStatus == s.LastStatus) &&
		(r.route == nil || r.route.MatchString(s.Method+" "+s.Path)) &&
		(r.path.MatchString(s.Path) || s.URLPath != "" && r.path.MatchString(s.URLPath)) &&
		(r.Task == "" || s.concernsTask(r.Task)) &&
		(r.Run == "" || s.concernsRun(r.Run)) &&
		r.request.Match(s.Body)
}

// strikes counts a match and says whether it is one to spoil.
func (r *rule) strikes() bool {
	r.seen++
	if r.seen <= r.Skip || (r.Probability > 0 && r.draw() >= r.Probability) {
		return false
	}
	r.Hits++
	return true
}

func (r *rule) spent() bool { return r.Count > 0 && r.Hits >= r.Count }

func (s Subject) concernsTask(task string) bool {
	if s.Task != "" {
		return s.Task == task || strings.HasSuffix(s.Task, "/"+task)
	}
	return strings.Contains(s.Path, task) || strings.Contains(string(s.Body), task)
}

func (s Subject) concernsRun(run string) bool {
	same := func(other string) bool { return strings.EqualFold(other, run) }
	if slices.ContainsFunc(s.Runs, same) {
		return true
	}
	run = strings.ToLower(run)
	return strings.Contains(strings.ToLower(s.Path), run) || strings.Contains(strings.ToLower(string(s.Body)), run)
}

// drawFrom is the sequence of numbers that a rule draws from: its own, so that
// what other rules match does not change it.
func drawFrom(seed uint64, id string) func() float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash takes everything
	return rand.New(rand.NewPCG(seed, h.Sum64())).Float64
}
