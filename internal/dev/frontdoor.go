package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"faber/internal/front"
)

// frontDoor is the door of a front that runs.
type frontDoor struct {
	name string
	url  string
}

func (s State) frontDoors() (aws, prefect frontDoor) {
	return frontDoor{"aws", s.AWSURL()}, frontDoor{"prefect", s.CloudURL()}
}

// call makes one call at the door.
func (d frontDoor) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, d.url+"/_front/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the %s front: %w", d.name, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("ask the %s front: %w", d.name, err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("ask the %s front: %s %s: %s: %s", d.name, method, path, res.Status, strings.TrimSpace(string(data)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// injectFaults puts the file's faults in the place of all that the fronts have.
func (u *up) injectFaults(ctx context.Context, step *Step) error {
	f := u.Faults
	if f == nil {
		return nil
	}
	aws, prefect := u.state.frontDoors()
	if err := clearFaults(ctx, aws, prefect); err != nil {
		return err
	}
	for _, part := range []struct {
		door  frontDoor
		rules []front.Fault
	}{{aws, f.AWS}, {prefect, f.Prefect}} {
		if f.Seed != nil {
			if err := part.door.call(ctx, http.MethodPut, "seed", map[string]uint64{"seed": *f.Seed}, nil); err != nil {
				return err
			}
		}
		if len(part.rules) == 0 {
			continue
		}
		if err := part.door.call(ctx, http.MethodPost, "faults", part.rules, nil); err != nil {
			return err
		}
	}
	if f.MissingFor > 0 {
		if err := aws.call(ctx, http.MethodPut, "missing", map[string]string{"for": f.MissingFor.String()}, nil); err != nil {
			return err
		}
	}
	if f.Quotas != nil {
		if err := aws.call(ctx, http.MethodPost, "quotas", f.Quotas, nil); err != nil {
			return err
		}
	}
	step.Done("%d at the AWS front, %d at the Prefect front", len(f.AWS), len(f.Prefect))
	return nil
}

// clearFaults takes everything away that was put in the way of callers, and lets
// those go on that are held.
func clearFaults(ctx context.Context, aws, prefect frontDoor) error {
	for _, d := range []frontDoor{aws, prefect} {
		for _, path := range []string{"faults", "holds"} {
			if err := d.call(ctx, http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
		}
	}
	return errors.Join(
		aws.call(ctx, http.MethodDelete, "quotas", nil, nil),
		aws.call(ctx, http.MethodPut, "missing", map[string]string{"for": "0s"}, nil),
	)
}

// FrontFault is a fault of one of the stack's fronts.
type FrontFault struct {
	Front string // "aws" or "prefect"
	front.Fault
}

// ListFaults asks the fronts of a stack for their faults.
func ListFaults(ctx context.Context, l Layout) ([]FrontFault, error) {
	state, err := runningState(l)
	if err != nil {
		return nil, err
	}
	aws, prefect := state.frontDoors()
	var list []FrontFault
	for _, d := range []frontDoor{aws, prefect} {
		var out struct{ Faults []front.Fault }
		if err := d.call(ctx, http.MethodGet, "faults", nil, &out); err != nil {
			return nil, notAnswering(err)
		}
		for _, f := range out.Faults {
			list = append(list, FrontFault{d.name, f})
		}
	}
	return list, nil
}

// ClearFaults takes all faults, quotas and break-points out of a stack's fronts.
func ClearFaults(ctx context.Context, l Layout) error {
	state, err := runningState(l)
	if err != nil {
		return err
	}
	aws, prefect := state.frontDoors()
	return notAnswering(clearFaults(ctx, aws, prefect))
}

func runningState(l Layout) (State, error) {
	state, err := LoadState(l)
	if errors.Is(err, ErrNoStack) {
		return state, notUp(l)
	}
	return state, err
}

func notAnswering(err error) error {
	if err == nil {
		return nil
	}
	return &Problem{Message: "the stack's fronts do not answer", Hint: "'faber dev up' brings them back", Err: err}
}

// Rule is the fault as its author wrote it, without id and hits.
func (f FrontFault) Rule() map[string]any {
	data, err := json.Marshal(f.Fault)
	rule := map[string]any{}
	if err == nil {
		err = json.Unmarshal(data, &rule)
	}
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	delete(rule, "id")
	delete(rule, "hits")
	return rule
}
