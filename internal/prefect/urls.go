package prefect

import (
	"net/url"
	"regexp"
	"strings"
)

// cloudHost is the host of Cloud's API, whose user interface is its neighbour.
var cloudHost = regexp.MustCompile(`^https://api[.\w]*\.prefect\.[^.]+/`)

// WorkerURL is where people see a worker, found as Prefect's client finds it.
func (c *Client) WorkerURL(pool, workerID string) string {
	return c.uiURL() + "/work-pools/work-pool/" + url.PathEscape(pool) + "/worker/" + workerID
}

// uiURL is the user interface that belongs to the API.
func (c *Client) uiURL() string {
	cloud := strings.TrimRight(c.options.CloudAPIURL, "/")
	ui := cloud
	if cloudHost.MatchString(ui + "/") {
		ui = strings.Replace(ui, "https://api", "https://app", 1)
	}
	ui = strings.TrimSuffix(ui, "/api")
	address := c.api
	if c.IsCloud() {
		address = ui + strings.TrimPrefix(address, cloud)
	}
	address = strings.TrimSuffix(address, "/api")
	return strings.NewReplacer("/api/", "/", "/accounts/", "/account/", "/workspaces/", "/workspace/").Replace(address)
}
