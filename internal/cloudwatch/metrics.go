// Package cloudwatch publishes what a worker and its work pool are doing as
// CloudWatch metrics: few, always the same, and never one that names a flow run,
// since CloudWatch charges for each.
package cloudwatch

// DefaultNamespace is where the metrics are, unless somebody says otherwise.
const DefaultNamespace = "Faber"

// The dimensions that every metric has, and no other: the stack's name and the work
// pool's. Each further value of one is ten metrics more on the bill.
const (
	DimensionStack    = "Stack"
	DimensionWorkPool = "WorkPool"
)

// Names of the metrics.
const (
	Backlog           = "Backlog"
	OldestDueAge      = "OldestDueAge"
	BacklogPerWorker  = "BacklogPerWorker"
	StartingRuns      = "StartingRuns"
	RunningRuns       = "RunningRuns"
	LaunchFailures    = "LaunchFailures"
	Throttles         = "Throttles"
	SpotInterruptions = "SpotInterruptions"
	LaunchSeconds     = "LaunchSeconds"
	StartSeconds      = "StartSeconds"
)

// Units, as CloudWatch spells them.
const (
	UnitCount   = "Count"
	UnitSeconds = "Seconds"
)

// Metric is one that is published.
type Metric struct {
	Name string
	Unit string
	// Statistics are those that mean something. Several workers, and the tick, publish
	// what they see of the same pool: a sum of their backlogs is none.
	Statistics []string
	// Tick says that `faber tick` publishes it, too, without any worker.
	Tick    bool
	Meaning string
}

// Metrics are all that are ever published: ten for each stack and work pool, which is
// as many as CloudWatch's free tier holds.
func Metrics() []Metric {
	level, age, sum, spread := []string{"Maximum", "Average"}, []string{"Maximum"}, []string{"Sum"}, []string{"p50", "p95"}
	return []Metric{
		{Backlog, UnitCount, level, true, "flow runs of the pool that are due and that nobody has claimed"},
		{OldestDueAge, UnitSeconds, age, true, "how long ago the oldest of them was due; 0 without one"},
		{BacklogPerWorker, UnitCount, []string{"Average"}, false, "Backlog for each worker of the pool that is ONLINE; missing while no worker polls"},
		{StartingRuns, UnitCount, age, true, "flow runs of the pool between claim and run: Pending"},
		{RunningRuns, UnitCount, age, true, "flow runs of the pool that run: Running or Cancelling"},
		{LaunchFailures, UnitCount, sum, false, "launches that failed"},
		{Throttles, UnitCount, sum, false, "calls that AWS refused because there were too many"},
		{SpotInterruptions, UnitCount, sum, false, "tasks that ended because AWS took their Spot capacity back"},
		{LaunchSeconds, UnitSeconds, spread, false, "from when a flow run was due to when its task was created"},
		{StartSeconds, UnitSeconds, spread, false, "from when a task was created to when its flow run was Running"},
	}
}
