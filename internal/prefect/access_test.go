package prefect

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	accountA   = "aaaaaaaa-0000-4000-8000-000000000001"
	accountB   = "bbbbbbbb-0000-4000-8000-000000000002"
	workspaceA = "aaaaaaaa-1111-4000-8000-000000000001"
	workspaceB = "bbbbbbbb-1111-4000-8000-000000000002"
	hush       = "pnu_hush_hush"
)

func TestCheckAccessOnServer(t *testing.T) {
	for name, test := range map[string]struct {
		route         http.HandlerFunc
		options       Options
		subject, hint string
	}{
		"fine":          {with("3.8.8"), Options{}, "", ""},
		"wrong string":  {status(401), Options{AuthString: hush}, "auth string", "PREFECT_API_AUTH_STRING"},
		"no string":     {status(401), Options{}, "auth string", "PREFECT_API_AUTH_STRING"},
		"key instead":   {status(401), Options{APIKey: hush}, "auth string", "PREFECT_API_AUTH_STRING"},
		"no API":        {nil, Options{}, "URL", "PREFECT_API_URL"},
		"the dashboard": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, Options{}, "URL", "PREFECT_API_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFake(t, map[string]http.HandlerFunc{"GET /api/admin/version": test.route})
			checkRefusal(t, api.client(t, test.options).CheckAccess(t.Context()), test.subject, test.hint)
			if len(api.seen()) != 1 {
				t.Errorf("%d requests", len(api.seen()))
			}
		})
	}
}

func checkRefusal(t *testing.T, err error, subject, hint string) {
	t.Helper()
	var refused *AccessError
	if !errors.As(err, &refused) {
		if err != nil || subject != "" {
			t.Fatalf("got %v, want a refusal of %q", err, subject)
		}
		return
	}
	if refused.Subject != subject || !strings.Contains(refused.Hint, hint) || refused.Message == "" {
		t.Errorf("%q: %s\n%s", refused.Subject, refused.Message, refused.Hint)
	}
	if strings.Contains(refused.Message+refused.Hint+errString(refused.Err), "hush") {
		t.Error("a credential is in the diagnosis")
	}
}

func errString(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestCheckAccessOnCloud(t *testing.T) {
	a := map[string]any{"account_id": accountA, "account_handle": "acme", "workspace_id": workspaceA, "workspace_handle": "prod"}
	b := map[string]any{"account_id": accountB, "workspace_id": workspaceB, "workspace_name": "Other"}
	url := func(account, workspace string) string {
		return "http://prefect.test/api/accounts/" + account + "/workspaces/" + workspace
	}
	for name, test := range map[string]struct {
		route         http.HandlerFunc
		options       Options
		subject, hint string
		asked         int
	}{
		"fine":            {with([]any{a, b}), Options{APIURL: url(strings.ToUpper(accountA), workspaceA), APIKey: hush}, "", "", 1},
		"bad key":         {status(401), Options{APIURL: url(accountA, workspaceA), APIKey: hush}, "API key", "PREFECT_API_KEY", 1},
		"forbidden":       {status(403), Options{APIURL: url(accountA, workspaceA), APIKey: hush}, "API key", "PREFECT_API_KEY", 1},
		"no key":          {with([]any{a}), Options{APIURL: url(accountA, workspaceA)}, "API key", "PREFECT_API_KEY", 0},
		"auth string":     {with([]any{a}), Options{APIURL: url(accountA, workspaceA), APIKey: hush, AuthString: hush}, "auth string", "PREFECT_API_AUTH_STRING", 0},
		"other account":   {with([]any{a}), Options{APIURL: url(accountB, workspaceA), APIKey: hush}, "account", "PREFECT_ACCOUNT_ID", 1},
		"sees nothing":    {with([]any{}), Options{APIURL: url(accountB, workspaceA), APIKey: hush}, "account", "PREFECT_ACCOUNT_ID", 1},
		"account is told": {with([]any{a, a, b}), Options{APIURL: url(workspaceA, workspaceA), APIKey: hush}, "account", "(it sees acme = " + accountA + ", " + accountB + ")", 1},
		"other workspace": {with([]any{a, b}), Options{APIURL: url(accountA, workspaceB), APIKey: hush}, "workspace", "PREFECT_WORKSPACE_ID", 1},
		"space is told":   {with([]any{a, b}), Options{APIURL: url(accountB, workspaceA), APIKey: hush}, "workspace", "(it sees Other = " + workspaceB + ")", 1},
		"no Cloud":        {nil, Options{APIURL: url(accountA, workspaceA), APIKey: hush}, "URL", "PREFECT_CLOUD_API_URL", 1},
		"bare URL":        {with([]any{a}), Options{APIURL: "http://prefect.test/api", APIKey: hush}, "URL", "PREFECT_API_URL", 0},
		"own header":      {with([]any{a}), Options{APIURL: url(accountA, workspaceA), CustomHeaders: map[string]string{"Authorization": "x"}}, "", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFake(t, map[string]http.HandlerFunc{"GET /api/me/workspaces": test.route})
			test.options.CloudAPIURL = "http://prefect.test/api/"
			checkRefusal(t, api.client(t, test.options).CheckAccess(t.Context()), test.subject, test.hint)
			if len(api.seen()) != test.asked {
				t.Errorf("%d requests", len(api.seen()))
			}
			if test.asked > 0 && test.options.APIKey != "" && api.seen()[0].header.Get("Authorization") != "Bearer "+hush {
				t.Error("no bearer token")
			}
		})
	}
}

func TestCheckAccessOfABrokenAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		api := newFake(t, map[string]http.HandlerFunc{"GET /api/admin/version": answers(status(503), hang)})
		c := api.client(t, Options{MaxRetries: 5})
		var status *StatusError
		if err := c.CheckAccess(t.Context()); !errors.As(err, &status) || status.Code != 503 || !IsTransient(err) {
			t.Errorf("503: %v", err)
		}
		start := time.Now()
		if err := c.CheckAccess(t.Context()); !errors.Is(err, ErrUnreachable) || time.Since(start) != accessTimeout {
			t.Errorf("hanging: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.CheckAccess(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}
