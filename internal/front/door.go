package front

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

const doorPath = "/_front/"

// door is the way in for tests and for people; see the package comment.
func (g *Gate) newDoor() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_front/health", g.serveHealth)
	mux.HandleFunc("GET /_front/ledger", g.serveLedger)
	mux.HandleFunc("GET /_front/faults", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"faults": g.faults.List()})
	})
	mux.HandleFunc("POST /_front/faults", g.addFaults)
	mux.HandleFunc("DELETE /_front/faults", func(w http.ResponseWriter, _ *http.Request) {
		g.faults.Clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /_front/faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !g.faults.Remove(r.PathValue("id")) {
			refuse(w, http.StatusNotFound, fmt.Errorf("no fault %q", r.PathValue("id")))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_front/seed", g.serveSeed)
	mux.HandleFunc("PUT /_front/seed", g.setSeed)
	mux.HandleFunc("POST /_front/seed", g.setSeed)
	mux.HandleFunc("GET /_front/holds", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"holds": g.holds.List()})
	})
	mux.HandleFunc("DELETE /_front/holds", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"released": g.holds.ReleaseAll()})
	})
	mux.HandleFunc("DELETE /_front/holds/{id}", func(w http.ResponseWriter, r *http.Request) {
		n := g.holds.Release(r.PathValue("id"))
		if n == 0 {
			refuse(w, http.StatusNotFound, fmt.Errorf("no call is held as %q", r.PathValue("id")))
			return
		}
		reply(w, http.StatusOK, map[string]any{"released": n})
	})
	mux.HandleFunc("DELETE /_front/sockets", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"closed": g.sockets.cut()})
	})
	return mux
}

func (g *Gate) serveHealth(w http.ResponseWriter, r *http.Request) {
	if g.o.Probe != nil {
		if err := g.o.Probe(r.Context()); err != nil {
			reply(w, http.StatusServiceUnavailable, map[string]any{"front": g.o.Name, "status": "down", "cause": err.Error()})
			return
		}
	}
	reply(w, http.StatusOK, map[string]any{"front": g.o.Name, "status": "up"})
}

func (g *Gate) serveLedger(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	// Read first: a call that arrives in between is then seen again, not missed.
	last := g.ledger.Last()
	reply(w, http.StatusOK, map[string]any{"calls": g.ledger.Calls(q), "last": last})
}

func parseQuery(v url.Values) (Query, error) {
	q := Query{Service: v.Get("service"), Operation: v.Get("operation"), Path: v.Get("path"), Run: v.Get("run"), Fault: v.Get("fault")}
	number := func(name string) (int64, error) {
		if v.Get(name) == "" {
			return 0, nil
		}
		n, err := strconv.ParseInt(v.Get(name), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		return n, nil
	}
	status, err := number("status")
	if err != nil {
		return q, err
	}
	limit, err := number("limit")
	if err != nil {
		return q, err
	}
	q.Since, err = number("since")
	q.Status, q.Limit = int(status), int(limit)
	return q, err
}

func (g *Gate) addFaults(w http.ResponseWriter, r *http.Request) {
	data, ok := readBody(w, r)
	if !ok {
		return
	}
	faults, err := ParseFaults(data)
	if err == nil {
		faults, err = g.faults.Add(faults...)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusCreated, map[string]any{"faults": faults})
}

// seedForm is a seed as the door reads and tells it.
type seedForm struct {
	Seed *uint64 `json:"seed"`
}

func (g *Gate) serveSeed(w http.ResponseWriter, _ *http.Request) {
	seed := g.faults.SeedInUse()
	reply(w, http.StatusOK, seedForm{&seed})
}

func (g *Gate) setSeed(w http.ResponseWriter, r *http.Request) {
	data, ok := readBody(w, r)
	if !ok {
		return
	}
	var form seedForm
	err := Strict(data, &form)
	if err == nil && form.Seed == nil {
		err = errors.New(`seed is missing: {"seed": 7}`)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	g.faults.Seed(*form.Seed)
	g.serveSeed(w, r)
}

// readBody reads what was sent to the door; when it cannot, it has answered.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHeldBody))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return nil, false
	}
	return data, true
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// AnswerDoor answers a call at a front's own page of the door.
func AnswerDoor(w http.ResponseWriter, v any) { reply(w, http.StatusOK, v) }

// RefuseDoor refuses one.
func RefuseDoor(w http.ResponseWriter, err error) { refuse(w, http.StatusBadRequest, err) }

func refuse(w http.ResponseWriter, status int, err error) {
	reply(w, status, map[string]any{"error": err.Error()})
}
