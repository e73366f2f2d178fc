package worker

import "time"

const (
	// hintGather is how long the first hint after a pause waits for others: what
	// happens to one run is soon known, what happens to many is looked at once.
	hintGather = 100 * time.Millisecond
	// hintGap lies between two early looks, whatever was hinted at meanwhile.
	hintGap = 3 * time.Second
)

// earlySweep are the attempts that hints want described before the sweeps come to
// them. It belongs to one goroutine.
type earlySweep struct {
	due     map[*attempt]bool
	timer   *time.Timer // nil while nothing is due, or a look is under way
	last    time.Time   // start of the latest look
	looking bool
	done    chan struct{} // a look ended
}

// add notes what was hinted at.
func (e *earlySweep) add(hinted []*attempt) {
	for _, a := range hinted {
		e.due[a] = true
	}
	e.arm()
}

// arm sets the time of the next look, if there is to be one.
func (e *earlySweep) arm() {
	if len(e.due) == 0 || e.looking || e.timer != nil {
		return
	}
	e.timer = time.NewTimer(max(hintGather, time.Until(e.last.Add(hintGap))))
}

// time tells when to look; never while that is not known.
func (e *earlySweep) time() <-chan time.Time {
	if e.timer == nil {
		return nil
	}
	return e.timer.C
}

// begin starts a look, and returns at what.
func (e *earlySweep) begin() []*attempt {
	hinted := make([]*attempt, 0, len(e.due))
	for a := range e.due {
		hinted = append(hinted, a)
	}
	clear(e.due)
	e.timer, e.looking, e.last = nil, true, time.Now()
	return hinted
}

func (e *earlySweep) end() {
	e.looking = false
	e.arm()
}

// wait returns when no look is under way, and none will be.
func (e *earlySweep) wait() {
	if e.timer != nil {
		e.timer.Stop()
	}
	if e.looking {
		<-e.done
	}
}
