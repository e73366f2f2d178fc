package ecs

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// registrationFields are what ECS adds to a definition when it is registered.
// Tags are asked for apart from the definition, and say nothing about it.
var registrationFields = []string{
	"compatibilities", "taskDefinitionArn", "revision", "status", "requiresAttributes",
	"registeredAt", "registeredBy", "deregisteredAt", "deleteRequestedAt", "tags",
}

// difference lists the fields in which a registered definition is not what
// would be registered now; none means that it can be used. The rule is that of
// Prefect's worker, so that revisions registered by it, or by hand, are found
// again. Where Prefect forgets a default that ECS fills in, so that nothing ever
// is equal, the default counts as equal here.
func difference(wanted map[string]any, registered *types.TaskDefinition) []string {
	found, _ := wire(reflect.ValueOf(*registered)).(map[string]any)
	a, b := settled(wanted), settled(found)
	var fields []string
	for _, field := range slices.Sorted(maps.Keys(union(a, b))) {
		if !reflect.DeepEqual(a[field], b[field]) {
			fields = append(fields, field)
		}
	}
	return fields
}

func union(a, b map[string]any) map[string]any {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

// settled is a definition in the one form in which two can be compared: what
// ECS adds is gone, defaults are left out, and lists without an order are sorted.
func settled(shape map[string]any) map[string]any {
	d := copyObject(shape)
	for _, field := range registrationFields {
		delete(d, field)
	}
	setDefault(d, "networkMode", "bridge")
	for _, size := range []struct{ key, unit string }{{"cpu", unitVCPU}, {"memory", unitGB}} {
		if n, ok := units(d[size.key], size.unit); ok {
			d[size.key] = n
		}
	}
	for _, container := range objects(d["containerDefinitions"]) {
		settleContainer(container, stringField(d, "networkMode"))
	}
	settleVolumes(d)
	dropUnset(d)
	return d
}

func settleContainer(container map[string]any, networkMode string) {
	if _, set := container["essential"]; !set {
		container["essential"] = true
	}
	// false stands for everything else that is off unless it is switched on, and
	// would be dropped with the rest.
	if container["essential"] == false {
		container["essential"] = "no"
	}
	for _, list := range []struct{ key, by string }{{"environment", "name"}, {"secrets", "name"}, {"environmentFiles", "value"}} {
		items := objects(container[list.key])
		slices.SortStableFunc(items, func(a, b map[string]any) int {
			return cmp.Compare(text(a[list.by]), text(b[list.by]))
		})
		container[list.key] = asList(items)
	}
	for _, port := range objects(container["portMappings"]) {
		dropDefault(port, "protocol", "tcp")
		if networkMode == "awsvpc" || networkMode == "host" {
			dropDefault(port, "hostPort", port["containerPort"])
		}
	}
	if check, ok := container["healthCheck"].(map[string]any); ok {
		dropDefault(check, "interval", 30)
		dropDefault(check, "timeout", 5)
		dropDefault(check, "retries", 3)
	}
}

func settleVolumes(d map[string]any) {
	for _, volume := range objects(d["volumes"]) {
		if efs, ok := volume["efsVolumeConfiguration"].(map[string]any); ok {
			dropDefault(efs, "rootDirectory", "/")
		}
	}
}

// dropDefault removes a field that says what ECS assumes anyway.
func dropDefault(object map[string]any, key string, otherwise any) {
	if object[key] != nil && text(object[key]) == text(otherwise) {
		delete(object, key)
	}
}

// dropUnset removes what stands for nothing, from the inside out: empty values
// and switches that are off. Numbers become one type.
func dropUnset(object map[string]any) {
	for key, value := range object {
		switch value := value.(type) {
		case map[string]any:
			dropUnset(value)
		case []any:
			for _, item := range objects(value) {
				dropUnset(item)
			}
		case string, bool:
		default:
			if n, ok := wholeNumber(value); ok {
				object[key] = n
			}
		}
		if empty(value) || value == false {
			delete(object, key)
		}
	}
}
