package prefectfront

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// cloud serves Cloud's address form. What Cloud answers to a key that may not
// go somewhere is not documented; here an account that is not the key's is 404,
// as if it were not there, and a workspace that is not the key's, in an account
// that is, is 403.
func (f *Front) cloud() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/accounts/{account}/workspaces/{workspace}/{rest...}", f.serveWorkspace)
	mux.HandleFunc("GET /api/me/workspaces", f.serveWorkspaces)
	mux.HandleFunc("GET /api/me/{$}", f.serveMe)
	mux.HandleFunc("GET /api/me", f.serveMe)
	// Public on Cloud too, and what the doctor and load balancers ask.
	mux.Handle("GET /api/health", f.proxy)
	mux.Handle("GET /api/hello", f.proxy)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "Not Found")
	})
	return mux
}

func (f *Front) serveWorkspace(w http.ResponseWriter, r *http.Request) {
	account, workspace := r.PathValue("account"), r.PathValue("workspace")
	if isUpgrade(r) {
		f.serveSocket(w, r, account, workspace)
		return
	}
	places, ok := f.o.APIKeys[bearer(r)]
	if !ok {
		writeError(w, http.StatusUnauthorized, "Invalid authentication credentials")
		return
	}
	if status, detail := admit(places, account, workspace); status != 0 {
		writeError(w, status, detail)
		return
	}
	f.proxy.ServeHTTP(w, serverRequest(r, account, workspace))
}

// serverRequest is the request as the server knows it: /api/<rest>.
func serverRequest(r *http.Request, account, workspace string) *http.Request {
	prefix := "/api/accounts/" + account + "/workspaces/" + workspace + "/"
	out := r.Clone(context.WithValue(r.Context(), prefixKey{}, prefix))
	out.URL.Path = "/api/" + serverPath(strings.TrimPrefix(r.URL.Path, prefix))
	if r.URL.RawPath != "" {
		// Names may hold escaped slashes.
		out.URL.RawPath = "/api/" + strings.TrimPrefix(r.URL.RawPath, prefix)
	}
	return out
}

// serverPath is the server's name for what Cloud names otherwise.
func serverPath(rest string) string {
	if rest == "collections/work_pool_types" {
		return "collections/views/aggregate-worker-metadata"
	}
	return rest
}

// admit says how to refuse a workspace to a key; status 0 is to let it in.
func admit(places []Workspace, account, workspace string) (status int, detail string) {
	if !slices.ContainsFunc(places, func(p Workspace) bool { return strings.EqualFold(p.AccountID, account) }) {
		return http.StatusNotFound, "Not Found"
	}
	here := func(p Workspace) bool {
		return strings.EqualFold(p.AccountID, account) && strings.EqualFold(p.WorkspaceID, workspace)
	}
	if !slices.ContainsFunc(places, here) {
		return http.StatusForbidden, "Forbidden"
	}
	return 0, ""
}

func (f *Front) serveWorkspaces(w http.ResponseWriter, r *http.Request) {
	places, ok := f.o.APIKeys[bearer(r)]
	if !ok {
		writeError(w, http.StatusUnauthorized, "Invalid authentication credentials")
		return
	}
	list := []map[string]string{}
	for _, p := range places {
		list = append(list, map[string]string{
			"account_id": p.AccountID, "account_name": p.AccountHandle, "account_handle": p.AccountHandle,
			"workspace_id": p.WorkspaceID, "workspace_name": p.WorkspaceHandle, "workspace_handle": p.WorkspaceHandle,
			"workspace_description": "",
		})
	}
	writeJSON(w, http.StatusOK, list)
}

func (f *Front) serveMe(w http.ResponseWriter, r *http.Request) {
	if _, ok := f.o.APIKeys[bearer(r)]; !ok {
		writeError(w, http.StatusUnauthorized, "Invalid authentication credentials")
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{
		"id": "00000000-0000-4000-8000-000000000001", "actor_id": "00000000-0000-4000-8000-000000000002",
		"handle": "local", "first_name": "Local", "last_name": "User", "email": "local@example.invalid",
	})
}

// bearer is the token in the Authorization header.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// writeError answers as Prefect does.
func writeError(w http.ResponseWriter, status int, detail string) {
	writeJSON(w, status, map[string]string{"detail": detail})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
