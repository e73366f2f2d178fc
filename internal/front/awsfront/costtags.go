package awsfront

import (
	"slices"
	"sync"
	"time"
)

// costTags are the tags by which costs are split, which no emulator has. Here
// every tag can be activated at once; AWS knows a new one after up to 24 hours
// only, and refuses linked accounts altogether.
type costTags struct {
	mu   sync.Mutex
	tags map[string]costTag // by account and key
}

type costTag struct {
	TagKey, Type, Status, LastUpdatedDate string
}

func newCostTags() *costTags { return &costTags{tags: map[string]costTag{}} }

func (f *Front) updateCostTags(x *exchange) (*answer, error) {
	var in struct {
		CostAllocationTagsStatus []struct{ TagKey, Status string }
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	// "The list of CostAllocationTagStatus that are used … Minimum 1, maximum 20."
	if n := len(in.CostAllocationTagsStatus); n < 1 || n > 20 {
		return nil, &refusal{code: "ValidationException", message: "CostAllocationTagsStatus has between 1 and 20 items"}
	}
	f.costTags.mu.Lock()
	defer f.costTags.mu.Unlock()
	for _, t := range in.CostAllocationTagsStatus {
		f.costTags.tags[f.account(x.scope)+" "+t.TagKey] = costTag{t.TagKey, "UserDefined", t.Status, time.Now().UTC().Format("2006-01-02T15:04:05Z")}
	}
	return answerJSON(map[string]any{"Errors": []any{}})
}

func (f *Front) listCostTags(x *exchange) (*answer, error) {
	var in struct {
		Status, Type string
		TagKeys      []string
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	f.costTags.mu.Lock()
	defer f.costTags.mu.Unlock()
	list := []costTag{}
	for _, key := range sortedKeys(f.costTags.tags) {
		t := f.costTags.tags[key]
		if key != f.account(x.scope)+" "+t.TagKey || in.Status != "" && in.Status != t.Status ||
			in.Type != "" && in.Type != t.Type || len(in.TagKeys) > 0 && !slices.Contains(in.TagKeys, t.TagKey) {
			continue
		}
		list = append(list, t)
	}
	return answerJSON(map[string]any{"CostAllocationTags": list})
}
