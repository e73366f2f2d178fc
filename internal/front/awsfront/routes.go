package awsfront

import (
	"net/http"
	"net/url"
	"strings"

	"faber/internal/front"
)

// upstream is one of the emulators.
type upstream string

const (
	ministack upstream = "ministack"
	moto      upstream = "moto"
)

// routing is one line of the routing table.
type routing struct {
	service string
	to      upstream
	// otherwise is who serves it, worse, when that emulator does not run.
	otherwise upstream
	why       string
}

// routes lists the services that are not ministack's. Everything else is,
// unsigned calls included: task metadata (/v4/), container credentials
// (/v2/credentials) and its own paths. ECS has to be, since ministack alone runs
// containers, and so has what ECS looks up while it starts them: ec2, iam, ecr,
// logs, secretsmanager.
func routes() []routing {
	return []routing{
		{"application-autoscaling", moto, "", "ministack has no such service"},
		{"codepipeline", moto, "", "ministack has no such service"},
		{"monitoring", moto, ministack, "ministack's DescribeAlarms leaves out actions, dimensions, statistic and period: no plan comes out clean"},
	}
}

// route says which emulator serves a service, of those that run.
func (f *Front) route(service string) upstream {
	for _, r := range routes() {
		if r.service != service {
			continue
		}
		if f.proxies[r.to] == nil && r.otherwise != "" {
			return r.otherwise
		}
		return r.to
	}
	return ministack
}

// scope is what a request was signed for: key/date/region/service/aws4_request.
type scope struct{ accessKey, region, service string }

// scopeOf reads the scope from the Authorization header or, in a presigned
// address, from the query. Nothing is verified: the emulators verify nothing.
func scopeOf(r *http.Request) scope {
	var credential string
	if _, rest, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		credential, _, _ = strings.Cut(rest, ",")
	} else {
		credential = r.URL.Query().Get("X-Amz-Credential")
	}
	part := strings.Split(strings.TrimSpace(credential), "/")
	if len(part) < 5 {
		return scope{}
	}
	// From the end: an access key may hold slashes, the rest may not.
	n := len(part)
	return scope{accessKey: strings.Join(part[:n-4], "/"), region: part[n-3], service: part[n-2]}
}

// classify names a call for the ledger and the fault table: the service as it
// is signed for ("ecs", "sqs", "logs"), and the operation as AWS names it; for
// REST services the method and the path.
func classify(r *http.Request, body []byte) front.Op {
	op := front.Op{Service: scopeOf(r).service}
	if op.Service == "" {
		op.Service = unsignedService(r.URL.Path)
	}
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		target := r.Header.Get("X-Amz-Target")
		op.Operation = target[strings.LastIndexByte(target, '.')+1:]
	case strings.HasPrefix(r.URL.Path, "/service/") && strings.Contains(r.URL.Path, "/operation/"):
		// Smithy RPC v2: /service/<shape>/operation/<name>
		op.Operation = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	case r.URL.Query().Get("Action") != "":
		op.Operation = r.URL.Query().Get("Action")
	default:
		op.Operation = formAction(r, body)
	}
	return op
}

func formAction(r *http.Request, body []byte) string {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if form, err := url.ParseQuery(string(body)); err == nil && form.Get("Action") != "" {
			return form.Get("Action")
		}
	}
	return r.Method + " " + r.URL.Path
}

func unsignedService(path string) string {
	switch {
	case strings.HasPrefix(path, "/v4/"):
		return "metadata"
	case strings.HasPrefix(path, "/v2/credentials"):
		return "credentials"
	case strings.HasPrefix(path, "/_ministack"):
		return "ministack"
	default:
		return "unsigned"
	}
}
