package awsfront

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"time"

	"faber/internal/front"
)

// openDoor adds what only this front has:
//
//	GET    /_front/quotas    the quotas in force, null when none are
//	POST   /_front/quotas    AWS's published ones, with those in the body in their place
//	DELETE /_front/quotas    none
//	GET    /_front/missing   for how long a new task is unknown to ECS
//	PUT    /_front/missing   {"for": "5s"}
func (f *Front) openDoor() {
	f.gate.Handle("GET /_front/quotas", func(w http.ResponseWriter, _ *http.Request) { f.tellQuotas(w) })
	f.gate.Handle("POST /_front/quotas", func(w http.ResponseWriter, r *http.Request) {
		own := Quotas{}
		if !readDoor(w, r, &own) {
			return
		}
		if err := own.Check(); err != nil {
			front.RefuseDoor(w, err)
			return
		}
		all := Published()
		maps.Copy(all, own)
		f.SetQuotas(all)
		f.tellQuotas(w)
	})
	f.gate.Handle("DELETE /_front/quotas", func(w http.ResponseWriter, _ *http.Request) {
		f.SetQuotas(nil)
		w.WriteHeader(http.StatusNoContent)
	})
	f.gate.Handle("GET /_front/missing", func(w http.ResponseWriter, _ *http.Request) { f.tellMissing(w) })
	f.gate.Handle("PUT /_front/missing", func(w http.ResponseWriter, r *http.Request) {
		var in missingForm
		if !readDoor(w, r, &in) {
			return
		}
		if in.For < 0 || in.For == front.Forever {
			front.RefuseDoor(w, errors.New("for is a time that ends"))
			return
		}
		f.SetMissingFor(time.Duration(in.For))
		f.tellMissing(w)
	})
}

type missingForm struct {
	For front.Duration `json:"for"`
}

func (f *Front) tellMissing(w http.ResponseWriter) {
	front.AnswerDoor(w, missingForm{front.Duration(f.MissingFor())})
}

func (f *Front) tellQuotas(w http.ResponseWriter) {
	front.AnswerDoor(w, map[string]any{"quotas": f.Quotas()})
}

// maxForm is more than any form of the door needs.
const maxForm = 64 << 10

// readDoor reads a form; an empty body is an empty one.
func readDoor(w http.ResponseWriter, r *http.Request, into any) bool {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err == nil && len(data) > 0 {
		err = front.Strict(data, into)
	}
	if err != nil {
		front.RefuseDoor(w, err)
		return false
	}
	return true
}
