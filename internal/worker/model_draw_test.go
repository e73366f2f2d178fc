package worker

import (
	"time"

	"pgregory.net/rapid"
)

const second = time.Second

// Draws. What comes first is what shrinking prefers.
var (
	drawGap  = rapid.SampledFrom([]time.Duration{0, 0, 20 * time.Millisecond, 100 * time.Millisecond, second, second, 3 * second, 6 * second, 12 * second, 12 * second, 30 * second, 70 * second, 3 * time.Minute, 7 * time.Minute})
	drawKind = rapid.SampledFrom([]modelKind{
		modelCompletes, modelCompletes, modelCompletes, modelFailsItself, modelCrashes, modelTells, modelSilent, modelEarly, modelSuspends, modelPauses,
		modelRetries, modelRetryDies, modelSpot, modelSpot, modelSpotEarly, modelUnstartable, modelNoRoom, modelDenied, modelVanishes, modelDozes,
	})
	drawPlan = rapid.Custom(func(t *rapid.T) modelPlan {
		return modelPlan{
			Kind:      drawKind.Draw(t, "kind"),
			Provision: rapid.SampledFrom([]time.Duration{second, 5 * second, 30 * second, 90 * second}).Draw(t, "provision"),
			Run:       rapid.SampledFrom([]time.Duration{second, 10 * second, 40 * second, 3 * time.Minute}).Draw(t, "run"),
			Unseen:    rapid.SampledFrom([]time.Duration{0, 0, 0, 8 * second, 45 * second}).Draw(t, "unseen"),
			Deaf:      rapid.Bool().Draw(t, "deaf"),
			Term:      rapid.SampledFrom([]string{"", "report", "reschedule"}).Draw(t, "term"),
		}
	})
	// drawOps are the calls that a history spoils: few, so that it spoils them well.
	drawOps = rapid.SliceOfN(rapid.SampledFrom([]string{
		"", "Launch", "SetFlowRunState/Pending", "SetFlowRunState/Submitting", "SetFlowRunState/AwaitingRetry", "SetFlowRunState/Crashed",
		"SetFlowRunState/Cancelled", "SetFlowRunState", "SetInfrastructurePID", "SetLabels", "ReadFlowRun", "FlowRunStates", "ReadDeployment",
		"GetScheduledFlowRuns", "FilterFlowRuns", "Workers", "Heartbeat", "Describe", "Find", "Stop", "RenewConcurrencyLease", "AllowReschedule",
	}), 1, 4)
	// drawDeeds are what happens in a history besides runs and faults: few as well.
	drawDeeds = rapid.SliceOfN(rapid.SampledFrom([]string{
		"kill", "kill", "start", "start", "cancel", "cancel", "stop", "rename", "api down", "cloud down", "deaf", "delete", "again", "hide",
		"hand-stop", "template", "undeploy", "foreign", "pause", "junk", "night", "rush",
	}), 1, 8)
	drawHistory = rapid.Custom(func(t *rapid.T) modelHistory {
		action := drawAction(drawOps.Draw(t, "ops"), drawDeeds.Draw(t, "deeds"))
		h := modelHistory{
			Seed:        rapid.Uint64Range(1, 1000).Draw(t, "seed"),
			Workers:     rapid.SampledFrom([]int{1, 2, 2, 3}).Draw(t, "workers"),
			Limit:       rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "limit"),
			SubmitLimit: rapid.SampledFrom([]int{64, 1, 1, 2}).Draw(t, "submit limit"),
			Alone:       rapid.SampledFrom([]bool{false, false, false, false, true}).Draw(t, "alone"),
			Janitor:     rapid.Bool().Draw(t, "janitor"),
			Actions:     rapid.SliceOfN(action, 1, 24).Draw(t, "actions"),
		}
		if h.Alone {
			h.confine()
		}
		return h
	})
)

// drawFault draws a fault of one of some calls.
func drawFault(t *rapid.T, ops []string) *modelFault {
	return &modelFault{
		Op:    rapid.SampledFrom(ops).Draw(t, "op"),
		Run:   rapid.SampledFrom([]int{-1, -1, -1, 0, 1}).Draw(t, "of"),
		Slot:  rapid.SampledFrom([]int{-1, -1, 0, 1}).Draw(t, "at"),
		Skip:  rapid.SampledFrom([]int{0, 0, 0, 1, 2, 5}).Draw(t, "skip"),
		Count: rapid.SampledFrom([]int{1, 1, 1, 2, 5, 12}).Draw(t, "count"),
		How: rapid.SampledFrom([]modelHow{
			modelFails, modelLost, modelLost, modelSlow, modelLate, modelHangs, modelKilled, modelKilled, modelDies, modelDies,
		}).Draw(t, "how"),
		For: rapid.SampledFrom([]time.Duration{second, 5 * second, 20 * second, 50 * second}).Draw(t, "for"),
	}
}

// drawAction draws actions of some kinds.
func drawAction(ops, deeds []string) *rapid.Generator[modelAction] {
	do := rapid.SampledFrom(append([]string{"run", "run", "run", "wait", "fault", "fault"}, deeds...))
	return rapid.Custom(func(t *rapid.T) modelAction {
		a := modelAction{Do: do.Draw(t, "do"), I: rapid.IntRange(0, 3).Draw(t, "i")}
		switch a.Do {
		case "run", "rush":
			a.J = rapid.SampledFrom([]int{0, 0, 0, -1, 1, 2, 3, 4}).Draw(t, "deployment")
			a.D = rapid.SampledFrom([]time.Duration{0, 0, 0, 8 * second, time.Minute}).Draw(t, "due in")
			a.Plans = rapid.SliceOfN(drawPlan, 0, 3).Draw(t, "plans")
		case "fault":
			a.Fault = drawFault(t, ops)
		case "api down", "cloud down", "deaf":
			a.D = rapid.SampledFrom([]time.Duration{5 * second, 20 * second, 70 * second, 4 * time.Minute}).Draw(t, "for")
		case "hide":
			a.D = rapid.SampledFrom([]time.Duration{8 * second, 3 * second}).Draw(t, "for")
		}
		a.Then = drawGap.Draw(t, "then")
		return a
	})
}
