package telemetry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Check is one thing that must be so for the process to serve flow runs.
type Check struct {
	Name    string
	Age     time.Duration // since it was as it should be for the last time
	Every   time.Duration // how often it should be
	Problem string        // "" when all is well
}

// alive answers 200 while a restart would not help.
func (h Health) alive(w http.ResponseWriter, _ *http.Request) {
	check := h.Alive
	if check == nil {
		check = h.Live
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := ask(check); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}

// ready answers 200 while flow runs are served, and tells the age of everything that
// is needed for it: as text, or as JSON to who asks for that.
func (h Health) ready(w http.ResponseWriter, r *http.Request) {
	err := ask(h.Ready)
	var checks []Check
	if h.Checks != nil {
		checks = h.Checks()
	}
	write, kind := writeText, "text/plain; charset=utf-8"
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		write, kind = writeJSON, "application/json"
	}
	w.Header().Set("Content-Type", kind)
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	write(w, err, checks)
}

func ask(check func() error) error {
	if check == nil {
		return nil
	}
	return check()
}

func writeText(w io.Writer, problem error, checks []Check) {
	if problem == nil {
		fmt.Fprintln(w, "ok")
	} else {
		fmt.Fprintln(w, problem)
	}
	for _, c := range checks {
		fmt.Fprintf(w, "%s: %s ago, every %s", c.Name, round(c.Age), c.Every)
		if c.Problem != "" {
			fmt.Fprintf(w, ": %s", c.Problem)
		}
		fmt.Fprintln(w)
	}
}

// round keeps an age short; within the first seconds the tenths matter.
func round(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

func writeJSON(w io.Writer, problem error, checks []Check) {
	type row struct {
		Name    string  `json:"name"`
		OK      bool    `json:"ok"`
		Age     float64 `json:"age_seconds"`
		Every   float64 `json:"every_seconds"`
		Problem string  `json:"problem,omitempty"`
	}
	answer := struct {
		Ready   bool   `json:"ready"`
		Problem string `json:"problem,omitempty"`
		Checks  []row  `json:"checks"`
	}{Ready: problem == nil, Checks: []row{}}
	if problem != nil {
		answer.Problem = problem.Error()
	}
	for _, c := range checks {
		answer.Checks = append(answer.Checks, row{c.Name, c.Problem == "", c.Age.Round(time.Millisecond).Seconds(), c.Every.Seconds(), c.Problem})
	}
	_ = json.NewEncoder(w).Encode(answer) // who asked may have gone
}
