package jobtemplate

// tracer finds out who gave the value at a place of the filled configuration:
// it walks the unfilled template to that place, and through the placeholder it
// meets into the variable. That is needed only to say what is wrong.
type tracer struct {
	template *object // with every env laid into it
	layers   layers
}

func (t tracer) origin(at *path) string {
	steps := at.steps()[1:] // below job_configuration
	if len(steps) > 1 && steps[0].name == "env" {
		if _, merged := t.template.value("env").(*object); merged {
			return t.originOfEnv(steps[1].part())
		}
	}
	var value any = t.template
	for i, step := range steps {
		if name, ok := loneName(value); ok {
			return t.originOfVariable(name, steps[i:])
		}
		switch inside := value.(type) {
		case *object:
			value = inside.value(step.name)
		case []any:
			value = t.itemThatFilled(inside, step.at)
		default:
			return writtenInTemplate
		}
	}
	if name, ok := nameIn(value); ok {
		return t.originOfVariable(name, nil)
	}
	return writtenInTemplate
}

// originOfEnv is for the one place where variables are merged into the template
// before its placeholders are filled: the highest layer that has the name.
func (t tracer) originOfEnv(name string) string {
	parts := []string{"env", name}
	merged, _ := t.layers.values.value("env").(*object)
	if _, ok := merged.get(name); ok {
		return t.layers.origin(parts)
	}
	if byDefault, ok := t.layers.defaults.value("env").(*object); ok {
		if _, ok := byDefault.get(name); ok {
			return ofLayer(ofPool, "env")
		}
	}
	return writtenInTemplate
}

func (t tracer) originOfVariable(name string, below []*path) string {
	parts := splitPath(name)
	for _, step := range below {
		parts = append(parts, step.part())
	}
	return t.layers.origin(parts)
}

// itemThatFilled is the template's item that became the given item of the
// filled list: unset ones are not counted.
func (t tracer) itemThatFilled(list []any, index int) any {
	for _, item := range list {
		if name, ok := loneName(item); ok {
			if _, set := newWork().lookup(t.layers.values, name); !set {
				continue
			}
		}
		if index == 0 {
			return item
		}
		index--
	}
	return nil
}

// loneName is the name of the job variable that a value stands for.
func loneName(value any) (string, bool) {
	s, _ := value.(string)
	p, ok := alone(scan(s))
	return p.name, ok && p.kind == standard
}

// nameIn is the job variable that a value stands for, or the first one in its
// text. A text that refers to a block by itself is the template's own.
func nameIn(value any) (string, bool) {
	s, _ := value.(string)
	segments := scan(s)
	if hasKind(segments, block) {
		return "", false
	}
	for _, p := range segments {
		if p.name != "" && p.kind == standard {
			return p.name, true
		}
	}
	return "", false
}
