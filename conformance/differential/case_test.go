//go:build conformance

package differential

import (
	"encoding/json"
	"regexp"
	"time"

	"faber/internal/fake/fakeaws"

	"github.com/google/uuid"
)

// testCase is one flow run and all that shapes it. What is not said is ordinary.
type testCase struct {
	name string

	// template is the pool's base job template: "" is prefect-aws's own of today,
	// noTemplate a pool that has none yet.
	template string
	// Job variables. `<block:slug/name>` in them is the id of that block.
	deployment, run string
	adhoc           bool // the run has no deployment

	pool, flow, deploymentName, runName string
	updated                             string // when the deployment was, RFC 3339

	blocks    map[string]string // data by "slug/name"
	variables map[string]string // JSON by name
	env       map[string]string // of the worker
	aws       func(*fakeaws.Server)

	refused   bool   // both workers give the run up
	mended    string // Python's worker gives the run up; the name of faber's mend
	generated bool   // nobody has said beforehand what becomes of it
}

const noTemplate = "none"

// ids makes ids of names, so that both workers meet the same ones.
var ids = uuid.MustParse("6ba7b811-9dad-11d1-80b4-00c04fd430c8")

func (c *testCase) id(of string) string { return uuid.NewSHA1(ids, []byte(c.name+"/"+of)).String() }

func blockID(name string) string { return uuid.NewSHA1(ids, []byte(name)).String() }

var blockMark = regexp.MustCompile(`<block:([^>]+)>`)

func (c *testCase) json(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(blockMark.ReplaceAllStringFunc(text, func(mark string) string {
		return blockID(blockMark.FindStringSubmatch(mark)[1])
	}))
}

func (c *testCase) poolName() string { return or(c.pool, "ecs-pool") }

func (c *testCase) baseTemplate() json.RawMessage {
	if c.template == noTemplate {
		return nil
	}
	return c.json(c.template)
}

func (c *testCase) updatedAt() time.Time {
	at, err := time.Parse(time.RFC3339Nano, or(c.updated, "2026-11-23T05:28:40.343282Z"))
	if err != nil {
		panic(err) // the table is wrong
	}
	return at
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
