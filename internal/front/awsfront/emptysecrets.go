package awsfront

import (
	"encoding/json"
	"sync"
)

// emptySecrets are the secrets that were created without a value, by ARN. AWS makes
// a first version of a secret, with the stage AWSCURRENT, only when CreateSecret
// brings a value (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html);
// ministack always makes one, so that an empty secret looks like one with a value.
type emptySecrets struct {
	mu   sync.Mutex
	arns map[string]bool
}

func newEmptySecrets() *emptySecrets { return &emptySecrets{arns: map[string]bool{}} }

func (e *emptySecrets) set(arn string, empty bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if empty {
		e.arns[arn] = true
		return
	}
	delete(e.arns, arn)
}

func (e *emptySecrets) has(arn string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.arns[arn]
}

// changeSecret remembers whether a secret has a value after CreateSecret,
// UpdateSecret or PutSecretValue. One that is created anew has what it is given.
func (f *Front) changeSecret(created bool) patch {
	return func(x *exchange) (*answer, error) {
		var in struct {
			SecretString *string
			SecretBinary json.RawMessage
		}
		if err := x.decode(&in); err != nil {
			return nil, err
		}
		a, err := x.forward()
		if err != nil {
			return nil, err
		}
		given := in.SecretString != nil || in.SecretBinary != nil
		return a.edit(func(v map[string]any) {
			switch {
			case given:
				f.emptySecrets.set(str(v["ARN"]), false)
			case created:
				f.emptySecrets.set(str(v["ARN"]), true)
				delete(v, "VersionId")
			}
		}), nil
	}
}

// describeSecret shows an empty secret without versions.
func (f *Front) describeSecret(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	return a.edit(func(v map[string]any) {
		if f.emptySecrets.has(str(v["ARN"])) {
			delete(v, "VersionIdsToStages")
		}
	}), nil
}
