package config

import (
	"fmt"
	"net/url"
	"slices"
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
		return []error{fmt.Errorf("%s (%s) is %q: it must be an http or https URL, as in http://host:4200/api", apiURLName, s.Source(apiURLName), WithoutPassword(s.APIURL))}
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
	if rest := strings.TrimPrefix(s.APIURL, s.CloudAPIURL); rest != "" && s.AccountID != "" && s.WorkspaceID != "" &&
		rest != "/accounts/"+s.AccountID+"/workspaces/"+s.WorkspaceID {
		return []error{fmt.Errorf("%s (%s) is %s: set it to %s/accounts/%s/workspaces/%s, and nothing before or after",
			apiURLName, s.Source(apiURLName), WithoutPassword(s.APIURL), s.CloudAPIURL, s.AccountID, s.WorkspaceID)}
	}
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
	slips := pathSlips(parsed)
	isCloudHost := s.IsCloud || s.isCloudHost(parsed)
	if !isCloudHost {
		if path := strings.TrimRight(parsed.Path, "/"); !strings.HasSuffix(path, "/api") && !strings.Contains(path, "/api/") {
			s.warn("%s (%s) is %s: a server's API ends in /api, as in %s/api", apiURLName, s.Source(apiURLName), WithoutPassword(s.APIURL), parsed.Scheme+"://"+parsed.Host)
		}
		if len(slips) > 0 {
			s.warn("%s (%s) may be wrong: %s, if this is Prefect Cloud", apiURLName, s.Source(apiURLName), strings.Join(slips, "; "))
		}
		return nil
	}
	slips = append(s.hostSlips(parsed), slips...)
	if len(slips) == 0 && s.IsCloud {
		return nil
	}
	account, workspace := cloudIDs(parsed.Path)
	if account == "" || workspace == "" {
		account, workspace = "<account id>", "<workspace id>"
	}
	if len(slips) == 0 {
		slips = []string{"it is not below " + s.CloudAPIURL}
	}
	return fmt.Errorf("%s (%s) is %s: %s; set it to %s/accounts/%s/workspaces/%s", apiURLName, s.Source(apiURLName),
		WithoutPassword(s.APIURL), strings.Join(slips, "; "), s.CloudAPIURL, account, workspace)
}

// isCloudHost reports a host of the Prefect Cloud that is set: its API or, as
// people copy it from the browser, its web page.
func (s *Settings) isCloudHost(parsed *url.URL) bool {
	cloud, err := url.Parse(s.CloudAPIURL)
	if err != nil {
		return false
	}
	host, api := strings.ToLower(parsed.Hostname()), strings.ToLower(cloud.Hostname())
	web, hasWeb := strings.CutPrefix(api, "api.")
	return host == api && parsed.Port() == cloud.Port() || hasWeb && (host == "app."+web || host == web)
}

// hostSlips are what is wrong before the path of a Cloud URL, and with its start.
func (s *Settings) hostSlips(parsed *url.URL) []string {
	cloud, err := url.Parse(s.CloudAPIURL)
	if err != nil {
		return nil
	}
	var slips []string
	switch {
	case !strings.EqualFold(parsed.Host, cloud.Host):
		slips = append(slips, fmt.Sprintf("%s is the web page, the API is at %s", parsed.Host, cloud.Host))
	case parsed.Scheme != cloud.Scheme:
		slips = append(slips, fmt.Sprintf("it must begin with %s://", cloud.Scheme))
	case parsed.Path != cloud.Path && !strings.HasPrefix(parsed.Path, cloud.Path+"/"):
		slips = append(slips, cloud.Path+" must follow the host")
	}
	return slips
}

// pathSlips are parts of the web page's address, which has account and
// workspace where the API has accounts and workspaces.
func pathSlips(parsed *url.URL) []string {
	var slips []string
	parts := strings.Split(parsed.Path, "/")
	for _, name := range []string{"account", "workspace"} {
		if slices.Contains(parts, name) {
			slips = append(slips, fmt.Sprintf("/%s/ must be /%ss/", name, name))
		}
	}
	return slips
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

// WithoutPassword masks the user information of a URL.
func WithoutPassword(text string) string {
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
