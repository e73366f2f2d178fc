package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"faber/internal/infra"
	"faber/internal/prefect"
)

// workPool gives the pool the template that the stack tells.
func (a *apply) workPool(ctx context.Context, outputs infra.Outputs) error {
	name, template := outputs.String("work_pool_name"), json.RawMessage(outputs.String("base_job_template"))
	pool, err := a.client.ReadWorkPool(ctx, name)
	switch {
	case errors.Is(err, prefect.ErrNotFound):
		if !a.agreedTo("Create the work pool " + name + " (type ecs) with the stack's template?") {
			return a.poolLeft(name)
		}
		if _, err = a.client.CreateWorkPool(ctx, name, "ecs", template); err != nil {
			return poolError(name, "create", err)
		}
		fmt.Fprintf(a.std.Out, "work pool %s: created (type ecs), with the stack's template\n", name)
		return nil
	case err != nil:
		return poolError(name, "read", err)
	case pool.Type != "ecs":
		return &UserError{
			Message: fmt.Sprintf("work pool %s is of type %s, and this stack serves pools of type ecs", name, pool.Type),
			Hint:    "give the stack another work_pool_name, or delete that pool; everything else is applied",
		}
	}
	different := differences(template, pool.BaseJobTemplate)
	if len(different) == 0 {
		fmt.Fprintf(a.std.Out, "work pool %s: has the stack's template\n", name)
		return nil
	}
	if pool.IsSetUp() && !a.yes && !confirm(a.std, replaceQuestion(name, different)) {
		return a.poolLeft(name)
	}
	if err := a.client.SetBaseJobTemplate(ctx, name, template); err != nil {
		return poolError(name, "set the template of", err)
	}
	fmt.Fprintf(a.std.Out, "work pool %s: got the stack's template\n", name)
	return nil
}

// agreedTo asks what was not part of an earlier yes.
func (a *apply) agreedTo(question string) bool { return a.agreed || confirm(a.std, question) }

func (a *apply) poolLeft(name string) error {
	a.left = true
	fmt.Fprintf(a.std.Err, "declined: work pool %s is as it was; its flow runs find this stack only by the template in the output base_job_template\n", name)
	return nil
}

func poolError(name, verb string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &UserError{
		Message: fmt.Sprintf("%s work pool %s: %s", verb, name, err),
		Hint:    "AWS is as the plan says; 'faber apply' tries the rest again. To do it by hand: terraform output -raw base_job_template > t.json; prefect work-pool update --base-job-template t.json " + name,
		Err:     err,
	}
}

// shownDifferences is how many places are named where two templates differ.
const shownDifferences = 12

func replaceQuestion(name string, different []string) string {
	shown := different[:min(len(different), shownDifferences)]
	text := fmt.Sprintf("Work pool %s has another template than the stack's. They differ in:\n  %s", name, strings.Join(shown, "\n  "))
	if more := len(different) - len(shown); more > 0 {
		text += fmt.Sprintf("\n  and %d places more", more)
	}
	return text + "\nReplace the pool's template?"
}

// differences are the places where two JSON documents differ, by path, sorted.
func differences(a, b json.RawMessage) []string {
	var left, right any
	if json.Unmarshal(a, &left) != nil || json.Unmarshal(b, &right) != nil {
		return []string{"everything"}
	}
	var found []string
	differ(left, right, "", &found)
	slices.Sort(found)
	return found
}

func differ(a, b any, path string, found *[]string) {
	left, isObject := a.(map[string]any)
	right, isToo := b.(map[string]any)
	if !isObject || !isToo {
		if !reflect.DeepEqual(a, b) {
			*found = append(*found, strings.TrimPrefix(path, "."))
		}
		return
	}
	for name := range left {
		differ(left[name], right[name], path+"."+name, found)
	}
	for name := range right {
		if _, known := left[name]; !known {
			differ(nil, right[name], path+"."+name, found)
		}
	}
}
