package awsfront

import (
	"encoding/json"
	"strconv"
	"time"
)

// pipelineTimes turns the times in GetPipeline's metadata into the seconds that
// the protocol wants: moto sends ISO texts, and the SDK then refuses the answer.
func (f *Front) pipelineTimes(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		meta, _ := v["metadata"].(map[string]any)
		for _, name := range []string{"created", "updated"} {
			if t, err := time.Parse(time.RFC3339, str(meta[name])); err == nil {
				meta[name] = json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
			}
		}
	}), nil
}
