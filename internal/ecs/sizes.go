package ecs

import (
	"fmt"
	"strconv"
	"strings"
)

// memoryRange is what Fargate offers with one size of CPU, in MiB.
type memoryRange struct{ from, to, step int64 }

// has reports whether an amount of memory is offered.
func (r memoryRange) has(memory int64) bool {
	// 256 CPU units have no step of 1536 MiB.
	odd := r.from == 512 && memory == 1536
	return r.step > 0 && memory >= r.from && memory <= r.to && (memory-r.from)%r.step == 0 && !odd
}

// fargateSizes are the sizes of CPU that fargateMemory knows.
var fargateSizes = []int64{256, 512, 1024, 2048, 4096, 8192, 16384}

// fargateMemory lists the sizes of Fargate, as
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
// has them. A size of CPU that is missing here
// may be one that came later, and is left to ECS to judge.
func fargateMemory(cpu int64) (memoryRange, bool) {
	switch cpu {
	case 256:
		return memoryRange{512, 2048, 512}, true
	case 512:
		return memoryRange{1024, 4096, 1024}, true
	case 1024:
		return memoryRange{2048, 8192, 1024}, true
	case 2048:
		return memoryRange{4096, 16384, 1024}, true
	case 4096:
		return memoryRange{8192, 30720, 1024}, true
	case 8192:
		return memoryRange{16384, 61440, 4096}, true
	case 16384:
		return memoryRange{32768, 122880, 8192}, true
	default:
		return memoryRange{}, false
	}
}

// checkSize finds a pair of CPU and memory that Fargate certainly refuses.
func checkSize(c *configuration, b *built) error {
	if !c.onFargate() {
		return nil
	}
	overrides, _ := c.request["overrides"].(map[string]any)
	cpu, ok := effectiveSize(overrides["cpu"], b.shape["cpu"], unitVCPU)
	memory, alsoOK := effectiveSize(overrides["memory"], b.shape["memory"], unitGB)
	if !ok || !alsoOK {
		return nil
	}
	offer, known := fargateMemory(cpu)
	if !known {
		if cpu < 256 {
			return fmt.Errorf("Fargate has no task with %d CPU units: the smallest are 256, 512 and 1024 (one vCPU)", cpu)
		}
		return nil
	}
	if !offer.has(memory) {
		return fmt.Errorf("Fargate has no task with %d CPU units and %d MiB of memory: with %d CPU units, memory goes from %d to %d MiB in steps of %d",
			cpu, memory, cpu, offer.from, offer.to, max(offer.step, 1))
	}
	return nil
}

// effectiveSize is the override, else the definition's.
func effectiveSize(override, defined any, unit string) (int64, bool) {
	if !empty(override) {
		return units(override, unit)
	}
	return units(defined, unit)
}

// Units in which the size of a task may be written; ECS answers in its own.
const (
	unitVCPU = "vcpu"
	unitGB   = "gb"
)

// units reads a task's size, in CPU units or MiB: 1024 of them are one vCPU, or
// one GB.
func units(value any, unit string) (int64, bool) {
	if n, ok := wholeNumber(value); ok {
		return n, true
	}
	written, _ := value.(string)
	number, found := strings.CutSuffix(strings.ToLower(strings.TrimSpace(written)), unit)
	if !found {
		return 0, false
	}
	size, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil {
		return 0, false
	}
	return wholeNumber(size * 1024)
}
