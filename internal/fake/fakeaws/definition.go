package fakeaws

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Definition is a revision of a task definition.
type Definition struct {
	ARN      string
	Family   string
	Revision int
	Status   string         // ACTIVE or INACTIVE
	Body     map[string]any // as it was registered
}

// PutDefinition registers a revision of the family that the body names, without
// a call and without a check.
func (s *Server) PutDefinition(body map[string]any) *Definition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putDefinition(plain(body))
}

// Definitions returns copies of the revisions of a family, the oldest first.
func (s *Server) Definitions(family string) []Definition {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Definition
	for _, d := range s.families[family] {
		out = append(out, *d)
	}
	return out
}

// DefinitionOf is the body of the definition that a task was started from.
func (s *Server) DefinitionOf(t *Task) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.findDefinition(t.Definition); d != nil {
		return plain(d.Body)
	}
	return nil
}

// Deregister makes all revisions of all families inactive.
func (s *Server) Deregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, revisions := range s.families {
		for _, d := range revisions {
			d.Status = "INACTIVE"
		}
	}
}

// AddToDefinitions has every definition be shown with these fields on top, as AWS
// shows some that nobody registered: {"enableFaultInjection": false} is one since
// 2025.
func (s *Server) AddToDefinitions(fields map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = plain(fields)
}

func (s *Server) putDefinition(body object) *Definition {
	family := text(body, "family")
	revision := len(s.families[family]) + 1
	d := &Definition{
		ARN:      arn("ecs", fmt.Sprintf("task-definition/%s:%d", family, revision)),
		Family:   family,
		Revision: revision,
		Status:   "ACTIVE",
		Body:     body,
	}
	s.families[family] = append(s.families[family], d)
	return d
}

// RegistrationTakes has a family be registered for so long, while ECS refuses
// further revisions of it. What was registered is to be seen at once.
func (s *Server) RegistrationTakes(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registrationTakes = d
}

func (s *Server) register(call Call) (any, *Fault) {
	if refusal := checkDefinition(call.Body); refusal != nil {
		return nil, refusal
	}
	family := text(call.Body, "family")
	if time.Since(s.registeredAt[family]) < s.registrationTakes {
		return nil, client("Too many concurrent attempts to create a new revision of the specified family.")
	}
	s.registeredAt[family] = time.Now()
	d := s.putDefinition(call.Body)
	return object{"taskDefinition": s.show(d), "tags": d.tags()}, nil
}

func (s *Server) deregister(call Call) (any, *Fault) {
	d := s.findDefinition(text(call.Body, "taskDefinition"))
	if d == nil {
		return nil, &Fault{Code: "ClientException", Message: "The specified task definition does not exist."}
	}
	d.Status = "INACTIVE"
	return object{"taskDefinition": s.show(d)}, nil
}

func (s *Server) describeDefinition(call Call) (any, *Fault) {
	d := s.findDefinition(text(call.Body, "taskDefinition"))
	if d == nil {
		return nil, &Fault{Code: "ClientException", Message: "Unable to describe task definition."}
	}
	answer := object{"taskDefinition": s.show(d), "tags": []any{}}
	if slices.Contains(texts(call.Body["include"]), "TAGS") {
		answer["tags"] = d.tags()
	}
	return answer, nil
}

func (s *Server) listDefinitions(call Call) (any, *Fault) {
	family, status := text(call.Body, "familyPrefix"), firstText(text(call.Body, "status"), "ACTIVE")
	all := slices.Concat(slices.Collect(maps.Values(s.families))...)
	slices.SortFunc(all, func(a, b *Definition) int {
		order := cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Revision, b.Revision))
		if text(call.Body, "sort") == "DESC" {
			return -order
		}
		return order
	})
	return page(call.Body, "taskDefinitionArns", len(all), func(i int) string {
		if d := all[i]; d.Status == status && (family == "" || d.Family == family) {
			return d.ARN
		}
		return ""
	}), nil
}

// findDefinition looks up an ARN, family:revision, or the latest active revision
// of a family.
func (s *Server) findDefinition(name string) *Definition {
	for family, revisions := range s.families {
		for _, d := range slices.Backward(revisions) {
			if d.ARN == name || strings.HasSuffix(d.ARN, "/"+name) || family == name && d.Status == "ACTIVE" {
				return d
			}
		}
	}
	return nil
}

func (d *Definition) tags() any {
	if d.Body["tags"] == nil {
		return []any{}
	}
	return d.Body["tags"]
}

// show is the definition as AWS shows it: with all that it fills in.
func (s *Server) show(d *Definition) object {
	out := plain(d.Body)
	delete(out, "tags")
	maps.Copy(out, object{
		"taskDefinitionArn": d.ARN, "revision": d.Revision, "status": d.Status,
		"registeredAt": float64(1_700_000_000 + d.Revision), "registeredBy": "arn:aws:iam::" + Account + ":user/faber",
		"compatibilities": d.compatibilities(), "requiresAttributes": []any{object{"name": "ecs.capability.task-eni"}},
	})
	if d.Status == "INACTIVE" {
		out["deregisteredAt"] = seconds(time.Now())
	}
	setDefault(out, "volumes", []any{})
	setDefault(out, "placementConstraints", []any{})
	for _, container := range objects(out["containerDefinitions"]) {
		fillIn(container)
	}
	maps.Copy(out, s.added)
	return out
}

func fillIn(container object) {
	setDefault(container, "cpu", 0)
	setDefault(container, "essential", true)
	for _, list := range []string{"environment", "mountPoints", "portMappings", "systemControls", "volumesFrom"} {
		setDefault(container, list, []any{})
	}
	for _, port := range objects(container["portMappings"]) {
		setDefault(port, "protocol", "tcp")
		setDefault(port, "hostPort", port["containerPort"])
	}
	if logs := nested(container, "logConfiguration"); logs != nil {
		setDefault(logs, "secretOptions", []any{})
	}
}

// compatibilities are what the definition could be launched on, whatever it
// requires.
func (d *Definition) compatibilities() []any {
	if text(d.Body, "networkMode") == "awsvpc" && d.Body["cpu"] != nil && d.Body["memory"] != nil {
		return []any{"EC2", "FARGATE"}
	}
	return []any{"EXTERNAL", "EC2"}
}
