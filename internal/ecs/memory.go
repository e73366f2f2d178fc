package ecs

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"

	"faber/internal/launch"
)

// ladderKey is where a configuration says how much memory a flow run gets after
// it ran out of it: a list of MiB, the smallest first.
const ladderKey = "memory_ladder"

// ladder reads the memory ladder.
func (r *reader) ladder() []int64 {
	value := r.object[ladderKey]
	if empty(value) {
		return nil
	}
	const wanted = "Input should be a list of whole numbers, MiB of memory, each larger than the one before, like [4096, 8192]"
	list, ok := value.([]any)
	if !ok {
		r.problem(ladderKey, wanted)
		return nil
	}
	var steps []int64
	for _, item := range list {
		step, whole := wholeNumber(item)
		if !whole || step <= 0 || len(steps) > 0 && step <= steps[len(steps)-1] {
			r.problem(ladderKey, wanted)
			return nil
		}
		steps = append(steps, step)
	}
	return steps
}

// taskSize is what a task has, in CPU units and MiB; 0 is not known.
type taskSize struct{ cpu, memory int64 }

// sizeOf is the size that a task has by its request and its definition. Outside
// Fargate it is the container that is sized.
func (c *configuration) sizeOf(overrides map[string]any, d *definition) taskSize {
	cpu, _ := effectiveSize(overrides["cpu"], d.cpu, unitVCPU)
	memory, _ := effectiveSize(overrides["memory"], d.memory, unitGB)
	if memory == 0 {
		name := c.orchestrationName(d)
		override := containerNamed(objects(overrides["containerOverrides"]), name)
		memory, _ = effectiveSize(override["memory"], d.containerMemory(name), unitGB)
	}
	return taskSize{cpu, memory}
}

// containerMemory is the limit that a definition gives a container.
func (d *definition) containerMemory(name string) any {
	for _, container := range d.containers {
		if aws.ToString(container.Name) == name && container.Memory != nil {
			return int64(*container.Memory)
		}
	}
	return nil
}

// step is what a task gets after so many launches that ran out of memory. Steps
// that are no more than it has anyway are none.
func (c *configuration) step(outOfMemory int, has taskSize) (taskSize, bool) {
	steps := slices.DeleteFunc(slices.Clone(c.ladder), func(step int64) bool { return step <= has.memory })
	if outOfMemory < 1 || outOfMemory > len(steps) {
		return taskSize{}, false
	}
	memory := steps[outOfMemory-1]
	if !c.onFargate() {
		return taskSize{memory: memory}, true
	}
	cpu, _ := fargateCPU(has.cpu, memory)
	return taskSize{cpu, memory}, true
}

// fargateCPU is the least CPU, from what a task has on, with which Fargate offers
// so much memory.
func fargateCPU(has, memory int64) (int64, bool) {
	if _, known := fargateMemory(has); !known && has > 0 {
		return has, true // ECS is the judge of it
	}
	for _, cpu := range fargateSizes {
		if offer, _ := fargateMemory(cpu); cpu >= has && offer.has(memory) {
			return cpu, true
		}
	}
	return has, false
}

// checkLadder finds steps that Fargate has no task for.
func (c *configuration) checkLadder(d *definition) error {
	if !c.onFargate() {
		return nil
	}
	overrides, _ := c.request["overrides"].(map[string]any)
	has := c.sizeOf(overrides, d)
	for _, step := range c.ladder {
		if step <= has.memory {
			continue
		}
		if _, ok := fargateCPU(has.cpu, step); !ok {
			return fmt.Errorf("%s: Fargate has no task with %d MiB of memory and at least %d CPU units. "+
				"It has sizes in steps of 1024 MiB up to 30720, of 4096 up to 61440, of 8192 up to 122880", ladderKey, step, has.cpu)
		}
	}
	return nil
}

// climbed is the size of a run that ran out of memory: by the next step of its
// ladder, and after the last one by that one again.
func (c *configuration) climbed(overrides map[string]any, job launch.Job, d *definition) (size taskSize, climbs bool) {
	for n := min(job.Attempt.OutOfMemory, len(c.ladder)); n > 0 && !climbs; n-- {
		size, climbs = c.step(n, c.sizeOf(overrides, d))
	}
	return size, climbs
}

// climb gives a run the memory that it is to have after it ran out of it.
func (c *configuration) climb(overrides map[string]any, job launch.Job, d *definition) {
	size, climbs := c.climbed(overrides, job, d)
	if !climbs {
		return
	}
	if c.onFargate() || !empty(overrides["memory"]) || !empty(d.memory) {
		overrides["memory"] = text(size.memory)
	}
	if has, _ := effectiveSize(overrides["cpu"], d.cpu, unitVCPU); size.cpu > has {
		overrides["cpu"] = text(size.cpu)
	}
	name := c.orchestrationName(d)
	container := containerNamed(objects(overrides["containerOverrides"]), name)
	if !empty(container["memory"]) || d.containerMemory(name) != nil {
		container["memory"] = max(size.memory-d.others(name), 1)
	}
}

// others is the memory that a definition sets aside for all containers but one:
// together they may not have more than the task.
func (d *definition) others(name string) int64 {
	var sum int64
	for _, container := range d.containers {
		switch {
		case aws.ToString(container.Name) == name:
		case container.Memory != nil:
			sum += int64(*container.Memory)
		default:
			sum += int64(aws.ToInt32(container.MemoryReservation))
		}
	}
	return sum
}

// MemoryAfter is what a job gets after so many launches that ran out of memory.
// Of a task definition of the user's own nobody knows here what it gives: then
// every step of the ladder counts.
func (l *Launcher) MemoryAfter(job launch.Job, outOfMemory int) (string, bool) {
	c, err := parseConfiguration(job)
	if err != nil || len(c.ladder) == 0 {
		return "", false
	}
	d := &definition{arn: c.userDefinition()}
	if d.arn == "" {
		b, err := l.buildDefinition(c, job, "")
		if err != nil {
			return "", false
		}
		d = b.as("", false)
	}
	overrides, _ := c.request["overrides"].(map[string]any)
	size, ok := c.step(outOfMemory, c.sizeOf(overrides, d))
	if !ok {
		return "", false
	}
	return fmt.Sprintf("%d MiB", size.memory), true
}
