package awsfront

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// prefixLists are those that rules of security groups name. ministack loses a
// rule's prefix list, and such a rule then seems to lead nowhere; so it is given
// one that leads to a range which stands for the list, and its answers are read
// back. The ranges are of those that are reserved for ever (240.0.0.0/4).
type prefixLists struct {
	mu     sync.Mutex
	ranges map[string]string // the list's id by its range
}

func newPrefixLists() *prefixLists { return &prefixLists{ranges: map[string]string{}} }

var prefixListParameter = regexp.MustCompile(`^IpPermissions\.(\d+)\.PrefixListIds\.(\d+)\.(PrefixListId|Description)$`)

// authorizeRules gives each prefix list of the rules its range.
func (f *Front) authorizeRules(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return nil, err
	}
	changed := url.Values{}
	for name, values := range form {
		part := prefixListParameter.FindStringSubmatch(name)
		if part == nil {
			changed[name] = values
			continue
		}
		// Behind the ranges that the same permission names itself.
		n, _ := strconv.Atoi(part[2]) // digits, as the pattern says
		for form.Has(fmt.Sprintf("IpPermissions.%s.IpRanges.%d.CidrIp", part[1], n)) {
			n++
		}
		if part[3] == "Description" {
			changed.Set(fmt.Sprintf("IpPermissions.%s.IpRanges.%d.Description", part[1], n), values[0])
		} else {
			changed.Set(fmt.Sprintf("IpPermissions.%s.IpRanges.%d.CidrIp", part[1], n), f.prefixLists.rangeOf(values[0]))
		}
	}
	a, err := x.send([]byte(changed.Encode()))
	if err != nil {
		return nil, err
	}
	return f.prefixLists.tell(a), nil
}

func (f *Front) describeRules(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return f.prefixLists.tell(a), nil
}

// rangeOf is the range that stands for a list, and remembers it.
func (p *prefixLists) rangeOf(list string) string {
	sum := sha256.Sum256([]byte(list))
	cidr := fmt.Sprintf("%d.%d.%d.%d/32", 240+sum[0]%15, sum[1], sum[2], sum[3])
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ranges[cidr] = list
	return cidr
}

// tell puts the lists in the place of their ranges, in the form in which rules
// are listed one by one.
func (p *prefixLists) tell(a *answer) *answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	body := string(a.body)
	for cidr, list := range p.ranges {
		body = strings.ReplaceAll(body, "<cidrIpv4>"+cidr+"</cidrIpv4>", "<prefixListId>"+escaped(list)+"</prefixListId>")
	}
	return &answer{status: a.status, header: a.header, body: []byte(body)}
}
