package config

import (
	_ "embed"
	"strings"
)

//go:embed settings.txt
var settingsText string

// kind is how a setting's value is read and written.
type kind string

const (
	kindBool    kind = "bool"
	kindInt     kind = "int"
	kindFloat   kind = "float"
	kindSecret  kind = "secret"
	kindLevel   kind = "level"
	kindList    kind = "list"
	kindHeaders kind = "headers"
	kindText    kind = "text"
)

// known is one setting that Prefect recognises.
type known struct {
	name    string   // PREFECT_...
	path    []string // in TOML
	kind    kind
	aliases []string // older names
}

// names are all names that a flat source may use, the present one first.
func (k known) names() []string { return append([]string{k.name}, k.aliases...) }

// knownSettings reads the embedded table.
func knownSettings() []known {
	var all []known
	for line := range strings.Lines(settingsText) {
		fields := strings.Fields(line)
		if len(fields) != 4 || strings.HasPrefix(line, "#") {
			continue
		}
		k := known{name: fields[0], path: strings.Split(fields[1], "."), kind: kind(fields[2])}
		if fields[3] != "-" {
			k.aliases = strings.Split(fields[3], ",")
		}
		all = append(all, k)
	}
	return all
}

// Names of faber's own that Prefect does not know: they build a Cloud URL and
// never reach a flow run.
const (
	accountIDName   = "PREFECT_ACCOUNT_ID"
	workspaceIDName = "PREFECT_WORKSPACE_ID"
)

func ownSettings() []known {
	return []known{
		{name: accountIDName, path: []string{"account_id"}, kind: kindText},
		{name: workspaceIDName, path: []string{"workspace_id"}, kind: kindText},
	}
}
