package awsfront

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// lookup is a Describe call of EC2 of which ministack takes ids but no filters:
// it answers with everything there is. Terraform's data sources find by filters.
type lookup struct {
	id, idParameter string
	// filters are the names of filters and where in an item their value stands;
	// others are passed over, as they were.
	filters map[string]string
}

func endpointLookup() lookup {
	return lookup{"vpcEndpointId", "VpcEndpointId", map[string]string{
		"vpc-id": "vpcId", "service-name": "serviceName", "vpc-endpoint-id": "vpcEndpointId",
		"vpc-endpoint-state": "state", "vpc-endpoint-type": "vpcEndpointType",
	}}
}

func interfaceLookup() lookup {
	return lookup{"networkInterfaceId", "NetworkInterfaceId", map[string]string{
		"vpc-id": "vpcId", "subnet-id": "subnetId", "group-id": "groupSet/item/groupId", "network-interface-id": "networkInterfaceId",
		"status": "status", "interface-type": "interfaceType", "description": "description",
	}}
}

// filtered makes the call and, where filters were given, once more for the ids of
// what they let through.
func (x *exchange) filtered(l lookup) (*answer, error) {
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	form, err := x.form()
	if err != nil {
		return nil, err
	}
	wanted := l.wanted(form)
	if len(wanted) == 0 {
		return a, nil
	}
	var root xmlNode
	if err := xml.Unmarshal(a.body, &root); err != nil {
		return nil, fmt.Errorf("read what is to be filtered: %w", err)
	}
	again := url.Values{"Action": form["Action"], "Version": form["Version"]}
	n := 0
	for _, item := range root.holding(l.id) {
		if item.meets(wanted) {
			n++
			again.Set(fmt.Sprint(l.idParameter, ".", n), item.at(l.id)[0])
		}
	}
	if n == 0 { // An id that nothing has: ministack answers with an empty list.
		again.Set(l.idParameter+".1", "none")
	}
	return x.send([]byte(again.Encode()))
}

// wanted are the places of values in an item and which values they may have.
func (l lookup) wanted(form url.Values) map[string][]string {
	wanted := map[string][]string{}
	for i := 1; form.Has(fmt.Sprintf("Filter.%d.Name", i)); i++ {
		if place, known := l.filters[form.Get(fmt.Sprintf("Filter.%d.Name", i))]; known {
			wanted[place] = formList(form, fmt.Sprintf("Filter.%d.Value.", i))
		}
	}
	return wanted
}

// xmlNode is any element.
type xmlNode struct {
	XMLName xml.Name
	Text    string    `xml:",chardata"`
	Nodes   []xmlNode `xml:",any"`
}

// holding finds the elements, however deep, that have a child of that name.
func (n xmlNode) holding(name string) []xmlNode {
	if len(n.at(name)) > 0 {
		return []xmlNode{n}
	}
	var found []xmlNode
	for _, child := range n.Nodes {
		found = append(found, child.holding(name)...)
	}
	return found
}

// at are the texts at the end of a path of names.
func (n xmlNode) at(path string) []string {
	name, rest, deeper := strings.Cut(path, "/")
	var texts []string
	for _, child := range n.Nodes {
		switch {
		case child.XMLName.Local != name:
		case deeper:
			texts = append(texts, child.at(rest)...)
		default:
			texts = append(texts, strings.TrimSpace(child.Text))
		}
	}
	return texts
}

// meets says whether at each place stands one of the values.
func (n xmlNode) meets(wanted map[string][]string) bool {
	for place, values := range wanted {
		if !slices.ContainsFunc(n.at(place), func(have string) bool { return slices.Contains(values, have) }) {
			return false
		}
	}
	return true
}

func (f *Front) describeNetworkInterfaces(x *exchange) (*answer, error) {
	return x.filtered(interfaceLookup())
}
