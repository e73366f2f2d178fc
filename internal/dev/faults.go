package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"faber/internal/front"
	"faber/internal/front/awsfront"
	"faber/internal/front/prefectfront"
)

// Faults is a file of faults for the stack's fronts; docs/faults.md describes it.
type Faults struct {
	// Seed is what rules with a probability draw from; nil is a random one.
	Seed *uint64
	// MissingFor is how long a new task is unknown to ECS.
	MissingFor time.Duration
	// Quotas hold callers to AWS's published quotas, with these in their place;
	// nil holds nobody.
	Quotas *awsfront.Quotas
	// AWS and Prefect are the rules of the two fronts.
	AWS     []front.Fault
	Prefect []front.Fault
}

// faultsForm is the file as it is written. The rules stay raw at first, so that
// an error can say which one it is about.
type faultsForm struct {
	Seed       *uint64          `json:"seed"`
	MissingFor front.Duration   `json:"missing_for"`
	Quotas     *awsfront.Quotas `json:"quotas"`
	AWS        json.RawMessage  `json:"aws"`
	Prefect    json.RawMessage  `json:"prefect"`
}

// ReadFaults reads a file of faults. One that is wrong in anything is refused as
// a whole: a rehearsal of something else than was meant proves nothing.
func ReadFaults(file string) (*Faults, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, &Problem{Message: "the file of faults cannot be read", Hint: "give --faults the name of a file as docs/faults.md describes it", Err: err}
	}
	faults, err := parseFaults(data)
	if err != nil {
		return nil, &Problem{
			Message: file + " holds no faults that could be injected", Err: err,
			Hint: "mend the file and run the command again; nothing was begun. docs/faults.md has an example of each fault",
		}
	}
	return faults, nil
}

func parseFaults(data []byte) (*Faults, error) {
	var form faultsForm
	if err := front.Strict(data, &form); err != nil {
		return nil, err
	}
	if form.MissingFor < 0 || form.MissingFor == front.Forever {
		return nil, errors.New("missing_for: it is a time that ends")
	}
	f := &Faults{Seed: form.Seed, MissingFor: time.Duration(form.MissingFor), Quotas: form.Quotas}
	if form.Quotas != nil {
		if err := form.Quotas.Check(); err != nil {
			return nil, fmt.Errorf("quotas: %w", err)
		}
	}
	var err error
	if f.AWS, err = parseRules("aws", form.AWS, nil); err != nil {
		return nil, err
	}
	f.Prefect, err = parseRules("prefect", form.Prefect, prefectfront.CheckFault)
	return f, err
}

// parseRules reads the rules of one front; own is what it demands beyond their
// form, or nil.
func parseRules(name string, data json.RawMessage, own func(front.Fault) error) ([]front.Fault, error) {
	if len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	if data[0] != '[' {
		return nil, fmt.Errorf("%s: it is a list of faults", name)
	}
	rules, err := front.ParseFaults(data)
	if err == nil {
		err = front.NewFaults().Check(rules...)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, rule := range rules {
		if own == nil {
			break
		}
		if err := own(rule); err != nil {
			return nil, fmt.Errorf("%s: fault %d: %w", name, i+1, err)
		}
	}
	return rules, nil
}
