package config

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed settings.txt
var settingsText string

//go:embed settings-aws.txt
var awsSettingsText string

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

// mayBeEmpty tells that nothing is a value of the setting.
func (k known) mayBeEmpty() bool {
	return k.kind == kindText || k.kind == kindSecret || k.kind == kindList
}

// known is one setting that Prefect recognises.
type known struct {
	name     string   // PREFECT_...
	path     []string // in TOML
	kind     kind
	aliases  []string // older names
	standard string   // the default, "" when there is none or it is not simple
	bounds   string   // of a number: ">=1,<=10000"
}

// names are all names that a flat source may use, the present one first.
func (k known) names() []string { return append([]string{k.name}, k.aliases...) }

// knownSettings are Prefect's own, which flow runs inherit.
func knownSettings() []known { return readTable(settingsText) }

// awsSettings are those of prefect-aws, which are the worker's alone.
func awsSettings() []known { return readTable(awsSettingsText) }

func readTable(text string) []known {
	var all []known
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 6 || strings.HasPrefix(line, "#") {
			continue
		}
		for i, field := range fields[3:] {
			if field == "-" {
				fields[3+i] = ""
			}
		}
		k := known{name: fields[0], path: strings.Split(fields[1], "."), kind: kind(fields[2]), standard: fields[4], bounds: fields[5]}
		if fields[3] != "" {
			k.aliases = strings.Split(fields[3], ",")
		}
		all = append(all, k)
	}
	return all
}

// checkBounds holds a number to what Prefect allows: it goes on to flow runs,
// which would not start with it.
func (k known) checkBounds(text string) error {
	if k.bounds == "" || text == "" {
		return nil
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil // told already
	}
	for bound := range strings.SplitSeq(k.bounds, ",") {
		sign := strings.TrimRight(bound, "0123456789.+-e")
		limit, err := strconv.ParseFloat(strings.TrimPrefix(bound, sign), 64)
		if err != nil {
			return fmt.Errorf("bound %q: %w", bound, err)
		}
		words := ""
		switch {
		case sign == ">=" && !(number >= limit):
			words = "at least"
		case sign == ">" && !(number > limit):
			words = "more than"
		case sign == "<=" && !(number <= limit):
			words = "at most"
		case sign == "<" && !(number < limit):
			words = "less than"
		}
		if words != "" {
			return fmt.Errorf("%s: it must be %s %g", text, words, limit)
		}
	}
	return nil
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
