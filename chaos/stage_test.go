//go:build chaos

package chaos

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"

	"faber/internal/fake/fakeaws"
	"faber/internal/front/awsfront"
	"faber/internal/front/prefectfront"
)

// build sets the stage: the servers, the pool, the deployments. No worker yet.
func (p *play) build() {
	p.server = p.findServer()
	p.client = newClient(p.server.url)
	p.pool = fmt.Sprintf("c-%s-%d-%06x", p.s.Name, p.seed, rand.N(1<<24))
	p.buildCloud()
	p.buildPrefect()
	p.engine = newEngine(p)
	p.Cleanup(func() {
		if p.Failed() || os.Getenv("CHAOS_SHOW") != "" {
			p.show()
		}
	})
	p.ask("POST", "/work_pools/", object{"name": p.pool, "type": "ecs"}, nil)
	var flow struct {
		ID string `json:"id"`
	}
	p.ask("POST", "/flows/", object{"name": "flow-" + p.pool}, &flow)
	for i := range p.s.Deployments {
		for n := range p.s.Deployments[i].Count {
			p.deploy(&p.s.Deployments[i], n, flow.ID)
		}
	}
}

func (p *play) findServer() *server {
	if len(p.s.Server) > 0 {
		s := ownServer(p.T, p.s.Server...)
		return s
	}
	return plainServer(p.T)
}

func (p *play) buildCloud() {
	p.cloud = fakeaws.New(p.T)
	p.cloud.StopByHand()
	p.cloud.AddQueue(eventQueue)
	p.aws = awsfront.New(awsfront.Options{Ministack: p.parse(p.cloud.URL), AccountID: fakeaws.Account, Region: fakeaws.Region, LedgerSize: ledgerSize})
	p.awsURL = p.serve(p.aws)
}

func (p *play) buildPrefect() {
	p.prefect = prefectfront.New(prefectfront.Options{Server: p.parse(p.server.url), PassThrough: true, LedgerSize: ledgerSize})
	p.prefectURL = p.serve(p.prefect)
}

// ledgerSize is more calls than any scenario makes.
const ledgerSize = 60_000

func (p *play) parse(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		p.fatal("%v", err)
	}
	return u
}

func (p *play) deploy(spec *deploymentSpec, n int, flow string) {
	d := &deployment{spec: spec, limit: spec.Limit}
	body := object{"name": fmt.Sprintf("%s-%d", spec.Name, n), "flow_id": flow, "work_pool_name": p.pool, "job_variables": p.variables(spec, n)}
	if spec.Flow != "" {
		body["path"], body["entrypoint"] = p.writeFlow(body["name"].(string), spec.Flow), "flow.py:main"
	}
	if spec.Limit > 0 {
		body["concurrency_limit"] = spec.Limit
	}
	if spec.Options != nil {
		body["concurrency_options"] = spec.Options
	}
	if spec.Queue != "" {
		p.queue(spec.Queue)
		body["work_queue_name"] = spec.Queue
	}
	var made struct {
		ID string `json:"id"`
	}
	p.ask("POST", "/deployments/", body, &made)
	d.id = made.ID
	p.deployments = append(p.deployments, d)
}

// variables are the job variables of a deployment: its own, and an image that tells
// it from the others that are alike.
func (p *play) variables(spec *deploymentSpec, n int) object {
	vars := object{"image": fmt.Sprintf("registry.example/%s:%d", spec.Name, n)}
	maps.Copy(vars, spec.Variables)
	return vars
}

func (p *play) queue(name string) {
	status, _ := p.client.once(p.Context(), "GET", "/work_pools/"+p.pool+"/queues/"+name, nil)
	if status == 404 {
		p.ask("POST", "/work_pools/"+p.pool+"/queues", object{"name": name}, nil)
	}
}
