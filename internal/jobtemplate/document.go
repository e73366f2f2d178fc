package jobtemplate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// maxDepth is how deep a document, or a dotted name, may nest. Python's worker
// gives up before that, at the depth of its stack.
const maxDepth = 1000

var errTooDeep = fmt.Errorf("is nested deeper than %d levels", maxDepth)

// read takes a document in: JSON text (json.RawMessage, []byte) in the order of
// its keys, or Go's form of it (map[string]any and what goes into one) with keys
// sorted. JSON text may also stand inside Go's form. The result consists of nil,
// bool, string, json.Number, []any and *object.
func read(document any) (any, error) {
	return readAt(document, 0)
}

func readAt(document any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	switch document := document.(type) {
	case nil, bool, string, json.Number:
		return document, nil
	case float64:
		if math.IsInf(document, 0) || math.IsNaN(document) {
			return nil, fmt.Errorf("cannot be read: %v is no JSON", document)
		}
		return json.Number(floatText(document)), nil
	case []any:
		return readList(document, depth)
	case map[string]any:
		out := newObject()
		for _, key := range slices.Sorted(maps.Keys(document)) {
			value, err := readAt(document[key], depth+1)
			if err != nil {
				return nil, err
			}
			out.set(key, value)
		}
		return out, nil
	case json.RawMessage:
		return readText(document, depth)
	case []byte:
		return readText(document, depth)
	default:
		encoded, err := json.Marshal(document)
		if err != nil {
			return nil, fmt.Errorf("cannot be read: %w", err)
		}
		return readText(encoded, depth)
	}
}

func readList(list []any, depth int) (any, error) {
	out := make([]any, len(list))
	for i, item := range list {
		value, err := readAt(item, depth+1)
		if err != nil {
			return nil, err
		}
		out[i] = value
	}
	return out, nil
}

// readText decodes JSON text; no text at all is null.
func readText(text []byte, depth int) (any, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	if !json.Valid(text) { // a decoder's tokens alone would let some mistakes pass
		var ignored any
		return nil, fmt.Errorf("is not valid JSON: %w", json.Unmarshal(text, &ignored))
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return readTokens(decoder, depth)
}

func readTokens(decoder *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			item, err := readTokens(decoder, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err = decoder.Token()
		return list, err
	case json.Delim('{'):
		out := newObject()
		for decoder.More() {
			key, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			name, ok := key.(string)
			if !ok {
				return nil, errors.New("is not valid JSON: a key is no string")
			}
			value, err := readTokens(decoder, depth+1)
			if err != nil {
				return nil, err
			}
			out.set(name, value)
		}
		_, err = decoder.Token()
		return out, err
	default:
		return token, nil
	}
}

// plain is a value in Go's form, sharing nothing with it.
func plain(value any) any {
	switch value := value.(type) {
	case *object:
		out := make(map[string]any, value.len())
		for key, item := range value.all() {
			out[key] = plain(item)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = plain(item)
		}
		return out
	default:
		return value
	}
}

// encode writes a value as JSON text, in its order.
func encode(value any) json.RawMessage {
	var b bytes.Buffer
	encodeInto(&b, value)
	return b.Bytes()
}

func encodeInto(b *bytes.Buffer, value any) {
	switch value := value.(type) {
	case *object:
		separator := byte('{')
		for key, item := range value.all() {
			b.WriteByte(separator)
			encodeInto(b, key)
			b.WriteByte(':')
			encodeInto(b, item)
			separator = ','
		}
		if separator == '{' {
			b.WriteByte('{')
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, item := range value {
			if i > 0 {
				b.WriteByte(',')
			}
			encodeInto(b, item)
		}
		b.WriteByte(']')
	default:
		text, _ := json.Marshal(value) // a scalar that was read as JSON
		b.Write(text)
	}
}

// truthy is Python's notion of a value that counts.
func truthy(value any) bool {
	switch value := value.(type) {
	case nil:
		return false
	case bool:
		return value
	case string:
		return value != ""
	case json.Number:
		f, err := value.Float64()
		return f != 0 || err != nil
	case []any:
		return len(value) > 0
	case *object:
		return value.len() > 0
	default:
		return true
	}
}
