package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// source is one place where settings may be set.
type source struct {
	Source
	find func(known) (value any, as string, ok bool) // as is the name that the setting has there
}

// flat is a source whose entries have the names of environment variables.
func flat(from Source, value func(string) (any, bool)) source {
	return source{from, func(k known) (any, string, bool) {
		for _, name := range k.names() {
			if v, ok := value(name); ok {
				return v, name, true
			}
		}
		return nil, "", false
	}}
}

// nested is a source whose entries are tables in tables.
func nested(from Source, table map[string]any) source {
	return source{from, func(k known) (any, string, bool) {
		at := table
		for _, key := range k.path[:len(k.path)-1] {
			at, _ = at[key].(map[string]any)
		}
		value, ok := at[k.path[len(k.path)-1]]
		if _, isTable := value.(map[string]any); isTable && k.kind != kindHeaders && k.kind != "other" {
			return nil, "", false // a table of settings, as Prefect takes it
		}
		return value, k.name, ok
	}}
}

// files is what the configuration files hold, read once.
type files struct {
	dotenv    dotenv
	prefect   map[string]any
	pyproject map[string]any
}

func (l Lookup) readFiles() (files, error) {
	var (
		f        files
		problems []error
	)
	text, err := readOptional(l.in(".env"))
	if err != nil {
		problems = append(problems, fmt.Errorf("read %s: %w", l.in(".env"), err))
	}
	f.dotenv = parseDotenv(text, l.env)
	if f.prefect, err = readTOML(l.in("prefect.toml")); err != nil {
		problems = append(problems, err)
	}
	if f.pyproject, err = readTOML(l.in("pyproject.toml")); err != nil {
		problems = append(problems, err)
	}
	tool, _ := f.pyproject["tool"].(map[string]any)
	f.pyproject, _ = tool["prefect"].(map[string]any)
	return f, errors.Join(problems...)
}

// sources are in order, the highest first.
func (l Lookup) sources(f files, p profile) []source {
	return []source{
		flat(Source{Kind: "env"}, func(name string) (any, bool) { v, ok := l.env(name); return v, ok }),
		flat(Source{Kind: "dotenv", Where: l.in(".env")}, func(name string) (any, bool) { v, ok := f.dotenv.folded[strings.ToLower(name)]; return v, ok }),
		nested(Source{Kind: "prefect.toml", Where: l.in("prefect.toml")}, f.prefect),
		nested(Source{Kind: "pyproject.toml", Where: l.in("pyproject.toml")}, f.pyproject),
		flat(Source{Kind: "profile " + p.name, Where: p.path}, func(name string) (any, bool) { v, ok := p.values[name]; return v, ok }),
	}
}

// env looks a variable up, and then without regard to case, as Prefect does.
func (l Lookup) env(name string) (string, bool) {
	if l.Env != nil {
		if value, ok := l.Env(name); ok {
			return value, true
		}
	}
	if l.Environ == nil {
		return "", false
	}
	for _, pair := range l.Environ() {
		key, value, _ := strings.Cut(pair, "=")
		if strings.EqualFold(key, name) {
			return value, true
		}
	}
	return "", false
}

func (l Lookup) in(name string) string { return filepath.Join(l.Dir, name) }

// absolute makes a path from a setting absolute: ~ is the user's home.
func (l Lookup) absolute(path string) string {
	if path == "~" || strings.HasPrefix(path, "~/") {
		path = filepath.Join(l.Home, strings.TrimPrefix(path, "~"))
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.Dir, path)
	}
	return path
}

// readOptional reads a file that need not be there.
func readOptional(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

func readTOML(path string) (map[string]any, error) {
	text, err := readOptional(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var table map[string]any
	if err := toml.Unmarshal([]byte(text), &table); err != nil {
		var problem *toml.DecodeError
		if errors.As(err, &problem) { // without the line itself, which may hold a key
			line, column := problem.Position()
			return nil, fmt.Errorf("read %s: line %d, column %d: not valid TOML", path, line, column)
		}
		return nil, fmt.Errorf("read %s: not valid TOML", path)
	}
	return table, nil
}
