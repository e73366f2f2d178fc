package prefect

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// baseHeaders are the headers of every request and every socket upgrade, without the
// credentials, which may change.
func (c *Client) baseHeaders() http.Header {
	h := http.Header{}
	h.Set("User-Agent", userAgent)
	h.Set("X-Prefect-Api-Version", apiVersion)
	h.Set("Accept", "*/*")
	if name := strings.Trim(c.options.WorkerName, " \t"); name != "" {
		h.Set("X-Prefect-Worker-Name", name)
	}
	c.addCustomHeaders(h, true)
	return h
}

// requestHeaders are the headers of a request with these credentials, unless a custom
// header stands in their place.
func (c *Client) requestHeaders(by *Credentials) http.Header {
	h := c.headers.Clone()
	if value := by.authorization(); value != "" && h.Get("Authorization") == "" {
		h.Set("Authorization", value)
	}
	return h
}

func (c Credentials) authorization() string {
	switch {
	case c.AuthString != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.AuthString))
	case c.APIKey != "":
		return "Bearer " + c.APIKey
	default:
		return ""
	}
}

// addCustomHeaders adds the user's headers, without those that would break the
// protocol. Only the first call warns of them.
func (c *Client) addCustomHeaders(h http.Header, warn bool) {
	protected := []string{"user-agent", "prefect-csrf-token", "prefect-csrf-client"}
	for name, value := range c.options.CustomHeaders {
		if slices.Contains(protected, strings.ToLower(name)) {
			if warn {
				c.log.Warn(fmt.Sprintf("Custom header '%s' is ignored because it conflicts with a protected header managed by Prefect."+
					" Protected headers include: User-Agent, Prefect-Csrf-Token, Prefect-Csrf-Client", name))
			}
			continue
		}
		h.Set(name, value)
	}
}

// socketHeaders are the headers of a WebSocket upgrade. Hop-by-hop headers are
// the handshake's own.
func (c *Client) socketHeaders(authorization string) http.Header {
	h := http.Header{}
	c.addCustomHeaders(h, false)
	for _, name := range []string{
		"Connection", "Upgrade", "Host", "Content-Length", "Transfer-Encoding", "Te", "Trailer",
		"Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Sec-Websocket-Accept",
	} {
		h.Del(name)
	}
	h.Set("User-Agent", userAgent)
	if authorization != "" && h.Get("Authorization") == "" {
		h.Set("Authorization", authorization)
	}
	return h
}
