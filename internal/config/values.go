package config

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// textForm is a raw value, from a variable or from TOML, in the text that
// Prefect writes into the environment of a flow run.
func textForm(k kind, raw any) (string, error) {
	switch k {
	case kindBool:
		return boolForm(raw)
	case kindInt:
		return intForm(raw)
	case kindFloat:
		number, err := strconv.ParseFloat(strings.TrimSpace(plain(raw)), 64)
		if err != nil {
			return "", fmt.Errorf("%q is not a number", plain(raw))
		}
		return floatForm(number), nil
	case kindLevel:
		return levelForm(raw)
	case kindList:
		return listForm(raw), nil
	case kindHeaders:
		return headersForm(raw)
	case kindSecret:
		return plain(raw), nil
	default:
		if table, ok := raw.(map[string]any); ok {
			data, err := json.Marshal(table)
			return string(data), err
		}
		return plain(raw), nil
	}
}

// plain is a value in one line: lists are joined by commas.
func plain(raw any) string {
	switch v := raw.(type) {
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	case float64:
		return floatForm(v)
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = plain(item)
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(v)
	}
}

func boolForm(raw any) (string, error) {
	switch strings.ToLower(strings.TrimSpace(plain(raw))) {
	case "true", "1", "yes", "y", "on", "t":
		return "True", nil
	case "false", "0", "no", "n", "off", "f":
		return "False", nil
	default:
		return "", fmt.Errorf("%q is neither true nor false", plain(raw))
	}
}

func intForm(raw any) (string, error) {
	text := strings.TrimSpace(plain(raw))
	if number, err := strconv.Atoi(text); err == nil {
		return strconv.Itoa(number), nil
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || number != math.Trunc(number) || math.Abs(number) > 1<<53 {
		return "", fmt.Errorf("%q is not a whole number", text)
	}
	return strconv.Itoa(int(number)), nil
}

// floatForm writes a number as Python does: 30.0, 0.25, 1e-05.
func floatForm(number float64) string {
	size := math.Abs(number)
	if size != 0 && (size < 1e-4 || size >= 1e16) || math.IsInf(number, 0) || math.IsNaN(number) {
		return strconv.FormatFloat(number, 'e', -1, 64)
	}
	text := strconv.FormatFloat(number, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func levelForm(raw any) (string, error) {
	level := strings.ToUpper(strings.TrimSpace(plain(raw)))
	levels := []string{"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
	if !slices.Contains(levels, level) {
		return "", fmt.Errorf("%q is none of %s", plain(raw), strings.Join(levels, ", "))
	}
	return level, nil
}

func listForm(raw any) string { return strings.Join(listItems(raw), ",") }

// listItems are the items of a comma list or an array, sorted as text.
func listItems(raw any) []string {
	var items []string
	for item := range strings.SplitSeq(plain(raw), ",") {
		if item = strings.TrimSpace(item); item != "" && !slices.Contains(items, item) {
			items = append(items, item)
		}
	}
	slices.Sort(items)
	return items
}

// headersForm is a JSON object, in the order given, spaced as Python's.
func headersForm(raw any) (string, error) {
	names, values, err := headers(raw)
	if err != nil {
		return "", err
	}
	parts := make([]string, len(names))
	for i, name := range names {
		key, _ := json.Marshal(name) // a string always has JSON
		value, _ := json.Marshal(values[name])
		parts[i] = string(key) + ": " + string(value)
	}
	return "{" + strings.Join(parts, ", ") + "}", nil
}

// headers reads a table of texts, or the same as JSON, in the order written. A
// problem never quotes the value: it may be a token.
func headers(raw any) (names []string, values map[string]string, err error) {
	values = map[string]string{}
	if table, ok := raw.(map[string]any); ok {
		for name, value := range table {
			text, ok := value.(string)
			if !ok {
				return nil, nil, fmt.Errorf("the value of the header %q is no text", name)
			}
			names = append(names, name)
			values[name] = text
		}
		slices.Sort(names)
		return names, values, nil
	}
	text := plain(raw)
	if strings.TrimSpace(text) == "" {
		return nil, values, nil
	}
	if json.Unmarshal([]byte(text), &values) != nil || values == nil {
		return nil, nil, fmt.Errorf(`it must be a JSON object of texts, as in {"X-Name": "value"}`)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	_, _ = decoder.Token() // the brace; the object was read whole above
	for decoder.More() {
		name, _ := decoder.Token()
		_, _ = decoder.Token()
		if text, ok := name.(string); ok && !slices.Contains(names, text) {
			names = append(names, text)
		}
	}
	return names, values, nil
}
