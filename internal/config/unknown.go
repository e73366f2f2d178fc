package config

import (
	"maps"
	"slices"
	"strings"
)

// Unknown is a name that looks like a setting and is none: nobody reads it.
type Unknown struct {
	Name    string // as it is written
	Source  Source
	Nearest string // the known name that was probably meant, "" when none is near
}

// Unknown lists names in the sources that no setting has. Names are in order;
// a slip in any of them is silent otherwise, for Prefect as well.
func (s *Settings) Unknown() []Unknown { return slices.Clone(s.unknown) }

// readElsewhere are variables of Prefect's that are no settings.
func readElsewhere() []string {
	return []string{"PREFECT_PROFILE", "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"}
}

// findUnknown looks through all sources but the ones that a higher one hides.
func (s *Settings) findUnknown(l Lookup, f files, p profile) []Unknown {
	var names []string
	paths := []string{}
	for _, k := range s.all() {
		names = append(names, k.names()...)
		paths = append(paths, strings.Join(k.path, "."))
	}
	names = append(names, readElsewhere()...)
	var all []Unknown
	add := func(from Source, known []string, found []string) {
		slices.Sort(found)
		for _, name := range found {
			if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
				all = append(all, Unknown{name, from, Nearest(name, known)})
			}
		}
	}
	add(Source{Kind: "env"}, names, prefixed(environNames(l)))
	add(Source{Kind: "dotenv", Where: l.in(".env")}, names, prefixed(f.dotenv.names()))
	add(Source{Kind: "prefect.toml", Where: l.in("prefect.toml")}, paths, leaves("", f.prefect, paths))
	add(Source{Kind: "pyproject.toml", Where: l.in("pyproject.toml")}, paths, leaves("", f.pyproject, paths))
	add(Source{Kind: "profile " + p.name, Where: p.path}, names, slices.Collect(maps.Keys(p.values)))
	return all
}

func environNames(l Lookup) []string {
	if l.Environ == nil {
		return nil
	}
	var names []string
	for _, pair := range l.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		names = append(names, name)
	}
	return names
}

// prefixed are the names that claim to be settings. PREFECT__ is what a worker
// tells a flow run, and other integrations have settings of their own.
func prefixed(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		name = strings.ToUpper(name)
		integration := strings.HasPrefix(name, "PREFECT_INTEGRATIONS_") && !strings.HasPrefix(name, "PREFECT_INTEGRATIONS_AWS_")
		return !strings.HasPrefix(name, "PREFECT_") || strings.HasPrefix(name, "PREFECT__") || integration
	})
}

// leaves are the dotted paths of a table's values. A table that is a value
// itself, or that belongs to another integration, is not looked into.
func leaves(under string, table map[string]any, known []string) []string {
	var all []string
	for key, value := range table {
		path := under + key
		inner, isTable := value.(map[string]any)
		switch {
		case strings.HasPrefix(path, "integrations.") && !strings.HasPrefix(path, "integrations.aws"):
		case isTable && !slices.Contains(known, path):
			all = append(all, leaves(path+".", inner, known)...)
		default:
			all = append(all, path)
		}
	}
	return all
}

// Nearest is the one of the names that the given one was probably meant to be,
// "" when none is near: one slip in every five letters, two at least, five at most, or
// a part left out after the first, as in PREFECT_KEY.
func Nearest(name string, names []string) string {
	best, nearest := min(max(2, len(strings.TrimPrefix(strings.ToUpper(name), "PREFECT_"))/5), 5)+1, ""
	for _, other := range names {
		if d := slips(strings.ToUpper(name), strings.ToUpper(other)); d < best {
			best, nearest = d, other
		}
	}
	if nearest != "" {
		return nearest
	}
	_, rest, _ := strings.Cut(strings.ToUpper(name), "_")
	for _, other := range names {
		if rest != "" && strings.HasSuffix(other, "_"+rest) && (nearest == "" || len(other) < len(nearest)) {
			nearest = other
		}
	}
	return nearest
}

// slips counts the letters that must be added, dropped, replaced or swapped
// with their neighbour to make one name of the other.
func slips(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
