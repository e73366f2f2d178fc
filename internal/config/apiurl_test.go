package config

import (
	"strings"
	"testing"
)

// TestEveryFormOfACloudURL tries all combinations of the slips that people make
// with the address of a Cloud workspace: only the right one is taken, and each
// wrong one is answered with each of its slips and with the right form.
func TestEveryFormOfACloudURL(t *testing.T) {
	right := "https://api.prefect.cloud/api/accounts/" + account + "/workspaces/" + workspace
	for _, scheme := range []string{"https://", "http://"} {
		for _, host := range []string{"api.prefect.cloud", "app.prefect.cloud", "prefect.cloud", "API.Prefect.Cloud"} {
			for _, base := range []string{"/api", ""} {
				for _, accounts := range []string{"/accounts/", "/account/"} {
					for _, workspaces := range []string{"/workspaces/", "/workspace/"} {
						address := scheme + host + base + accounts + account + workspaces + workspace
						t.Run(address, func(t *testing.T) {
							s, err := Load(machine{env: map[string]string{"PREFECT_API_URL": address, "PREFECT_API_KEY": "k"}}.lookup(t))
							if address == right {
								if err != nil || !s.IsCloud || s.AccountID != account || s.WorkspaceID != workspace || len(s.Warnings()) > 0 {
									t.Errorf("%v, %v", s, err)
								}
								return
							}
							if err == nil {
								t.Fatal("taken")
							}
							text := err.Error()
							wrongHost := !strings.EqualFold(host, "api.prefect.cloud")
							for slip, made := range map[string]bool{
								"set it to " + right:             true,
								host + " is the web page":        wrongHost,
								"it must begin with https://":    !wrongHost && scheme == "http://",
								"/api must follow the host":      !wrongHost && scheme == "https://" && base == "",
								"/account/ must be /accounts/":   accounts == "/account/",
								"/workspace/ must be /worksp":    workspaces == "/workspace/",
								"it is not below https://api.pr": host == "API.Prefect.Cloud" && scheme == "https://" && base == "/api" && accounts == "/accounts/" && workspaces == "/workspaces/",
							} {
								if strings.Contains(text, slip) != made {
									t.Errorf("%q in it: %t\n%s", slip, !made, text)
								}
							}
						})
					}
				}
			}
		}
	}
}

// TestOwnHostsAreOnlyWarned tries the same slips on a server of the user's own,
// which may have reasons for its paths.
func TestOwnHostsAreOnlyWarned(t *testing.T) {
	for _, silent := range []string{"", "true"} {
		for path, want := range map[string][]string{
			"/api":                             {},
			"/prefect/api":                     {},
			"/api/v2":                          {},
			"":                                 {"a server's API ends in /api, as in http://prefect.corp:4200/api"},
			"/":                                {"a server's API ends in /api"},
			"/account/a/api":                   {"/account/ must be /accounts/"},
			"/workspace/w/api":                 {"/workspace/ must be /workspaces/"},
			"/account/a/workspace/w/api":       {"/account/ must be /accounts/; /workspace/ must be /workspaces/, if this is Prefect Cloud"},
			"/account/a/workspace/w":           {"ends in /api", "/account/ must be /accounts/; /workspace/"},
			"/my-account/my-workspace/api":     {},
			"/accounts/a/workspaces/w/api/x":   {},
			"/api/accounts/a/workspaces/b/run": {},
		} {
			env := map[string]string{"PREFECT_API_URL": "http://prefect.corp:4200" + path, "PREFECT_SILENCE_API_URL_MISCONFIGURATION": silent}
			s, err := Load(machine{env: env}.lookup(t))
			if err != nil || s.IsCloud {
				t.Errorf("%q: %v, cloud %t", path, err, s != nil && s.IsCloud)
				continue
			}
			if silent != "" {
				want = nil
			}
			if len(s.Warnings()) != len(want) {
				t.Errorf("%q: warnings %q", path, s.Warnings())
				continue
			}
			for i, w := range s.Warnings() {
				if !strings.Contains(w, want[i]) {
					t.Errorf("%q: %q, want %q", path, w, want[i])
				}
			}
		}
	}
}

// TestWorkspaceURLsHaveNothingElse catches addresses that were copied with a
// part too much or too little.
func TestWorkspaceURLsHaveNothingElse(t *testing.T) {
	right := "https://api.prefect.cloud/api/accounts/" + account + "/workspaces/" + workspace
	for _, address := range []string{right + "/dashboard", right + "/api", strings.Replace(right, "/api/", "/api/api/", 1)} {
		_, err := Load(machine{env: map[string]string{"PREFECT_API_URL": address, "PREFECT_API_KEY": "k"}}.lookup(t))
		if err == nil || !strings.Contains(err.Error(), "set it to "+right+", and nothing before or after") {
			t.Errorf("%s: %v", address, err)
		}
	}
	// The Cloud of a test or of a proxy counts as one in the same way.
	own := map[string]string{"PREFECT_API_KEY": "k", "PREFECT_CLOUD_API_URL": "http://127.0.0.1:9/api"}
	for address, problem := range map[string]string{
		strings.Replace(right, "https://api.prefect.cloud", "http://127.0.0.1:9", 1):     "",
		strings.Replace(right, "https://api.prefect.cloud/api", "http://127.0.0.1:9", 1): "/api must follow the host; set it to http://127.0.0.1:9/api/accounts/" + account,
		strings.Replace(right, "https://api.prefect.cloud", "http://127.0.0.1:4200", 1):  "",
		strings.Replace(right, "https://api.prefect.cloud/api/", "http://127.0.0.1/", 1): "",
		strings.Replace(right, "https://api.prefect.cloud/", "https://127.0.0.1:9/", 1):  "it must begin with http://",
	} {
		own["PREFECT_API_URL"] = address
		_, err := Load(machine{env: own}.lookup(t))
		if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%s: %v, want %q", address, err, problem)
		}
	}
}
