package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// builtinProfile is in force when no other is.
const builtinProfile = "ephemeral"

// builtinProfiles come with Prefect; a file may replace them.
func builtinProfiles() map[string]map[string]any {
	return map[string]map[string]any{
		builtinProfile: {"PREFECT_SERVER_EPHEMERAL_ENABLED": "true"},
		"local":        {"PREFECT_API_URL": "http://127.0.0.1:4200/api"},
		"test": {
			"PREFECT_SERVER_EPHEMERAL_ENABLED":       "true",
			"PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///:memory:",
		},
		"cloud": {},
	}
}

// profile is the profile in force.
type profile struct {
	name    string
	path    string // "" for a built-in one
	values  map[string]any
	warning string
	by      Source // who chose it
}

// profile finds the profile in force. One of the command line must exist; one
// of the environment or of the file need not, as in Prefect.
func (l Lookup) profile(f files) (profile, error) {
	path := l.profilesPath(f)
	wanted, by := l.Profile, Source{Kind: "flag"}
	if wanted == "" {
		wanted, _ = l.env("PREFECT_PROFILE")
		by.Kind = "env"
	}
	active, found, err := readProfiles(path)
	if err != nil {
		return profile{name: wanted, path: path, by: by}, err
	}
	values, inFile := found[wanted]
	builtin, isBuiltin := builtinProfiles()[wanted]
	fallback := profile{name: builtinProfile, values: builtinProfiles()[builtinProfile], by: Source{Kind: sourceDefault}}
	switch {
	case wanted != "" && inFile:
		return profile{name: wanted, path: path, values: values, by: by}, nil
	case wanted != "" && isBuiltin:
		return profile{name: wanted, values: builtin, by: by}, nil
	case l.Profile != "":
		return profile{name: wanted, path: path, by: by}, unknownProfile(wanted, path, found)
	case wanted != "":
		fallback.warning = fmt.Sprintf("Active profile '%s' set by environment variable not found. The default profile will be used instead.", wanted)
		return fallback, nil
	}
	if values, ok := found[active]; ok {
		return profile{name: active, path: path, values: values, by: Source{Kind: "active in", Where: path}}, nil
	}
	if _, builtin := builtinProfiles()[active]; active != "" && !builtin {
		fallback.warning = fmt.Sprintf("the profile %q that %s calls active is not in it: the built-in profile %q is used", active, path, builtinProfile)
	}
	return fallback, nil
}

func unknownProfile(name, path string, found map[string]map[string]any) error {
	names := slices.Sorted(maps.Keys(builtinProfiles()))
	for other := range found {
		if !slices.Contains(names, other) {
			names = append(names, other)
		}
	}
	slices.Sort(names)
	where := path
	if found == nil {
		where += " (which does not exist)"
	}
	return fmt.Errorf("the profile %q of --profile is not in %s: known profiles are %s", name, where, strings.Join(names, ", "))
}

// profilesPath is where profiles are kept.
func (l Lookup) profilesPath(f files) string {
	if path, _ := l.env("PREFECT_PROFILES_PATH"); path != "" {
		return l.absolute(path)
	}
	if path := f.dotenv.values["PREFECT_PROFILES_PATH"]; path != "" {
		return l.absolute(path)
	}
	for _, table := range []map[string]any{f.prefect, f.pyproject} {
		if path, _ := table["profiles_path"].(string); path != "" {
			return l.absolute(path)
		}
	}
	home, _ := l.env("PREFECT_HOME")
	if home == "" {
		home = filepath.Join(l.Home, ".prefect")
	}
	return filepath.Join(l.absolute(home), "profiles.toml")
}

// readProfiles reads a profiles file; found is nil when there is none.
func readProfiles(path string) (active string, found map[string]map[string]any, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	table, err := readTOML(path)
	if err != nil {
		return "", nil, err
	}
	active, _ = table["active"].(string)
	profiles, _ := table["profiles"].(map[string]any)
	found = map[string]map[string]any{}
	for name, entry := range profiles {
		values, ok := entry.(map[string]any)
		if !ok {
			return "", nil, fmt.Errorf("read %s: the profile %q is no table", path, name)
		}
		found[name] = values
	}
	return active, found, nil
}
