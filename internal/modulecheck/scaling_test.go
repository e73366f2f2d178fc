package modulecheck

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// The simulation below plays AWS's documented rules of alarms and auto-scaling,
// minute by minute, over values that come from the module's plan (see
// scaling_plan_test.go). The rules, and where AWS tells of them:
//
//   - An alarm of a minute or longer is evaluated every minute, over the window that
//     period and evaluation periods give. Datapoints that are missing are made up for
//     by older ones, if there are enough; else they count as treat_missing_data says.
//     docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html,
//     …/alarms-and-missing-data.html
//   - While an alarm stays, it repeats an auto-scaling action every minute.
//     …/AlarmThatSendsEmail.html
//   - A step's bounds count from the threshold: above it the lower is inclusive,
//     below it the upper. ExactCapacity sets a number. A scale-in waits for the
//     cooldown, a scale-out that is larger does not.
//     docs.aws.amazon.com/autoscaling/application/APIReference/API_StepAdjustment.html,
//     …/API_StepScalingPolicyConfiguration.html
//   - Target tracking scales out when one policy wants it, proportionally, and in when
//     all want it; without data it does nothing.
//     docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-target-tracking.html
//   - Its alarms: 3 of 3 minutes above the target; 15 of 15 below nine tenths of it. AWS
//     does not promise these numbers; they are what it makes.
//   - No policy leaves the bounds of the scalable target.

// metric is what one query of an alarm, or a policy, reads.
type metric struct {
	Namespace, Name, Stat string
	Dimensions            map[string]string
	Minutes               int
}

// alarm is a metric alarm with an auto-scaling action.
type alarm struct {
	Name       string
	Metrics    map[string]metric
	Expression string
	Comparison string
	Threshold  float64
	Periods    int
	Datapoints int
	Missing    string
	Policy     *stepPolicy
}

// step is one adjustment of a step policy: its bounds count from the threshold.
type step struct {
	From, To float64
	Capacity int
}

// stepPolicy sets an exact number of tasks.
type stepPolicy struct {
	Name     string
	Steps    []step
	Cooldown int // seconds

	last int // minute of its last activity
}

// trackingPolicy is one of target tracking.
type trackingPolicy struct {
	Name            string
	Metric          metric
	Target          float64
	OutCooldown     int
	InCooldown      int
	DisableScaleIn  bool
	lastOut, lastIn int
}

// autoscaler is all that sets the number of tasks.
type autoscaler struct {
	Min, Max int
	Alarms   []*alarm
	Tracking []*trackingPolicy
}

// samples are what was published of one metric, by minute.
type samples map[int][]float64

// world is a work pool with its workers, in minutes.
type world struct {
	scaler       *autoscaler
	arrivals     func(minute int) int
	tick         int // minutes from one tick to the next; 0 for none
	claims       int // runs that a worker claims in a minute
	runMinutes   int
	startMinutes int // until a worker that was asked for polls
	late         int // datapoints further back that CloudWatch takes for missing ones

	minute   int
	capacity int
	due      int
	starting int
	running  []int // minute in which each ends
	up       int
	coming   []int // minute in which each worker that was asked for is up

	metrics  map[string]samples
	state    map[string]bool
	moves    []move
	problems []string
}

// move is a change of the number of tasks.
type move struct{ minute, capacity int }

func newWorld(s *autoscaler, arrivals func(int) int) *world {
	for _, a := range s.Alarms {
		a.Policy.last = math.MinInt32
	}
	for _, p := range s.Tracking {
		p.lastOut, p.lastIn = math.MinInt32, math.MinInt32
	}
	return &world{
		scaler: s, arrivals: arrivals, claims: 60, runMinutes: 5, startMinutes: 2, late: 2,
		capacity: s.Min, up: s.Min, moves: []move{{0, s.Min}}, metrics: map[string]samples{}, state: map[string]bool{},
	}
}

// run lets minutes pass.
func (w *world) run(minutes int) {
	for range minutes {
		w.live()
		w.publish()
		w.scale()
		w.minute++
	}
}

// live is one minute of the pool and its workers.
func (w *world) live() {
	w.coming = slices.DeleteFunc(w.coming, func(at int) bool {
		if at <= w.minute {
			w.up++
		}
		return at <= w.minute
	})
	w.due += w.arrivals(w.minute)
	for range w.starting {
		w.running = append(w.running, w.minute+w.runMinutes)
	}
	w.starting = min(w.due, w.up*w.claims)
	w.due -= w.starting
	w.running = slices.DeleteFunc(w.running, func(end int) bool { return end <= w.minute })
}

func (w *world) work() int { return w.due + w.starting + len(w.running) }

// publish has the workers that are up, and the tick, tell what they see.
func (w *world) publish() {
	put := func(name string, value float64) {
		if w.metrics[name] == nil {
			w.metrics[name] = samples{}
		}
		w.metrics[name][w.minute] = append(w.metrics[name][w.minute], value)
	}
	ticks := w.tick > 0 && w.minute%w.tick == 0
	for i := range w.up + 1 {
		if i == w.up && !ticks {
			continue
		}
		put("Backlog", float64(w.due))
		put("StartingRuns", float64(w.starting))
		put("RunningRuns", float64(len(w.running)))
		if i < w.up {
			put("BacklogPerWorker", float64(w.due)/float64(max(w.up, 1)))
		}
	}
	if w.up > 0 {
		// A launch costs a worker CPU; what it watches costs next to nothing.
		put("ECSServiceAverageCPUUtilization", 2+40*float64(w.starting)/float64(w.up*w.claims))
		put("ECSServiceAverageMemoryUtilization", 8)
	}
}

// datapoint is a metric's statistic over the minutes that end with a given one.
func (w *world) datapoint(m metric, end int) (float64, bool) {
	var all []float64
	for minute := end - m.Minutes + 1; minute <= end; minute++ {
		all = append(all, w.metrics[m.Name][minute]...)
	}
	if len(all) == 0 {
		return 0, false
	}
	switch m.Stat {
	case "Maximum":
		return slices.Max(all), true
	case "Average":
		sum := 0.0
		for _, v := range all {
			sum += v
		}
		return sum / float64(len(all)), true
	default:
		w.problems = append(w.problems, "the simulation knows no statistic "+m.Stat)
		return 0, false
	}
}

// value is an alarm's datapoint for the period that ends with a minute.
func (w *world) value(a *alarm, end int) (float64, bool) {
	values := map[string]float64{}
	for id, m := range a.Metrics {
		v, ok := w.datapoint(m, end)
		if !ok {
			return 0, false
		}
		values[id] = v
	}
	v, err := evaluate(a.Expression, values)
	if err != nil {
		w.problems = append(w.problems, err.Error())
	}
	return v, err == nil
}

func (a *alarm) minutes() int {
	for _, m := range a.Metrics {
		return m.Minutes
	}
	return 1
}

func (a *alarm) breaches(v float64) bool {
	switch a.Comparison {
	case "GreaterThanThreshold":
		return v > a.Threshold
	case "GreaterThanOrEqualToThreshold":
		return v >= a.Threshold
	case "LessThanThreshold":
		return v < a.Threshold
	default:
		return v <= a.Threshold
	}
}

// inAlarm evaluates an alarm, and says what its newest datapoint is.
func (w *world) inAlarm(a *alarm) (newest float64, inAlarm bool) {
	var seen []float64
	for i := range a.Periods + w.late {
		if v, ok := w.value(a, w.minute-i*a.minutes()); ok && len(seen) < a.Periods {
			seen = append(seen, v)
		}
	}
	breaching := 0
	for _, v := range seen {
		if a.breaches(v) {
			breaching++
		}
	}
	if a.Missing == "breaching" {
		breaching += a.Periods - len(seen)
	}
	if len(seen) == 0 {
		return 0, false
	}
	return seen[0], breaching >= a.Datapoints
}

// scale is one minute of CloudWatch and Application Auto Scaling.
func (w *world) scale() {
	for _, a := range w.scaler.Alarms {
		v, on := w.inAlarm(a)
		w.state[a.Name] = on
		if on {
			w.adjust(a, v)
		}
	}
	w.track()
}

// adjust does what a step policy says of a value.
func (w *world) adjust(a *alarm, v float64) {
	for _, s := range a.Policy.Steps {
		above := v-a.Threshold >= s.From && v-a.Threshold < s.To
		below := v-a.Threshold > s.From && v-a.Threshold <= s.To
		if strings.HasPrefix(a.Comparison, "Greater") && !above || strings.HasPrefix(a.Comparison, "Less") && !below {
			continue
		}
		want := w.bounded(s.Capacity)
		if want < w.capacity && w.minute*60 < a.Policy.last*60+a.Policy.Cooldown {
			return
		}
		if want != w.capacity {
			a.Policy.last = w.minute
		}
		w.set(want)
		return
	}
	w.problems = append(w.problems, fmt.Sprintf("no step of %s is for %g", a.Policy.Name, v))
}

// track is one minute of target tracking.
func (w *world) track() {
	if len(w.scaler.Tracking) == 0 {
		return
	}
	out, in, ready, asked := 0, 0, 0, 0
	for _, p := range w.scaler.Tracking {
		v, high, low := w.tracking(p)
		want := int(math.Ceil(float64(w.capacity) * v / p.Target))
		if high && want > w.capacity && (w.minute*60 >= p.lastOut*60+p.OutCooldown) {
			if w.bounded(want) > w.capacity {
				p.lastOut = w.minute
			}
			out = max(out, want)
		}
		if !p.DisableScaleIn {
			asked++
			if low && w.minute*60 >= p.lastIn*60+p.InCooldown {
				ready++
				in = max(in, want)
			}
		}
	}
	switch {
	case out > 0:
		w.set(w.bounded(out))
	case asked > 0 && ready == asked && w.bounded(in) < w.capacity:
		for _, p := range w.scaler.Tracking {
			p.lastIn = w.minute
		}
		w.set(w.bounded(in))
	}
}

// tracking evaluates the two alarms that AWS makes for a policy.
func (w *world) tracking(p *trackingPolicy) (newest float64, high, low bool) {
	above, below := 0, 0
	for i := range 15 {
		v, ok := w.datapoint(p.Metric, w.minute-i)
		if !ok {
			break
		}
		if i == 0 {
			newest = v
		}
		if v > p.Target && above == i {
			above++
		}
		if v < p.Target*0.9 && below == i {
			below++
		}
	}
	return newest, above >= 3, below >= 15
}

func (w *world) bounded(n int) int { return min(max(n, w.scaler.Min), w.scaler.Max) }

// set changes the number of tasks: new ones take a while to come, old ones drain at once.
func (w *world) set(n int) {
	if n != w.capacity {
		w.moves = append(w.moves, move{w.minute, n})
	}
	for w.capacity < n {
		w.capacity++
		w.coming = append(w.coming, w.minute+w.startMinutes)
	}
	for w.capacity > n {
		w.capacity--
		if len(w.coming) > 0 {
			w.coming = w.coming[:len(w.coming)-1]
		} else {
			w.up--
		}
	}
	if n == 0 && w.work() > 0 {
		w.problems = append(w.problems, fmt.Sprintf("minute %d: the last worker was stopped with %d runs due, starting or running", w.minute, w.work()))
	}
}

// turns counts how often the number of tasks changed its direction.
func turns(moves []move) int {
	n := 0
	for i := 2; i < len(moves); i++ {
		if (moves[i].capacity > moves[i-1].capacity) != (moves[i-1].capacity > moves[i-2].capacity) {
			n++
		}
	}
	return n
}

// show is how the number of tasks went, for messages.
func show(moves []move) string {
	var out []string
	for _, m := range moves {
		out = append(out, fmt.Sprintf("minute %d: %d", m.minute, m.capacity))
	}
	return strings.Join(out, ", ")
}

// at is the number of tasks at the end of a minute.
func (w *world) at(minute int) int {
	n := 0
	for _, m := range w.moves {
		if m.minute <= minute {
			n = m.capacity
		}
	}
	return n
}

// evaluate computes the few forms of CloudWatch's metric math that the module
// uses: numbers, names, + and >, and IF. Everything else is an error.
func evaluate(expression string, values map[string]float64) (float64, error) {
	p := &mathParser{text: expression, values: values}
	v, err := p.comparison()
	if err == nil && strings.TrimSpace(p.text) != "" {
		err = fmt.Errorf("metric math: %q is left over of %q", p.text, expression)
	}
	return v, err
}

type mathParser struct {
	text   string
	values map[string]float64
}

func (p *mathParser) take(token string) bool {
	p.text = strings.TrimLeft(p.text, " ")
	rest, ok := strings.CutPrefix(p.text, token)
	if ok {
		p.text = rest
	}
	return ok
}

func (p *mathParser) comparison() (float64, error) {
	left, err := p.sum()
	if err != nil || !p.take(">") {
		return left, err
	}
	right, err := p.sum()
	if left > right {
		return 1, err
	}
	return 0, err
}

func (p *mathParser) sum() (float64, error) {
	total, err := p.operand()
	for err == nil && p.take("+") {
		var v float64
		v, err = p.operand()
		total += v
	}
	return total, err
}

func (p *mathParser) operand() (float64, error) {
	p.text = strings.TrimLeft(p.text, " ")
	end := strings.IndexFunc(p.text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '.' })
	if end < 0 {
		end = len(p.text)
	}
	word := p.text[:end]
	p.text = p.text[end:]
	if v, err := strconv.ParseFloat(word, 64); err == nil {
		return v, nil
	}
	if v, ok := p.values[word]; ok {
		return v, nil
	}
	if word != "IF" || !p.take("(") {
		return 0, fmt.Errorf("metric math: %q is no number, no metric and no IF", word)
	}
	var args [3]float64
	for i := range args {
		v, err := p.comparison()
		if err != nil {
			return 0, err
		}
		args[i] = v
		if !p.take([]string{",", ",", ")"}[i]) {
			return 0, errors.New("metric math: IF takes three arguments")
		}
	}
	if args[0] != 0 {
		return args[1], nil
	}
	return args[2], nil
}

func TestMetricMath(t *testing.T) {
	values := map[string]float64{"backlog": 40, "running": 2}
	for expression, want := range map[string]float64{
		"backlog + running":                         42,
		"IF(backlog + running > 0, 1 + backlog, 0)": 41,
		"IF(running > backlog, 1, 0)":               0,
	} {
		if got, err := evaluate(expression, values); err != nil || got != want {
			t.Errorf("%s is %g, want %g: %v", expression, got, want, err)
		}
	}
	for _, bad := range []string{"starting + 1", "FILL(backlog, 0)", "IF(backlog, 1)", "backlog running"} {
		if got, err := evaluate(bad, values); err == nil {
			t.Errorf("%s is %g", bad, got)
		}
	}
}

// byHand is the loop that comes to mind first: one worker as soon as there is
// work, and target tracking for more.
func byHand() *autoscaler {
	work := func(minutes int) map[string]metric {
		return map[string]metric{
			"backlog":  {Name: "Backlog", Stat: "Maximum", Minutes: minutes},
			"starting": {Name: "StartingRuns", Stat: "Maximum", Minutes: minutes},
			"running":  {Name: "RunningRuns", Stat: "Maximum", Minutes: minutes},
		}
	}
	const sum = "backlog + starting + running"
	return &autoscaler{
		Min: 0, Max: 3,
		Alarms: []*alarm{
			{Name: "wake", Metrics: work(1), Expression: sum, Comparison: "GreaterThanThreshold", Periods: 1, Datapoints: 1, Missing: "notBreaching", Policy: &stepPolicy{Name: "wake", Steps: []step{{0, math.Inf(1), 1}}, Cooldown: 60}},
			{Name: "idle", Metrics: work(1), Expression: sum, Comparison: "LessThanOrEqualToThreshold", Periods: 15, Datapoints: 15, Missing: "notBreaching", Policy: &stepPolicy{Name: "idle", Steps: []step{{math.Inf(-1), 0, 0}}, Cooldown: 300}},
		},
		Tracking: []*trackingPolicy{{Name: "backlog", Metric: metric{Name: "BacklogPerWorker", Stat: "Average", Minutes: 1}, Target: 100, OutCooldown: 60, InCooldown: 300, DisableScaleIn: true}},
	}
}

// TestSimulationSeesFlapping shows that the simulation can fail, and why the module
// does not do the first thing that comes to mind: the policy that wakes a worker
// is asked again every minute, and takes back what target tracking has added.
func TestSimulationSeesFlapping(t *testing.T) {
	w := newWorld(byHand(), burst(30, 2000))
	w.tick, w.runMinutes = 1, 20
	w.run(240)
	if n := turns(w.moves); n < 4 {
		t.Errorf("the number of tasks turned %d times only: %s", n, show(w.moves))
	}
}

// TestSimulationSeesAnEarlyEnd shows that the simulation tells of a worker that is
// stopped while runs are still to be watched.
func TestSimulationSeesAnEarlyEnd(t *testing.T) {
	s := byHand()
	s.Tracking = nil
	s.Alarms[1].Expression = "backlog + starting" // running ones forgotten
	w := newWorld(s, burst(30, 10))
	w.tick, w.runMinutes = 1, 60
	w.run(120)
	if len(w.problems) == 0 {
		t.Errorf("nothing was noticed: %s", show(w.moves))
	}
}

// burst has n runs become due in one minute.
func burst(at, n int) func(int) int {
	return func(minute int) int {
		if minute == at {
			return n
		}
		return 0
	}
}
