package prefectfront

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"faber/internal/front"
)

// classify names a call for the ledger and the fault table: service "prefect",
// and the route as the server knows it, with ids and names taken out: "POST
// /flow_runs/{id}/set_state", "POST /work_pools/{name}/get_scheduled_flow_runs",
// "WS /events/out".
func classify(r *http.Request, _ []byte) front.Op {
	method, path := locate(r)
	return front.Op{Service: "prefect", Operation: method + " " + routeOf(path)}
}

// locate returns a call's method, WS for a socket, and its path as the server
// knows it, without /api and Cloud's part.
func locate(r *http.Request) (method, path string) {
	method = r.Method
	if isUpgrade(r) {
		method = "WS"
	}
	path = strings.TrimPrefix(r.URL.EscapedPath(), "/api")
	if rest, ok := strings.CutPrefix(path, "/accounts/"); ok {
		if part := strings.SplitN(rest, "/", 4); len(part) == 4 && part[1] == "workspaces" {
			path = "/" + part[3]
		}
	}
	return method, path
}

// routeOf takes ids and names out of a path.
func routeOf(path string) string {
	part := strings.Split(path, "/")
	for i, p := range part {
		switch {
		case isID(p):
			part[i] = "{id}"
		case i > 0 && named(part[i-1]) && p != "" && p != "filter" && p != "count" && p != "paginate":
			part[i] = "{name}"
		}
	}
	return strings.Join(part, "/")
}

// named are the collections whose members go by name.
func named(collection string) bool {
	switch collection {
	case "work_pools", "queues", "name", "slug":
		return true
	default:
		return false
	}
}

var idForm = regexp.MustCompile(`^[0-9A-Fa-f-]{36}$`)

func isID(s string) bool { return idForm.MatchString(s) }

// CheckFault refuses faults that only the AWS front can inject.
func CheckFault(f front.Fault) error {
	switch {
	case f.Event != "" || f.Hide != 0 || f.Stop != nil || len(f.Failures) > 0:
		return errors.New("event, hide, stop and failures are effects of the AWS front")
	case f.Task != "":
		return errors.New("task is a selector of the AWS front")
	default:
		return nil
	}
}

// throttled is how Prefect Cloud refuses a call that comes too soon.
func throttled(front.Op) front.Fault {
	return front.Fault{
		Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "1"},
		Message: "Rate limit exceeded",
	}
}

// refuse writes the error of an injected fault.
func refuse(w http.ResponseWriter, _ *http.Request, _ front.Op, f front.Fault) {
	status := f.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	writeError(w, status, strings.TrimPrefix(f.Code+": "+f.Message, ": "))
}

// redact cuts, beyond what names tell, the whole content of blocks and
// variables: any field of theirs may be a secret.
func redact(_ *http.Request, op front.Op, body []byte) []byte {
	_, route, _ := strings.Cut(op.Operation, " ")
	if !strings.HasPrefix(route, "/block_documents") && !strings.HasPrefix(route, "/variables") {
		return front.Redact(body)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v := map[string]any{}
	if d.Decode(&v) != nil {
		return front.Redact(body)
	}
	for _, name := range []string{"data", "value"} {
		if v[name] != nil {
			v[name] = front.Cut
		}
	}
	out, err := json.Marshal(front.RedactValue(v))
	if err != nil {
		return nil
	}
	return out
}
