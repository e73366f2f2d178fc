package awsfront

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"faber/internal/front"
)

// writeError writes an error as AWS's JSON services do, or in the XML of the
// older ones when the request was of their kind.
func writeError(w http.ResponseWriter, r *http.Request, status int, code, message string, extra map[string]any) {
	id := uuid.NewString()
	w.Header().Set("X-Amzn-Requestid", id)
	if r.Header.Get("X-Amz-Target") == "" && !strings.Contains(r.Header.Get("Content-Type"), "json") {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		_, _ = w.Write(xmlError(scopeOf(r).service, status, code, message, id))
		return
	}
	kind := code
	if scopeOf(r).service == "sqs" {
		// The name of the error's shape, and beside it that of the older protocol,
		// which is the one that SDKs show.
		kind = "com.amazonaws.sqs#" + code
		w.Header().Set("X-Amzn-Query-Error", code+";Sender")
	}
	body := map[string]any{"__type": kind, "message": message}
	maps.Copy(body, extra)
	data, err := json.Marshal(body)
	if err != nil {
		panic(err) // Strings and maps of strings cannot fail.
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-ErrorType", code)
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func xmlError(service string, status int, code, message, id string) []byte {
	type detail struct {
		Type    string `xml:",omitempty"`
		Code    string
		Message string
	}
	at := "Sender"
	if status >= 500 {
		at = "Receiver"
	}
	var v any
	switch service {
	case "ec2":
		v = struct {
			XMLName   xml.Name `xml:"Response"`
			Errors    []detail `xml:"Errors>Error"`
			RequestID string
		}{Errors: []detail{{Code: code, Message: message}}, RequestID: id}
	case "s3":
		v = struct {
			XMLName xml.Name `xml:"Error"`
			detail
			RequestId string
		}{detail: detail{Code: code, Message: message}, RequestId: id}
	default:
		v = struct {
			XMLName   xml.Name `xml:"ErrorResponse"`
			Error     detail
			RequestId string
		}{Error: detail{at, code, message}, RequestId: id}
	}
	data, err := xml.Marshal(v)
	if err != nil {
		return []byte("<Error/>")
	}
	return data
}

// throttled is how a service refuses a call that comes too soon: in its own words.
func throttled(op front.Op) front.Fault {
	switch op.Service {
	case "sqs":
		return front.Fault{Status: http.StatusBadRequest, Code: "RequestThrottled", Message: "Request is throttled."}
	case "ec2":
		return front.Fault{Status: http.StatusServiceUnavailable, Code: "RequestLimitExceeded", Message: "Request limit exceeded."}
	case "s3":
		return front.Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown", Message: "Please reduce your request rate."}
	case "sts", "iam", "monitoring", "autoscaling":
		return front.Fault{Status: http.StatusBadRequest, Code: "Throttling", Message: "Rate exceeded"}
	default:
		return front.Fault{Status: http.StatusBadRequest, Code: "ThrottlingException", Message: "Rate exceeded"}
	}
}

// refuse writes the error of an injected fault.
func refuse(w http.ResponseWriter, r *http.Request, _ front.Op, f front.Fault) {
	status := f.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	writeError(w, r, status, f.Code, f.Message, nil)
}

// APIError is an emulator's refusal of a call of the front's own.
type APIError struct {
	Operation string
	Status    int
	Code      string
	Message   string
}

func (e *APIError) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", e.Operation, e.Status, e.Code, e.Message)
}

// call makes a call of the front's own to an emulator.
func (f *Front) call(ctx context.Context, to *url.URL, service, target string, in, out any) error {
	return f.callAs(ctx, scope{accessKey: f.o.AccountID, region: f.o.Region}, to, service, target, in, out)
}

// callAs makes a call to an emulator for whoever has the scope's key, in AWS's
// JSON protocol.
func (f *Front) callAs(ctx context.Context, as scope, to *url.URL, service, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %w", target, err)
	}
	a, err := f.post(ctx, as, to, service, http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {target}}, body)
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	if !a.ok() {
		return apiError(target, a.status, a.body)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("%s: decode answer: %w", target, err)
	}
	return nil
}

// query makes a call to an emulator for whoever has the scope's key, in AWS's
// query protocol. A refusal is an answer.
func (f *Front) query(ctx context.Context, as scope, to *url.URL, service string, form url.Values) (*answer, error) {
	a, err := f.post(ctx, as, to, service, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", form.Get("Action"), err)
	}
	return a, nil
}

// post sends a call of the front's own. It is not signed, only scoped: the
// emulators read the account and the region from the scope and verify nothing.
func (f *Front) post(ctx context.Context, as scope, to *url.URL, service string, header http.Header, body []byte) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.JoinPath("/").String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	req.Header = header
	req.Header.Set("X-Amz-Date", now.Format("20060102T150405Z"))
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=host;x-amz-date, Signature=%064d",
		as.accessKey, now.Format("20060102"), as.region, service, 0))
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return &answer{status: res.StatusCode, header: res.Header, body: data}, nil
}

func apiError(target string, status int, data []byte) *APIError {
	var v struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
		Upper   string `json:"Message"`
	}
	e := &APIError{Operation: target, Status: status, Message: string(data[:min(len(data), 300)])}
	if json.Unmarshal(data, &v) == nil && v.Type != "" {
		e.Code = v.Type[strings.LastIndexByte(v.Type, '#')+1:]
		e.Message = v.Message + v.Upper
	}
	return e
}
