package prefect

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const accessTimeout = 5 * time.Second

// CheckAccess tries once, within five seconds, whether the API lets this client
// in. A refusal is an *AccessError; no answer at all is an ErrUnreachable.
func (c *Client) CheckAccess(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, accessTimeout)
	defer cancel()
	if c.IsCloud() {
		return c.checkCloud(ctx)
	}
	return c.checkServer(ctx)
}

// checkServer reads the version of a self-hosted server: the cheapest call
// that its authentication guards.
func (c *Client) checkServer(ctx context.Context) error {
	got, err := c.ask(ctx, c.api, "/admin/version")
	if err != nil {
		return err
	}
	var version string
	switch {
	case got.code == http.StatusUnauthorized || got.code == http.StatusForbidden:
		return c.serverRefusal(got)
	case got.code == http.StatusNotFound || got.code < 300 && json.Unmarshal(got.body, &version) != nil:
		return &AccessError{
			Subject: "URL",
			Message: fmt.Sprintf("there is no Prefect API at %s", redactURL(c.api)),
			Hint:    "set PREFECT_API_URL to the server's API: it ends in /api, as in http://host:4200/api",
			Err:     statusError(http.MethodGet, "/admin/version", got),
		}
	case got.code >= 300:
		return statusError(http.MethodGet, "/admin/version", got)
	default:
		return nil
	}
}

func (c *Client) serverRefusal(got *answer) error {
	refusal := &AccessError{Subject: "auth string", Err: statusError(http.MethodGet, "/admin/version", got)}
	server := redactURL(c.api)
	switch {
	case c.credentials().AuthString != "":
		refusal.Message = fmt.Sprintf("the Prefect server at %s does not accept the auth string", server)
		refusal.Hint = "set PREFECT_API_AUTH_STRING to the server's PREFECT_SERVER_API_AUTH_STRING (user:password)"
	case c.credentials().APIKey != "":
		refusal.Message = fmt.Sprintf("the Prefect server at %s asks for an auth string; an API key is for Prefect Cloud", server)
		refusal.Hint = "set PREFECT_API_AUTH_STRING to the server's PREFECT_SERVER_API_AUTH_STRING, or PREFECT_API_URL to a Cloud workspace"
	default:
		refusal.Message = fmt.Sprintf("the Prefect server at %s asks for an auth string, and none is set", server)
		refusal.Hint = "set PREFECT_API_AUTH_STRING to the server's PREFECT_SERVER_API_AUTH_STRING (user:password)"
	}
	return refusal
}

// workspace is one that the API key can see.
type workspace struct {
	AccountID       string `json:"account_id"`
	AccountHandle   string `json:"account_handle"`
	AccountName     string `json:"account_name"`
	WorkspaceID     string `json:"workspace_id"`
	WorkspaceHandle string `json:"workspace_handle"`
	WorkspaceName   string `json:"workspace_name"`
}

// checkCloud asks Cloud what the key can see and looks for the workspace there:
// the workspace's own answer would be the same 404 for every mistake.
func (c *Client) checkCloud(ctx context.Context) error {
	account, workspaceID, err := c.cloudIDs()
	if err != nil {
		return err
	}
	if err := c.checkCloudCredentials(); err != nil {
		return err
	}
	visible, err := c.visibleWorkspaces(ctx)
	if err != nil {
		return err
	}
	return findWorkspace(visible, account, workspaceID)
}

// checkCloudCredentials finds credentials that cannot work, without a call.
func (c *Client) checkCloudCredentials() error {
	if c.credentials().AuthString != "" {
		return &AccessError{
			Subject: "auth string",
			Message: "PREFECT_API_AUTH_STRING is set, and is sent to Prefect Cloud in place of the API key",
			Hint:    "unset PREFECT_API_AUTH_STRING: Prefect Cloud takes PREFECT_API_KEY only",
		}
	}
	if c.requestHeaders(c.credentials()).Get("Authorization") == "" {
		return &AccessError{
			Subject: "API key",
			Message: "no API key for Prefect Cloud is set",
			Hint:    "set PREFECT_API_KEY; keys are made in Prefect Cloud under your profile or Service Accounts",
		}
	}
	return nil
}

// visibleWorkspaces reads what the key can see.
func (c *Client) visibleWorkspaces(ctx context.Context) ([]workspace, error) {
	cloud := strings.TrimRight(c.options.CloudAPIURL, "/")
	got, err := c.ask(ctx, cloud, "/me/workspaces")
	if err != nil {
		return nil, err
	}
	var visible []workspace
	switch {
	case got.code == http.StatusUnauthorized || got.code == http.StatusForbidden:
		return nil, &AccessError{
			Subject: "API key",
			Message: "Prefect Cloud does not accept the API key: it is mistyped, expired or revoked",
			Hint:    "set PREFECT_API_KEY to a valid key; keys are made in Prefect Cloud under your profile or Service Accounts",
			Err:     statusError(http.MethodGet, "/me/workspaces", got),
		}
	case got.code == http.StatusNotFound || got.code < 300 && json.Unmarshal(got.body, &visible) != nil:
		return nil, &AccessError{
			Subject: "URL",
			Message: fmt.Sprintf("there is no Prefect Cloud API at %s", redactURL(cloud)),
			Hint:    "unset PREFECT_CLOUD_API_URL, or set it to the API of your Prefect Cloud",
			Err:     statusError(http.MethodGet, "/me/workspaces", got),
		}
	case got.code >= 300:
		return nil, statusError(http.MethodGet, "/me/workspaces", got)
	default:
		return visible, nil
	}
}

// findWorkspace looks for a workspace among those a key can see.
func findWorkspace(visible []workspace, account, id string) error {
	inAccount := slices.DeleteFunc(slices.Clone(visible), func(w workspace) bool { return !strings.EqualFold(w.AccountID, account) })
	if len(inAccount) == 0 {
		return &AccessError{
			Subject: "account",
			Message: fmt.Sprintf("the API key is valid, but has no access to the account %s", account),
			Hint: "set PREFECT_ACCOUNT_ID (or the account in PREFECT_API_URL) to the key's account" +
				listed(visible, func(w workspace) string { return named(w.AccountHandle, w.AccountName, w.AccountID) }) +
				", or PREFECT_API_KEY to a key of that account",
		}
	}
	if slices.ContainsFunc(inAccount, func(w workspace) bool { return strings.EqualFold(w.WorkspaceID, id) }) {
		return nil
	}
	return &AccessError{
		Subject: "workspace",
		Message: fmt.Sprintf("the API key is valid and its account right, but it has no access to the workspace %s", id),
		Hint: "set PREFECT_WORKSPACE_ID (or the workspace in PREFECT_API_URL) to a workspace of the account" +
			listed(inAccount, func(w workspace) string { return named(w.WorkspaceHandle, w.WorkspaceName, w.WorkspaceID) }) +
			", or let the owner of the key into that workspace",
	}
}

// listed is " (it sees a, b, c)" of the first few distinct names, "" of none.
func listed(visible []workspace, name func(workspace) string) string {
	var names []string
	for _, w := range visible {
		if n := name(w); !slices.Contains(names, n) && len(names) < 5 {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (it sees " + strings.Join(names, ", ") + ")"
}

func named(handle, name, id string) string {
	if handle == "" {
		handle = name
	}
	if handle == "" {
		return id
	}
	return handle + " = " + id
}

// cloudIDs reads account and workspace from the URL, which is what requests use.
func (c *Client) cloudIDs() (account, workspaceID string, err error) {
	rest := strings.TrimPrefix(c.api, strings.TrimRight(c.options.CloudAPIURL, "/"))
	parts := strings.Split(strings.Trim(rest, "/"), "/")
	if len(parts) == 4 && parts[0] == "accounts" && parts[2] == "workspaces" {
		return parts[1], parts[3], nil
	}
	return "", "", &AccessError{
		Subject: "URL",
		Message: fmt.Sprintf("%s names no workspace of Prefect Cloud", redactURL(c.api)),
		Hint: "set PREFECT_API_URL to " + redactURL(strings.TrimRight(c.options.CloudAPIURL, "/")) +
			"/accounts/<account id>/workspaces/<workspace id>, or set PREFECT_ACCOUNT_ID and PREFECT_WORKSPACE_ID instead",
	}
}

// ask makes one GET, without any retry.
func (c *Client) ask(ctx context.Context, base, path string) (*answer, error) {
	got, err := c.once(ctx, http.MethodGet, base+path, nil, "")
	if err != nil {
		host := base
		if parsed, parseErr := url.Parse(base); parseErr == nil {
			host = parsed.Host
		}
		return nil, &unreachableError{http.MethodGet, path, fmt.Errorf("%s: %w", host, err)}
	}
	return got, nil
}
