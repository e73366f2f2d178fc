package ecs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"faber/internal/launch"
)

func ladder(steps ...any) func(map[string]any) { return set(steps, ladderKey) }

func sized(cpu, memory string) func(map[string]any) {
	return func(c map[string]any) {
		set(cpu, "task_definition", "cpu")(c)
		set(memory, "task_definition", "memory")(c)
	}
}

// overridden is the default template with its sizes given by job variables.
func overridden(cpu, memory string) func(map[string]any) {
	return func(c map[string]any) {
		sized(cpu, memory)(c)
		set(map[string]any{"cpu": cpu, "memory": memory, "containerOverrides": []any{map[string]any{"cpu": cpu, "memory": memory}}}, "task_run_request", "overrides")(c)
	}
}

func TestMemoryLadder(t *testing.T) {
	containers := func(list ...any) func(map[string]any) { return set(list, "task_definition", "containerDefinitions") }
	ec2 := set("EC2", "task_run_request", "launchType")
	for _, tt := range []struct {
		name        string
		changes     []func(map[string]any)
		outOfMemory int
		task        []any // cpu and memory
		container   any   // memory
	}{
		{"not yet", []func(map[string]any){ladder(4096.0, 8192.0)}, 0, []any{nil, nil}, nil},
		{"first step", []func(map[string]any){ladder(4096.0, 8192.0)}, 1, []any{nil, "4096"}, nil},
		{"second step", []func(map[string]any){ladder(4096.0, "8192")}, 2, []any{nil, "8192"}, nil},
		{"after the last", []func(map[string]any){ladder(4096.0, 8192.0)}, 5, []any{nil, "8192"}, nil},
		{"more CPU", []func(map[string]any){ladder(16384.0)}, 1, []any{"2048", "16384"}, nil},
		{"more CPU than one size", []func(map[string]any){ladder(61440.0), sized("256", "512")}, 1, []any{"8192", "61440"}, nil},
		{"no less CPU", []func(map[string]any){ladder(9216.0), sized("4096", "8192")}, 1, []any{nil, "9216"}, nil},
		{"written otherwise", []func(map[string]any){ladder(3072.0), sized(".5 vCPU", "1 GB")}, 1, []any{nil, "3072"}, nil},
		{"steps below", []func(map[string]any){ladder(1024.0, 2048.0, 3072.0)}, 1, []any{nil, "3072"}, nil},
		{"all steps below", []func(map[string]any){ladder(1024.0, 2048.0)}, 1, []any{nil, nil}, nil},
		{"overridden", []func(map[string]any){ladder(8192.0), overridden("512", "1024")}, 1, []any{"1024", "8192"}, 8192.0},
		{"the definition fixes it", []func(map[string]any){ladder(4096.0), containers(map[string]any{"name": "prefect", "memory": 2048.0})}, 1, []any{nil, "4096"}, 4096.0},
		{"beside another", []func(map[string]any){ladder(4096.0), containers(map[string]any{"name": "prefect", "memory": 1536.0}, map[string]any{"name": "side", "image": "i", "memory": 512.0})}, 1, []any{nil, "4096"}, 3584.0},
		{"EC2", []func(map[string]any){ladder(5000.0), ec2}, 1, []any{nil, nil}, 5000.0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeAWS(t)
			l := newLauncher(t, f)
			job := testJob(tt.changes...)
			job.Attempt.OutOfMemory = tt.outOfMemory
			lines := logTo(&job)
			if err := l.Check(job); err != nil {
				t.Fatal(err)
			}
			mustLaunch(t, l, job)
			overrides := f.Bodies("RunTask")[0]["overrides"].(map[string]any)
			container := objects(overrides["containerOverrides"])[0]
			if diff := cmp.Diff(append(tt.task, tt.container), []any{overrides["cpu"], overrides["memory"], container["memory"]}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			climbed := tt.outOfMemory > 0 && (tt.task[1] != nil || tt.container != nil)
			if said := strings.Contains(lines(), "ran out of memory: it gets"); said != climbed {
				t.Errorf("the log says:\n%s", lines())
			}
		})
	}
}

func TestMemoryAfter(t *testing.T) {
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(0) })
	users := set("mine:1", "task_run_request", "taskDefinition")
	for _, tt := range []struct {
		name    string
		changes []func(map[string]any)
		want    []string
	}{
		{"none", nil, []string{"", "", ""}},
		{"two steps", []func(map[string]any){ladder(4096.0, 8192.0)}, []string{"", "4096 MiB", "8192 MiB", ""}},
		{"one is no more than it has", []func(map[string]any){ladder(2048.0, 8192.0)}, []string{"", "8192 MiB", ""}},
		{"nobody knows what it has", []func(map[string]any){ladder(2048.0, 8192.0), users}, []string{"", "2048 MiB", "8192 MiB", ""}},
		{"no ladder", []func(map[string]any){set("lots", ladderKey)}, []string{"", ""}},
	} {
		for n, want := range tt.want {
			got, ok := launch.MemoryLadder(l).MemoryAfter(testJob(tt.changes...), n)
			if got != want || ok != (want != "") {
				t.Errorf("%s: after %d: %q, %v, want %q", tt.name, n, got, ok, want)
			}
		}
	}
}

func TestLaddersThatNobodyCanClimb(t *testing.T) {
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(0) })
	const shape = "1 validation error for ECSJobConfiguration\nmemory_ladder\n  Input should be a list of whole numbers, MiB of memory, each larger than the one before, like [4096, 8192]"
	sizes := "Fargate has no task with %d MiB of memory and at least %d CPU units"
	for _, tt := range []struct {
		value any
		want  string
	}{
		{nil, ""},
		{"", ""},
		{[]any{}, ""},
		{[]any{4096.0}, ""},
		{[]any{61440.0, 122880.0}, ""},
		{4096.0, shape},
		{"4096", shape},
		{[]any{8192.0, 4096.0}, shape},
		{[]any{4096.0, 4096.0}, shape},
		{[]any{0.0}, shape},
		{[]any{-1.0}, shape},
		{[]any{4096.5}, shape},
		{[]any{"much"}, shape},
		{[]any{nil}, shape},
		{map[string]any{"a": 1.0}, shape},
		{[]any{5000.0}, fmt.Sprintf(sizes, 5000, 1024)},
		{[]any{4096.0, 31744.0}, fmt.Sprintf(sizes, 31744, 1024)},
		{[]any{131072.0}, fmt.Sprintf(sizes, 131072, 1024)},
	} {
		err := l.Check(testJob(set(tt.value, ladderKey)))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%v: %v", tt.value, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%v: %v, want %s", tt.value, err, tt.want)
		}
	}
}
