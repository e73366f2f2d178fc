package fakeaws

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Definition is a revision of a task definition.
type Definition struct {
	ARN      string
	Family   string
	Revision int
	Status   string
	Body     map[string]any // as it was registered
}

// PutDefinition registers a revision of the family that the body names, without
// a call.
func (s *Server) PutDefinition(body map[string]any) *Definition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putDefinition(body)
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

func (s *Server) register(body object) (any, *Fault) {
	d := s.putDefinition(body)
	return object{"taskDefinition": d.answer(), "tags": body["tags"]}, nil
}

func (s *Server) deregister(body object) (any, *Fault) {
	d := s.findDefinition(text(body, "taskDefinition"))
	if d == nil {
		return nil, &Fault{Code: "ClientException", Message: "The specified task definition does not exist."}
	}
	d.Status = "INACTIVE"
	return object{"taskDefinition": d.answer()}, nil
}

func (s *Server) describeDefinition(body object) (any, *Fault) {
	d := s.findDefinition(text(body, "taskDefinition"))
	if d == nil {
		return nil, &Fault{Code: "ClientException", Message: "Unable to describe task definition."}
	}
	answer := object{"taskDefinition": d.answer()}
	if contains(texts(body["include"]), "TAGS") && d.Body["tags"] != nil {
		answer["tags"] = d.Body["tags"]
	}
	return answer, nil
}

func (d *Definition) answer() object {
	out := maps.Clone(d.Body)
	delete(out, "tags")
	out["taskDefinitionArn"], out["revision"], out["status"] = d.ARN, d.Revision, d.Status
	return out
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
