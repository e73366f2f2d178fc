package fakeaws

import (
	"encoding/json"
	"encoding/xml"
	"strconv"
	"strings"
	"time"
)

// object is JSON as it was decoded.
type object = map[string]any

func text(o object, key string) string {
	value, _ := o[key].(string)
	return value
}

// number is a field of a decoded body, or otherwise when it is not there.
func number(o object, key string, otherwise int) int {
	if value, ok := o[key].(float64); ok {
		return int(value)
	}
	return otherwise
}

func nested(o object, key string) object {
	value, _ := o[key].(map[string]any)
	return value
}

// objects returns the objects in a list.
func objects(value any) []object {
	list, _ := value.([]any)
	var out []object
	for _, item := range list {
		if o, ok := item.(map[string]any); ok {
			out = append(out, o)
		}
	}
	return out
}

func texts(value any) []string {
	list, _ := value.([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func firstText(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}

// setDefault sets a field that is not there yet.
func setDefault(o object, key string, value any) {
	if o[key] == nil {
		o[key] = value
	}
}

// withTimes copies JSON with its times written by a function: ECS writes them as
// seconds, EventBridge as text.
func withTimes(o object, write func(time.Time) any) object {
	out := object{}
	for key, value := range o {
		switch v := value.(type) {
		case time.Time:
			out[key] = write(v)
		case map[string]any:
			out[key] = withTimes(v, write)
		case []any:
			out[key] = listWithTimes(v, write)
		default:
			out[key] = v
		}
	}
	return out
}

func listWithTimes(list []any, write func(time.Time) any) []any {
	out := make([]any, len(list))
	for i, item := range list {
		out[i] = item
		if o, ok := item.(map[string]any); ok {
			out[i] = withTimes(o, write)
		}
	}
	return out
}

func seconds(t time.Time) any { return float64(t.UnixMilli()) / 1000 }

func iso(t time.Time) any { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// plain is JSON as whoever decodes it gets it, and shares nothing with value.
func plain(value any) object {
	encoded, err := json.Marshal(value)
	out := object{}
	if err == nil {
		err = json.Unmarshal(encoded, &out)
	}
	if err != nil {
		panic(err) // only a test's own values can be no JSON
	}
	if out == nil { // it was null
		out = object{}
	}
	return out
}

// lastPart is what an ARN or a path ends with.
func lastPart(name string) string { return name[strings.LastIndex(name, "/")+1:] }

func arn(service, resource string) string {
	return "arn:aws:" + service + ":" + Region + ":" + Account + ":" + resource
}

func element(name, inner string) string { return "<" + name + ">" + inner + "</" + name + ">" }

func escape(value string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(value)) // a builder takes everything
	return b.String()
}

// pageSize is small, to make callers page.
const pageSize = 2

// page takes what a call asks for out of n things in a fixed order, and returns
// the fields of the answer. name is "" for a thing that is not asked for.
func page(body object, field string, n int, name func(i int) string) object {
	names, size := []string{}, min(number(body, "maxResults", pageSize), pageSize)
	at, _ := strconv.Atoi(text(body, "nextToken")) // without a token, from the first
	for ; at < n; at++ {
		found := name(at)
		switch {
		case found == "":
		case len(names) < size:
			names = append(names, found)
		default:
			return object{field: names, "nextToken": strconv.Itoa(at)}
		}
	}
	return object{field: names}
}
