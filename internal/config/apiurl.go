package config

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

const (
	apiURLName   = "PREFECT_API_URL"
	apiKeyName   = "PREFECT_API_KEY"
	cloudURLName = "PREFECT_CLOUD_API_URL"
)

// whereToGet says where to find what a Cloud URL is built from.
func whereToGet(name string) string {
	switch name {
	case apiKeyName:
		return "an API key, made in Prefect Cloud under your profile or Service Accounts"
	case accountIDName:
		return "the id after /account/ in the address of your Prefect Cloud page"
	default:
		return "the id after /workspace/ in the address of your Prefect Cloud page"
	}
}

// resolveAPI settles which API to use, and checks it.
func (s *Settings) resolveAPI() []error {
	s.CloudAPIURL = strings.TrimRight(strings.TrimSpace(s.text(cloudURLName)), "/")
	s.APIURL = strings.TrimRight(strings.TrimSpace(s.text(apiURLName)), "/")
	if s.APIURL == "" {
		return s.buildCloudURL()
	}
	parsed, err := url.Parse(s.APIURL)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return []error{fmt.Errorf("%s (%s) is %q: it must be an http or https URL, as in http://host:4200/api", apiURLName, s.Source(apiURLName), withoutPassword(s.APIURL))}
	}
	s.IsCloud = strings.HasPrefix(s.APIURL, s.CloudAPIURL)
	if problem := s.misconfiguredURL(parsed); problem != nil {
		return []error{problem}
	}
	if !s.IsCloud {
		return nil
	}
	s.AccountID, s.WorkspaceID = cloudIDs(strings.TrimPrefix(s.APIURL, s.CloudAPIURL))
	s.compareIDs()
	return s.checkIDs(apiURLName, apiURLName)
}

// hintedError is an error that knows what to do next.
type hintedError struct{ message, hint string }

func (e *hintedError) Error() string { return e.message }

// UserHint says what to do next.
func (e *hintedError) UserHint() string { return e.hint }

// buildCloudURL makes the URL of a workspace from its parts.
func (s *Settings) buildCloudURL() []error {
	s.AccountID = strings.TrimSpace(s.text(accountIDName))
	s.WorkspaceID = strings.TrimSpace(s.text(workspaceIDName))
	parts := map[string]string{apiKeyName: s.text(apiKeyName), accountIDName: s.AccountID, workspaceIDName: s.WorkspaceID}
	var missing, remedies []string
	for _, name := range []string{apiKeyName, accountIDName, workspaceIDName} {
		if parts[name] == "" {
			missing = append(missing, name)
			remedies = append(remedies, fmt.Sprintf("%s (%s)", name, whereToGet(name)))
		}
	}
	switch len(missing) {
	case 3:
		return []error{&hintedError{
			message: "no Prefect API is set",
			hint: fmt.Sprintf("set %s to a server's API, as in http://host:4200/api, or for Prefect Cloud set %s, %s and %s",
				apiURLName, apiKeyName, accountIDName, workspaceIDName),
		}}
	case 0:
	default:
		return []error{&hintedError{
			message: fmt.Sprintf("the address of the Prefect Cloud API cannot be built without %s", strings.Join(missing, " and ")),
			hint:    fmt.Sprintf("set %s; or set %s instead", strings.Join(remedies, " and "), apiURLName),
		}}
	}
	if problems := s.checkIDs(accountIDName, workspaceIDName); problems != nil {
		return problems
	}
	s.APIURL = s.CloudAPIURL + "/accounts/" + s.AccountID + "/workspaces/" + s.WorkspaceID
	s.IsCloud = true
	s.found[apiURLName] = found{
		text: s.APIURL, source: Source{Kind: fmt.Sprintf("built from %s, %s and %s", apiKeyName, accountIDName, workspaceIDName)},
	}
	return nil
}

// checkIDs holds account and workspace to being UUIDs.
func (s *Settings) checkIDs(accountFrom, workspaceFrom string) []error {
	var problems []error
	for _, id := range []struct{ what, value, from string }{
		{"account", s.AccountID, accountFrom}, {"workspace", s.WorkspaceID, workspaceFrom},
	} {
		switch {
		case id.value == "":
			return []error{fmt.Errorf("%s (%s) names no workspace: it must be %s/accounts/<account id>/workspaces/<workspace id>", apiURLName, s.Source(apiURLName), s.CloudAPIURL)}
		case uuid.Validate(id.value) != nil || len(id.value) != 36:
			problems = append(problems, fmt.Errorf("%s (%s): the %s id %q is no UUID; it is %s", id.from, s.Source(id.from), id.what, id.value,
				whereToGet(map[string]string{"account": accountIDName, "workspace": workspaceIDName}[id.what])))
		}
	}
	return problems
}

// compareIDs warns of ids that the URL makes void.
func (s *Settings) compareIDs() {
	for _, id := range []struct{ name, used string }{{accountIDName, s.AccountID}, {workspaceIDName, s.WorkspaceID}} {
		if set := s.text(id.name); set != "" && !strings.EqualFold(set, id.used) {
			s.warn("%s (%s) is ignored: %s (%s) names another one", id.name, s.Source(id.name), apiURLName, s.Source(apiURLName))
		}
	}
}

// misconfiguredURL finds the usual slips. With a Cloud URL they are errors,
// because it cannot work; any other host may have its own reasons.
func (s *Settings) misconfiguredURL(parsed *url.URL) error {
	host := strings.ToLower(parsed.Hostname())
	cloudHost := strings.HasSuffix(host, ".prefect.cloud") || s.IsCloud
	var slips []string
	if host == "app.prefect.cloud" {
		slips = append(slips, "app.prefect.cloud is the web page, the API is at api.prefect.cloud")
	}
	if strings.Contains(s.APIURL, "account/") {
		slips = append(slips, "/account/ must be /accounts/")
	}
	if strings.Contains(s.APIURL, "workspace/") {
		slips = append(slips, "/workspace/ must be /workspaces/")
	}
	if cloudHost && !s.IsCloud && host != "app.prefect.cloud" && !strings.HasPrefix(parsed.Path, "/api") {
		slips = append(slips, "/api must follow the host")
	}
	if len(slips) == 0 {
		return nil
	}
	if !cloudHost {
		s.warn("%s (%s) may be wrong: %s, if this is Prefect Cloud", apiURLName, s.Source(apiURLName), strings.Join(slips, "; "))
		return nil
	}
	account, workspace := cloudIDs(parsed.Path)
	if account == "" || workspace == "" {
		account, workspace = "<account id>", "<workspace id>"
	}
	return fmt.Errorf("%s (%s) is %s: %s; set it to %s/accounts/%s/workspaces/%s", apiURLName, s.Source(apiURLName),
		withoutPassword(s.APIURL), strings.Join(slips, "; "), s.CloudAPIURL, account, workspace)
}

// cloudIDs reads the ids from a path of Cloud's API, or of its web page.
func cloudIDs(path string) (account, workspace string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i := 0; i+1 < len(parts); i++ {
		switch parts[i] {
		case "account", "accounts":
			account = parts[i+1]
		case "workspace", "workspaces":
			workspace = parts[i+1]
		}
	}
	return account, workspace
}

// withoutPassword masks the user information of a URL.
func withoutPassword(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text
	}
	authority, path, slash := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = mask + authority[at:]
	}
	if slash {
		path = "/" + path
	}
	return scheme + "://" + authority + path
}
