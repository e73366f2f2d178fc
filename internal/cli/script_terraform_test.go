package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fakeTerraform plays terraform in scripts. Its state is what it was last applied
// with: the text of the folder's .tf and .tfvars files. A plan holds what would be
// state then, and what was state when it was made: another one makes it stale. What
// the stack's outputs are, stands in $FAKE_OUTPUTS, a file; each call is written to
// $FAKE_CALLS. $FAKE_FAIL is a command that fails, $FAKE_WARN a warning of each plan.
func fakeTerraform() {
	args := os.Args[1:]
	record(args)
	command := args[0]
	if command == os.Getenv("FAKE_FAIL") {
		fmt.Println(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Subnet has no route","detail":"Give it one.","address":"module.faber.aws_subnet.a","range":{"filename":"main.tf","start":{"line":7}}}}`)
		os.Exit(1)
	}
	switch command {
	case "version":
		fmt.Println(`{"terraform_version":"1.11.4"}`)
	case "init":
	case "plan":
		os.Exit(fakePlan(args))
	case "apply":
		os.Exit(fakeApply(args[len(args)-1]))
	case "show":
		fakeShow(args)
	case "output":
		fmt.Println(fakeOutputs())
	case "console":
		fmt.Printf("%q\n", os.Getenv("FAKE_CONSOLE"))
	default:
		fmt.Fprintln(os.Stderr, "the fake has no", command)
		os.Exit(97)
	}
}

func record(args []string) {
	var words []string
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-out=") && !strings.HasPrefix(arg, "-plugin-dir=") {
			words = append(words, filepath.Base(arg))
		}
	}
	if file, err := os.OpenFile(os.Getenv("FAKE_CALLS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		fmt.Fprintln(file, strings.Join(words, " "), "TF_VAR_x="+os.Getenv("TF_VAR_x"))
		file.Close()
	}
}

type fakeState struct{ Base, Next string }

func configuration() string {
	var text strings.Builder
	for _, pattern := range []string{"*.tf", "*.tfvars"} {
		names, _ := filepath.Glob(pattern)
		slices.Sort(names)
		for _, name := range names {
			data, _ := os.ReadFile(name)
			text.Write(data)
		}
	}
	return text.String()
}

func readState() string {
	data, _ := os.ReadFile("terraform.tfstate")
	return string(data)
}

func fakePlan(args []string) int {
	plan := fakeState{Base: readState(), Next: configuration()}
	action, add, change, remove := "create", 2, 0, 0
	switch {
	case slices.Contains(args, "-destroy"):
		plan.Next, action, add, remove = "", "delete", 0, 2
	case plan.Base != "":
		action, add, change = "update", 0, 2
	}
	for _, arg := range args {
		if file, ok := strings.CutPrefix(arg, "-out="); ok {
			data, _ := json.Marshal(plan)
			if os.WriteFile(file, data, 0o600) != nil {
				return 97
			}
		}
	}
	if warning := os.Getenv("FAKE_WARN"); warning != "" {
		fmt.Printf(`{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"Check block assertion failed","detail":%q}}`+"\n", warning)
	}
	if plan.Next == plan.Base {
		fmt.Println(`{"type":"change_summary","changes":{"add":0,"change":0,"remove":0}}`)
		return 0
	}
	for _, address := range []string{"module.faber.aws_ecs_service.this", "module.faber.aws_vpc.this"} {
		fmt.Printf(`{"type":"planned_change","change":{"resource":{"addr":%q},"action":%q}}`+"\n", address, action)
	}
	fmt.Printf(`{"type":"change_summary","changes":{"add":%d,"change":%d,"remove":%d}}`+"\n", add, change, remove)
	return 2
}

func readPlan(file string) (plan fakeState) {
	data, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(data, &plan) != nil {
		fmt.Fprintln(os.Stderr, "Error: Failed to read the given file as a state or plan file")
		os.Exit(1)
	}
	return plan
}

func fakeApply(file string) int {
	plan := readPlan(file)
	if plan.Base != readState() {
		fmt.Println(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Saved plan is stale"}}`)
		return 1
	}
	fmt.Println(`{"type":"apply_start","hook":{"resource":{"addr":"module.faber.aws_vpc.this"},"action":"create"}}`)
	fmt.Println(`{"type":"apply_complete","hook":{"resource":{"addr":"module.faber.aws_vpc.this"},"action":"create","elapsed_seconds":3}}`)
	if os.WriteFile("terraform.tfstate", []byte(plan.Next), 0o600) != nil {
		return 97
	}
	fmt.Println(`{"type":"change_summary","changes":{"add":2,"change":0,"remove":0}}`)
	return 0
}

func fakeShow(args []string) {
	switch {
	case args[len(args)-1] == "-json": // the state
		resources := ""
		if readState() != "" {
			resources = `{"address":"module.faber.aws_vpc.this","mode":"managed","type":"aws_vpc","name":"this"}`
		}
		fmt.Printf(`{"format_version":"1.0","values":{"root_module":{"resources":[%s]}}}`+"\n", resources)
	case args[1] == "-json":
		plan, change := readPlan(args[2]), ""
		if plan.Base != plan.Next {
			change = `{"address":"module.faber.aws_vpc.this","mode":"managed","change":{"actions":["create"]}}`
		}
		fmt.Printf(`{"format_version":"1.2","resource_changes":[%s]}`+"\n", change)
	default:
		readPlan(args[len(args)-1])
		fmt.Println("# module.faber.aws_vpc.this will be shown here")
	}
}

// fakeOutputs are the outputs in the file, with secret_value_ready as applied.
func fakeOutputs() string {
	if readState() == "" {
		return "{}"
	}
	values := map[string]any{}
	data, _ := os.ReadFile(os.Getenv("FAKE_OUTPUTS"))
	if err := json.Unmarshal(data, &values); err != nil {
		fmt.Fprintln(os.Stderr, "FAKE_OUTPUTS:", err)
		os.Exit(97)
	}
	if _, told := values["secret_arn"]; told {
		values["secret_value_ready"] = strings.Contains(readState(), "secret_value_ready = true")
	}
	outputs := map[string]any{}
	for name, value := range values {
		outputs[name] = map[string]any{"value": value}
	}
	text, _ := json.Marshal(outputs)
	return string(text)
}
