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
	origin    func(*path) string // who gave the value at a place
	work      *work
	blocks    map[string]found[*object]
	variables map[string]found[any]
}

// found is a cached answer; a missing document is an answer, too.
type found[T any] struct {
	value T
	ok    bool
}

func (r *references) problem(at *path, raised exception, message string) {
	r.problems.addTraced(at, raised, message, r.origin)
}

// resolveBlocks replaces {"$ref": {"block_document_id": …}} and block
// placeholders. A bad reference is added to the problems; an error is trouble
// with the source.
func (r *references) resolveBlocks(ctx context.Context, value any, at *path) (any, error) {
	switch value := value.(type) {
	case string:
		return r.blocksInText(ctx, value, at)
	case *object:
		if reference, ok := value.get("$ref"); ok {
			ref, ok := reference.(*object)
			if !ok {
				r.problem(at.key("$ref"), lacks(reference, "get"), mustBe("an object", reference))
				return value, nil
			}
			if id := ref.value("block_document_id"); truthy(id) {
				return r.blockByID(ctx, id, at)
			}
		}
	}
	return r.eachItem(value, at, func(item any, at *path) (any, error) { return r.resolveBlocks(ctx, item, at) })
}

// resolveVariables replaces variable placeholders; a variable that does not
// exist becomes the empty string.
func (r *references) resolveVariables(ctx context.Context, value any, at *path) (any, error) {
	if s, ok := value.(string); ok {
		return r.variablesInText(ctx, s)
	}
	return r.eachItem(value, at, func(item any, at *path) (any, error) { return r.resolveVariables(ctx, item, at) })
}

// eachItem rebuilds an object or list from its items.
func (r *references) eachItem(value any, at *path, resolve func(any, *path) (any, error)) (any, error) {
	if !r.work.spend(nodeWork) {
		return nil, nil
	}
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
	case *object:
		out := newObject()
		for key, item := range value.all() {
			resolved, err := resolve(item, at.key(key))
			if err != nil {
				return nil, err
			}
			out.set(key, resolved)
		}
		return out, nil
	default:
		return value, nil
	}
}

func (r *references) blockByID(ctx context.Context, id any, at *path) (any, error) {
	key, ok := id.(string)
	if !ok {
		raised := exception{class: httpStatusError}
		switch id.(type) {
		case []any, *object:
			raised = raise(typeError, "unhashable type: '%s'", pythonType(id))
		}
		r.problem(at, raised, "$ref.block_document_id "+mustBe("a string", id))
		return nil, nil
	}
	data, ok, err := r.readBlock(key, func() (map[string]any, error) { return r.source.BlockDocument(ctx, key) })
	if err != nil {
		return nil, fmt.Errorf("read block %s: %w", key, err)
	}
	if !ok {
		r.problem(at, raise(notFoundError, "Block not found: ID '%s'. %s", key, blockIsGone), fmt.Sprintf("there is no block with the ID %s: %s", clip(key, maxQuote), fixBlock))
		return nil, nil
	}
	return data, nil
}

// What Prefect's worker says of a block that is gone, and what is to be done.
const (
	blockIsGone = "This block was referenced in your deployment or work pool configuration but no longer exists. " +
		"It may have been deleted. Please check your configuration or create a new block."
	fixBlock = "create it again, or take the reference out"
)

func (r *references) blocksInText(ctx context.Context, s string, at *path) (any, error) {
	if !r.work.spend(nodeWork + len(s)) {
		return nil, nil
	}
	segments := scan(s)
	if !hasKind(segments, block) {
		return s, nil
	}
	if p, ok := alone(segments); ok {
		value, _, err := r.blockValue(ctx, p, s, at)
		return value, err
	}
	var b strings.Builder
	for _, p := range segments {
		text := p.text
		if p.name != "" && p.kind == block {
			var err error
			if text, err = r.blockText(ctx, p, s, at); err != nil {
				return nil, err
			}
		}
		if !r.work.spend(len(text)) {
			break
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// blockText is what a block placeholder becomes inside text: scalars only.
func (r *references) blockText(ctx context.Context, p segment, template string, at *path) (string, error) {
	value, ok, err := r.blockValue(ctx, p, template, at)
	if err != nil || !ok {
		return "", err
	}
	switch value.(type) {
	case *object, []any:
		raised := raise(valueError, "Invalid template: %s. Block placeholder %s resolved to a %s, which cannot be used for inline string substitution. "+
			"Resolve a scalar attribute instead (e.g., '.value' or '.url').", quoted(template), quoted(p.text), pythonType(value))
		r.problem(at, raised, fmt.Sprintf("%s is %s, which cannot stand inside text: name one of its fields", clip(p.text, maxQuote), kindOf(value)))
		return "", nil
	default:
		return textOf(value), nil
	}
}

// blockValue is what a block placeholder stands for. It reports false after
// adding a problem.
func (r *references) blockValue(ctx context.Context, p segment, template string, at *path) (any, bool, error) {
	parts := strings.SplitN(strings.ReplaceAll(p.name, blockPrefix, ""), ".", 3)
	if len(parts) < 2 {
		r.problem(at, raise(valueError, "Invalid block placeholder format: '%s'. Expected format: prefect.blocks.<block-type-slug>.<block-document-name>", p.name),
			clip(p.text, maxQuote)+" is no reference to a block: it must be prefect.blocks.<block-type-slug>.<block-document-name>")
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
		r.problem(at, raise(notFoundError, "Block not found: '%s' of type '%s'. %s", name, slug, blockIsGone),
			fmt.Sprintf("there is no block '%s' of type '%s': %s", clip(name, maxQuote), clip(slug, maxQuote), fixBlock))
		return nil, false, nil
	}
	keypath := ""
	if len(parts) == 3 {
		keypath = parts[2]
	}
	value, ok := r.blockField(data, keypath, len(parts) == 3)
	if !ok {
		r.problem(at, raise(valueError, "Invalid template: %s. Could not resolve the keypath in the block document data.", quoted(template)),
			fmt.Sprintf("%s names a field that block '%s' of type '%s' does not have", clip(p.text, maxQuote), clip(name, maxQuote), clip(slug, maxQuote)))
		return nil, false, nil
	}
	return value, true, nil
}

// blockField follows a path into a block's data. Blocks whose only field is
// "value", such as Secret, need not name it.
func (r *references) blockField(data *object, keypath string, hasPath bool) (any, bool) {
	var value any = data
	if inner, only := data.get("value"); only && data.len() == 1 {
		namesValue := hasPath && (keypath == "value" || strings.HasPrefix(keypath, "value.") || strings.HasPrefix(keypath, "value["))
		if !namesValue {
			value = inner
		}
	}
	if !hasPath {
		return value, true
	}
	return r.work.lookup(value, keypath)
}

func (r *references) readBlock(key string, read func() (map[string]any, error)) (*object, bool, error) {
	if known, ok := r.blocks[key]; ok {
		return known.value, known.ok, nil
	}
	if r.source == nil {
		return nil, false, nil
	}
	answer, err := read()
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, false, err
	}
	data, readErr := readData(answer)
	if readErr != nil {
		return nil, false, readErr
	}
	r.blocks[key] = found[*object]{data, err == nil}
	return data, err == nil, nil
}

// readData reads a block's data; none at all is an empty object.
func readData(answer map[string]any) (*object, error) {
	data, err := read(answer)
	if err != nil {
		return nil, fmt.Errorf("the block's data %w", err)
	}
	o, _ := data.(*object)
	return o, nil
}

func (r *references) variablesInText(ctx context.Context, s string) (any, error) {
	if !r.work.spend(nodeWork + len(s)) {
		return nil, nil
	}
	segments := scan(s)
	if !hasKind(segments, variable) {
		return s, nil
	}
	if p, ok := alone(segments); ok {
		value, exists, err := r.readVariable(ctx, p.name)
		if err != nil || !exists {
			return "", err
		}
		return value, nil
	}
	var b strings.Builder
	for _, p := range segments {
		text := p.text
		if p.name != "" && p.kind == variable {
			value, exists, err := r.readVariable(ctx, p.name)
			if err != nil {
				return nil, err
			}
			text = ""
			if exists {
				text = textOf(value)
			}
		}
		if !r.work.spend(len(text)) {
			break
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func (r *references) readVariable(ctx context.Context, placeholder string) (any, bool, error) {
	name := strings.ReplaceAll(placeholder, variablePrefix, "")
	if known, ok := r.variables[name]; ok {
		return known.value, known.ok, nil
	}
	if r.source == nil {
		return nil, false, nil
	}
	answer, err := r.source.Variable(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, false, fmt.Errorf("read variable %s: %w", name, err)
	}
	value, readErr := read(answer)
	if readErr != nil {
		return nil, false, fmt.Errorf("read variable %s: the value %w", name, readErr)
	}
	r.variables[name] = found[any]{value, err == nil}
	return value, err == nil, nil
}
