package jobtemplate

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// reference is a block or variable, alone or as {"$ref": …}.
func (g *generator) reference() any {
	if g.chance(35) {
		g.uses("$ref")
		ref, id := newObject(), newObject()
		id.set("block_document_id", pick[any](g, "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222", nil, ""))
		if g.errs("$ref to nothing") {
			id.set("block_document_id", pick[any](g, "00000000-0000-4000-8000-000000000000", []any{"x"}))
		}
		ref.set("$ref", id)
		if g.errs("$ref that is no object") {
			ref.set("$ref", pick[any](g, "#/definitions/x", nil, []any{}, json.Number("1")))
		}
		if g.chance(20) {
			ref.set("beside", "ignored")
		}
		return g.reordered(ref)
	}
	if g.chance(50) {
		return g.braces(g.variablePlaceholder())
	}
	g.uses("block alone")
	return g.braces(pick(g, g.scalarBlock(), "prefect.blocks.docker.d", "prefect.blocks.json.j", "prefect.blocks.json.list", "prefect.blocks.json.j.z", "prefect.blocks.docker.d.nested"))
}

func (g *generator) variablePlaceholder() string {
	g.uses("Prefect variable")
	name := pick(g, "a", "z", "refers", "number", "ratio", "object", "list", "nothing", "yes", "no-such", "object.z", "prefect.variables.z")
	g.usesIf(name == "no-such" || name == "object.z", "Prefect variable that is missing")
	return "prefect.variables." + name
}

// scalarBlock names a block's field that may stand in text.
func (g *generator) scalarBlock() string {
	switch {
	case g.errs("block that is missing"):
		return pick(g, "prefect.blocks.secret.gone", "prefect.blocks.none.s")
	case g.errs("block path to nowhere"):
		return pick(g, "prefect.blocks.json.j.q", "prefect.blocks.docker.d.tag.x", "prefect.blocks.json.list[9].x", "prefect.blocks.secret.s.")
	case g.errs("block without a name"):
		return "prefect.blocks.secret"
	case g.errs("object or list of a block in text"):
		return pick(g, "prefect.blocks.docker.d", "prefect.blocks.json.list", "prefect.blocks.json.j.z")
	}
	return g.soundBlock()
}

func (g *generator) soundBlock() string {
	name := pick(g, "secret.a", "secret.s", "secret.s.value", "secret.nothing", "secret.refers", "json.j.z[1].k", "json.j.value.a", "json.j.values", "json.list.0", "json.list.value[-1]",
		"json.list.1.0", "docker.d.image", "docker.d.nested.x", "docker.größe.n", "prefect.blocks.secret.s", "docker.v.value", "docker.v.other[-1][-1]", "secret.s.value[0]", "secret.s.0")
	g.usesIf(strings.Count(name, ".") > 1, "block with a path")
	g.usesIf(!strings.Contains(name, ".value") && !strings.HasPrefix(name, "docker"), "block whose value is unwrapped")
	return "prefect.blocks." + name
}

// braces makes a placeholder with more or fewer blanks.
func (g *generator) braces(name string) string {
	blanks := pick(g, " ", " ", " ", "", "  ", "\t", "\n", "\u00a0", "\x1f")
	g.usesIf(blanks != " ", "other blanks")
	return "{{" + blanks + name + pick(g, " ", blanks) + "}}"
}

func (g *generator) lone() string {
	if g.chance(12) {
		g.uses("$ENV alone")
		return g.braces(g.hostName())
	}
	g.uses("placeholder alone")
	return g.braces(g.standardName())
}

// standardName names a job variable, or something inside of one.
func (g *generator) standardName() string {
	if len(g.names) == 0 || g.chance(12) {
		g.uses("placeholder without a value")
		return pick(g, "unset", "unset.path[0]", "prefect", "env.none")
	}
	name := pick(g, g.names...)
	if g.chance(30) {
		g.uses("path")
		inside := pick(g, ".k", ".l[0]", "[0]", "[-1]", ".1", ".k.deep", "[0].k", ".l.-1", ".z", "[999999999999999999999]", ".größe", "[٠]", ".", "[0][0]", "[1_0]", "[0__0]", "[_0]", "[0_]", ".k[-2]", ".k.-1")
		g.usesIf(strings.Contains(inside, "-1"), "negative index")
		name += inside
	}
	g.usesIf(strings.ContainsFunc(name, func(r rune) bool { return r > 0x7f }), "unicode name")
	return name
}

// pieces of text that are no placeholders, or look like one.
var pieces = []string{"", " ", "x", "it's", `say "hi"`, "ä/ö", "{", "}", "{{", "}}", "{{ }}", "{{ a b }}", "$HOME", "\n", "\\", "日本", "🙂", "\x00\x7f\u200b\u00ad", "%s", "None"}

// text draws a text with placeholders in it; one that must be a text begins
// with something that is none.
func (g *generator) text(start string, mustBeText bool) string {
	var b strings.Builder
	if start == "" && mustBeText {
		start = "t"
	}
	b.WriteString(start + pick(g, pieces...))
	n := g.IntN(4)
	g.usesIf(n > 1, "several placeholders in a text")
	for range n {
		g.uses("placeholder in text")
		b.WriteString(g.braces(g.anyName()) + pick(g, pieces...))
	}
	if n == 0 {
		b.WriteString(pick(g, pieces...))
	}
	return b.String()
}

func (g *generator) anyName() string {
	switch n := g.IntN(20); {
	case n < 3:
		g.uses("$ENV in text")
		return g.hostName()
	case n < 5:
		g.uses("block in text")
		return g.scalarBlock()
	case n < 8:
		return g.variablePlaceholder()
	default:
		return g.standardName()
	}
}

func (g *generator) hostName() string {
	return pick(g, "$FABER_A", "$FABER_EMPTY", "$FABER_REF", "$FABER_É", "$FABER_D.x[0]", "$$FABER_A", "$FABER_NONE", "$", "$FABER_QUOTE")
}

// value draws a value of a job variable: "a" gets one that refers to nothing of
// its own pass.
func (g *generator) value(name string, depth int) any {
	switch n := g.IntN(10); {
	case n < 3 && depth > 0:
		o := newObject()
		for _, key := range g.shuffled([]string{"k", "l", "z", "größe", "it's", "0"})[:g.IntN(4)] {
			o.set(key, g.value(name, depth-1))
		}
		return o
	case n < 5 && depth > 0:
		list := []any{}
		for range g.IntN(4) {
			list = append(list, g.value(name, depth-1))
		}
		return list
	default:
		return g.scalar(name)
	}
}

func (g *generator) scalar(name string) any {
	switch g.IntN(8) {
	case 0:
		return nil
	case 1:
		g.uses("boolean")
		return g.chance(50)
	case 2, 3:
		g.uses("number")
		return g.number()
	case 4:
		return g.reading(name)
	default:
		return pick(g, pieces...) + pick(g, pieces...)
	}
}

// reading is a text that refers to something: whether it is looked through
// depends on where it ends up.
func (g *generator) reading(name string) string {
	g.uses("value that refers")
	refers := []string{g.variablePlaceholder(), g.soundBlock(), "$FABER_A", "$FABER_EMPTY"}
	if g.chance(5) {
		refers = []string{g.scalarBlock()}
	}
	if name != "a" {
		refers = append(refers, "a", "a")
	}
	return pick(g, "", "", "<") + "{{ " + pick(g, refers...) + " }}" + pick(g, "", "", ">")
}

func (g *generator) number() json.Number {
	switch g.IntN(5) {
	case 0:
		return json.Number(strconv.Itoa(g.IntN(5000) - 1000))
	case 1:
		return json.Number(strconv.FormatFloat(math.Float64frombits(g.Uint64()&^(1<<62)), pick[byte](g, 'e', 'f', 'g'), -1, 64))
	case 2:
		return json.Number(strconv.FormatFloat(g.NormFloat64()*math.Pow10(g.IntN(25)-5), pick[byte](g, 'e', 'E', 'f'), g.IntN(8), 64))
	default:
		return json.Number(pick(g, "0", "-0", "1.0", "-0.0", "1.50", "1e3", "1E3", "1e16", "1e15", "1e-4", "1e-5", "123456789012345678901234567890", "0.1", "1e22", "5e-324",
			"1.7976931348623157e308", "1E+2", "100000000000000000000.0", "9007199254740993", "1e999", "-1e999", "1e-400"))
	}
}
