package awsfront

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// compositeAlarms are CloudWatch's alarms over other alarms, which moto has not.
// Everything else of CloudWatch is moto's. Callers speak the query protocol.
type compositeAlarms struct {
	mu     sync.Mutex
	alarms map[string]*compositeAlarm
}

type compositeAlarm struct {
	form    url.Values
	arn     string
	tags    map[string]string
	updated time.Time
}

func newCompositeAlarms() *compositeAlarms {
	return &compositeAlarms{alarms: map[string]*compositeAlarm{}}
}

// putCompositeAlarm keeps it. Tags of a request that changes an alarm are
// ignored, as the PutCompositeAlarm page says.
func (f *Front) putCompositeAlarm(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return nil, err
	}
	name, rule := form.Get("AlarmName"), form.Get("AlarmRule")
	if name == "" || rule == "" {
		return nil, &refusal{code: "ValidationError", message: "AlarmName and AlarmRule are required."}
	}
	if missing, err := f.missingAlarms(x, rule); err != nil {
		return nil, err
	} else if len(missing) > 0 {
		return nil, &refusal{
			code:    "ValidationError",
			message: fmt.Sprintf("Could not save the composite alarm as alarms %v in the alarm rule do not exist", missing),
		}
	}
	c := f.composites
	c.mu.Lock()
	defer c.mu.Unlock()
	key := x.scope.key(name)
	alarm := c.alarms[key]
	if alarm == nil {
		alarm = &compositeAlarm{
			arn:  fmt.Sprintf("arn:aws:cloudwatch:%s:%s:alarm:%s", x.scope.region, f.account(x.scope), name),
			tags: formTags(form),
		}
		c.alarms[key] = alarm
	}
	alarm.form, alarm.updated = form, time.Now().UTC()
	return answerXML("PutCompositeAlarm", "")
}

// ruleAlarm finds the alarms in a rule: ALARM("name"), OK(name), by name or ARN.
var ruleAlarm = regexp.MustCompile(`(?:ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:"([^"]+)"|([^)\s]+))\s*\)`)

// missingAlarms are those of a rule that do not exist.
func (f *Front) missingAlarms(x *exchange, rule string) ([]string, error) {
	ask := url.Values{"Action": {"DescribeAlarms"}, "Version": {cloudWatchVersion}}
	var names []string
	for _, found := range ruleAlarm.FindAllStringSubmatch(rule, -1) {
		name := found[1] + found[2]
		name = name[strings.LastIndexByte(name, ':')+1:]
		if !slices.Contains(names, name) && f.composites.get(x.scope, name) == nil {
			names = append(names, name)
			ask.Set(fmt.Sprintf("AlarmNames.member.%d", len(names)), name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	a, err := x.send([]byte(ask.Encode()))
	if err != nil {
		return nil, err
	}
	var out struct {
		Names []string `xml:"DescribeAlarmsResult>MetricAlarms>member>AlarmName"`
	}
	if err := xml.Unmarshal(a.body, &out); err != nil {
		return nil, fmt.Errorf("read the alarms that a rule names: %w", err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(out.Names, name) }), nil
}

const cloudWatchVersion = "2010-08-01"

// describeAlarms adds the composite ones when they are asked for: "If you omit
// this parameter, only metric alarms are returned, even if composite alarms
// exist in the account" (DescribeAlarms, AlarmTypes).
func (f *Front) describeAlarms(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return x.forward() // another protocol, which asks for metric alarms only here
	}
	types := formList(form, "AlarmTypes.member.")
	if !slices.Contains(types, "CompositeAlarm") {
		return x.forward()
	}
	composites := f.composites.describe(x.scope, formList(form, "AlarmNames.member."), form.Get("AlarmNamePrefix"))
	if !slices.Contains(types, "MetricAlarm") {
		return answerXML("DescribeAlarms", "<MetricAlarms/>"+composites)
	}
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	const end = "</DescribeAlarmsResult>"
	body := bytes.Replace(emptyComposites.ReplaceAll(a.body, nil), []byte(end), []byte(composites+end), 1)
	return &answer{status: a.status, header: a.header, body: body}, nil
}

var emptyComposites = regexp.MustCompile(`<CompositeAlarms\s*/>|<CompositeAlarms>\s*</CompositeAlarms>`)

// deleteAlarms deletes "up to 100 metric alarms but only one composite alarm" in
// one call (DeleteAlarms).
func (f *Front) deleteAlarms(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return x.forward()
	}
	var composite, others []string
	for _, name := range formList(form, "AlarmNames.member.") {
		if f.composites.get(x.scope, name) != nil {
			composite = append(composite, name)
		} else {
			others = append(others, name)
		}
	}
	if len(composite) > 1 {
		return nil, &refusal{code: "ValidationError", message: "Only one composite alarm can be deleted per call."}
	}
	for _, name := range composite {
		f.composites.mu.Lock()
		delete(f.composites.alarms, x.scope.key(name))
		f.composites.mu.Unlock()
	}
	if len(composite) > 0 && len(others) == 0 {
		return answerXML("DeleteAlarms", "")
	}
	return x.forward()
}

// The tag calls, for composite alarms.

func (f *Front) listAlarmTags(x *exchange) (*answer, error) {
	return f.compositeTags(x, "ListTagsForResource", func(a *compositeAlarm, _ url.Values) string {
		var b strings.Builder
		b.WriteString("<Tags>")
		for _, k := range sortedKeys(a.tags) {
			fmt.Fprintf(&b, "<member><Key>%s</Key><Value>%s</Value></member>", escaped(k), escaped(a.tags[k]))
		}
		return b.String() + "</Tags>"
	})
}

func (f *Front) tagAlarm(x *exchange) (*answer, error) {
	return f.compositeTags(x, "TagResource", func(a *compositeAlarm, form url.Values) string {
		maps.Copy(a.tags, formTags(form))
		return ""
	})
}

func (f *Front) untagAlarm(x *exchange) (*answer, error) {
	return f.compositeTags(x, "UntagResource", func(a *compositeAlarm, form url.Values) string {
		for _, k := range formList(form, "TagKeys.member.") {
			delete(a.tags, k)
		}
		return ""
	})
}

func (f *Front) compositeTags(x *exchange, operation string, use func(*compositeAlarm, url.Values) string) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return x.forward()
	}
	arn := form.Get("ResourceARN")
	f.composites.mu.Lock()
	for _, alarm := range f.composites.alarms {
		if alarm.arn == arn {
			defer f.composites.mu.Unlock()
			return answerXML(operation, use(alarm, form))
		}
	}
	f.composites.mu.Unlock()
	return x.forward()
}

func (c *compositeAlarms) get(s scope, name string) *compositeAlarm {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.alarms[s.key(name)]
}

// describe writes the alarms of some names, or of a prefix, or all.
func (c *compositeAlarms) describe(s scope, names []string, prefix string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	b.WriteString("<CompositeAlarms>")
	for _, key := range sortedKeys(c.alarms) {
		alarm := c.alarms[key]
		name := alarm.form.Get("AlarmName")
		if key != s.key(name) || len(names) > 0 && !slices.Contains(names, name) || !strings.HasPrefix(name, prefix) {
			continue
		}
		alarm.write(&b)
	}
	return b.String() + "</CompositeAlarms>"
}

func (a *compositeAlarm) write(b *strings.Builder) {
	at := a.updated.Format("2006-01-02T15:04:05.000Z")
	element := func(name, value string) { fmt.Fprintf(b, "<%s>%s</%s>", name, escaped(value), name) }
	b.WriteString("<member>")
	element("AlarmName", a.form.Get("AlarmName"))
	element("AlarmArn", a.arn)
	element("AlarmRule", a.form.Get("AlarmRule"))
	for _, name := range []string{"AlarmDescription", "ActionsSuppressor", "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod"} {
		if value := a.form.Get(name); value != "" {
			element(name, value)
		}
	}
	enabled := a.form.Get("ActionsEnabled")
	if enabled == "" {
		enabled = "true" // "The default is TRUE."
	}
	element("ActionsEnabled", enabled)
	for _, name := range []string{"AlarmActions", "OKActions", "InsufficientDataActions"} {
		fmt.Fprintf(b, "<%s>", name)
		for _, action := range formList(a.form, name+".member.") {
			element("member", action)
		}
		fmt.Fprintf(b, "</%s>", name)
	}
	element("AlarmConfigurationUpdatedTimestamp", at)
	// Nothing here evaluates an alarm: it stays as a new one is.
	element("StateValue", "INSUFFICIENT_DATA")
	element("StateReason", "Unchecked: Initial alarm creation")
	element("StateUpdatedTimestamp", at)
	b.WriteString("</member>")
}

// form reads the parameters of a call in AWS's query protocol.
func (x *exchange) form() (url.Values, error) {
	form, err := url.ParseQuery(string(x.body))
	if err == nil && form.Get("Action") == "" {
		err = &refusal{code: "MissingAction", message: "the request has no Action"}
	}
	return form, err
}

// formList is a list in the query protocol: name.1, name.2 and so on.
func formList(form url.Values, prefix string) []string {
	var all []string
	for i := 1; form.Has(fmt.Sprint(prefix, i)); i++ {
		all = append(all, form.Get(fmt.Sprint(prefix, i)))
	}
	return all
}

func formTags(form url.Values) map[string]string {
	tags := map[string]string{}
	for i := 1; form.Has(fmt.Sprintf("Tags.member.%d.Key", i)); i++ {
		tags[form.Get(fmt.Sprintf("Tags.member.%d.Key", i))] = form.Get(fmt.Sprintf("Tags.member.%d.Value", i))
	}
	return tags
}

// answerXML is a success of the front's own making, in the query protocol.
func answerXML(operation, result string) (*answer, error) {
	body := fmt.Sprintf("<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult><ResponseMetadata><RequestId>front</RequestId></ResponseMetadata></%[1]sResponse>", operation, result)
	return &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"text/xml"}}, body: []byte(body)}, nil
}

func escaped(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // A buffer takes everything.
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
