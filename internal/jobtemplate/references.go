package jobtemplate

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// references fills block and variable placeholders, reading each document once.
type references struct {
	source    Source
	problems  *Problems
	blocks    map[string]found[map[string]any]
	variables map[string]found[any]
}

// found is a cached answer; a missing document is an answer, too.
type found[T any] struct {
	value T
	ok    bool
}

func newReferences(source Source, problems *Problems) *references {
	return &references{
		source:    source,
		problems:  problems,
		blocks:    map[string]found[map[string]any]{},
		variables: map[string]found[any]{},
	}
}

// resolveBlocks replaces {"$ref": {"block_document_id": …}} and block
// placeholders. A bad reference is added to the problems; an error is trouble
// with the source.
func (r *references) resolveBlocks(ctx context.Context, value any, at path) (any, error) {
	switch value := value.(type) {
	case string:
		return r.blocksInText(ctx, value, at)
	case map[string]any:
		if ref, ok := value["$ref"].(map[string]any); ok {
			if id := ref["block_document_id"]; id != nil && id != "" {
				return r.blockByID(ctx, id, at)
			}
		}
	}
	return eachItem(value, at, func(item any, at path) (any, error) { return r.resolveBlocks(ctx, item, at) })
}

// resolveVariables replaces variable placeholders; a variable that does not
// exist becomes the empty string.
func (r *references) resolveVariables(ctx context.Context, value any, at path) (any, error) {
	if s, ok := value.(string); ok {
		return r.variablesInText(ctx, s)
	}
	return eachItem(value, at, func(item any, at path) (any, error) { return r.resolveVariables(ctx, item, at) })
}

// eachItem rebuilds an object or list from its items, in a fixed order.
func eachItem(value any, at path, resolve func(any, path) (any, error)) (any, error) {
	switch value := value.(type) {
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			resolved, err := resolve(item, at.index(i))
			if err != nil {
				return nil, err
			}
			out[i] = resolved
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(value))
		for _, key := range sortedKeys(value) {
			resolved, err := resolve(value[key], at.key(key))
			if err != nil {
				return nil, err
			}
			out[key] = resolved
		}
		return out, nil
	default:
		return value, nil
	}
}

func (r *references) blockByID(ctx context.Context, id any, at path) (any, error) {
	key, ok := id.(string)
	if !ok {
		r.problems.add(at.key("$ref").key("block_document_id"), fmt.Sprintf("must be a string, not %s", kindOf(id)))
		return nil, nil
	}
	data, ok, err := r.readBlock(key, func() (map[string]any, error) { return r.source.BlockDocument(ctx, key) })
	if err != nil {
		return nil, fmt.Errorf("read block %s: %w", key, err)
	}
	if !ok {
		r.problems.add(at, fmt.Sprintf("Block not found: ID '%s'. %s", key, blockIsGone))
		return nil, nil
	}
	return deepCopy(data), nil
}

const blockIsGone = "This block was referenced in your deployment or work pool configuration but no longer exists. " +
	"Create it again, or take the reference out."

func (r *references) blocksInText(ctx context.Context, s string, at path) (any, error) {
	segments := scan(s)
	if p, ok := alone(segments); ok && p.kind == block {
		value, _, err := r.blockValue(ctx, p, s, at)
		return value, err
	}
	var b strings.Builder
	for _, p := range segments {
		if p.name == "" || p.kind != block {
			b.WriteString(p.text)
			continue
		}
		value, ok, err := r.blockValue(ctx, p, s, at)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		switch value.(type) {
		case map[string]any, []any:
			r.problems.add(at, fmt.Sprintf("Invalid template: '%s'. %s is %s, which cannot stand inside text: name one of its fields.", s, p.text, kindOf(value)))
		default:
			b.WriteString(Text(value))
		}
	}
	return b.String(), nil
}

// blockValue is what a block placeholder stands for. It reports false after
// adding a problem.
func (r *references) blockValue(ctx context.Context, p segment, template string, at path) (any, bool, error) {
	parts := strings.SplitN(strings.TrimPrefix(p.name, blockPrefix), ".", 3)
	if len(parts) < 2 {
		r.problems.add(at, fmt.Sprintf("Invalid block placeholder format: '%s'. Expected format: prefect.blocks.<block-type-slug>.<block-document-name>", p.name))
		return nil, false, nil
	}
	slug, name := parts[0], parts[1]
	data, ok, err := r.readBlock(slug+"/"+name, func() (map[string]any, error) {
		return r.source.BlockDocumentByName(ctx, slug, name)
	})
	if err != nil {
		return nil, false, fmt.Errorf("read block %s of type %s: %w", name, slug, err)
	}
	if !ok {
		r.problems.add(at, fmt.Sprintf("Block not found: '%s' of type '%s'. %s", name, slug, blockIsGone))
		return nil, false, nil
	}
	keypath := ""
	if len(parts) == 3 {
		keypath = parts[2]
	}
	value, ok := blockField(data, keypath, len(parts) == 3)
	if !ok {
		r.problems.add(at, fmt.Sprintf("Invalid template: '%s'. Could not resolve the keypath in the block document data.", template))
		return nil, false, nil
	}
	return deepCopy(value), true, nil
}

// blockField follows a path into a block's data. Blocks whose only field is
// "value", such as Secret, need not name it.
func blockField(data map[string]any, keypath string, hasPath bool) (any, bool) {
	var value any = data
	if inner, only := data["value"]; only && len(data) == 1 {
		namesValue := keypath == "value" || strings.HasPrefix(keypath, "value.") || strings.HasPrefix(keypath, "value[")
		if !namesValue {
			value = inner
		}
	}
	if !hasPath {
		return value, true
	}
	return lookup(value, keypath)
}

func (r *references) readBlock(key string, read func() (map[string]any, error)) (map[string]any, bool, error) {
	if known, ok := r.blocks[key]; ok {
		return known.value, known.ok, nil
	}
	if r.source == nil {
		return nil, false, nil
	}
	data, err := read()
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, false, err
	}
	r.blocks[key] = found[map[string]any]{data, err == nil}
	return data, err == nil, nil
}

func (r *references) variablesInText(ctx context.Context, s string) (any, error) {
	segments := scan(s)
	if p, ok := alone(segments); ok && p.kind == variable {
		value, exists, err := r.readVariable(ctx, p.name)
		if err != nil || !exists {
			return "", err
		}
		return deepCopy(value), nil
	}
	var b strings.Builder
	for _, p := range segments {
		if p.name == "" || p.kind != variable {
			b.WriteString(p.text)
			continue
		}
		value, exists, err := r.readVariable(ctx, p.name)
		if err != nil {
			return nil, err
		}
		if exists {
			b.WriteString(Text(value))
		}
	}
	return b.String(), nil
}

func (r *references) readVariable(ctx context.Context, placeholder string) (any, bool, error) {
	name := strings.TrimPrefix(placeholder, variablePrefix)
	if known, ok := r.variables[name]; ok {
		return known.value, known.ok, nil
	}
	if r.source == nil {
		return nil, false, nil
	}
	value, err := r.source.Variable(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, false, fmt.Errorf("read variable %s: %w", name, err)
	}
	r.variables[name] = found[any]{value, err == nil}
	return value, err == nil, nil
}
