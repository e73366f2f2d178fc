package awsfront

import "testing"

const patternEvent = `{
	"version": "0", "source": "aws.ecs", "detail-type": "ECS Task State Change", "account": "123456789012",
	"resources": ["arn:aws:ecs:us-east-1:123456789012:task/c/1", "other"],
	"detail": {
		"clusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/c", "lastStatus": "STOPPED", "version": 5, "none": null, "yes": true,
		"ip": "10.1.2.3", "empty": [],
		"containers": [{"name": "prefect", "exitCode": 1}, {"name": "sidecar"}],
		"overrides": {"cpu": "256"}
	}
}`

func TestPatternMatch(t *testing.T) {
	for pattern, want := range map[string]bool{
		`{"source":["aws.ecs"]}`:           true,
		`{"source":["aws.ec2","aws.ecs"]}`: true,
		`{"source":["aws.ec2"]}`:           false,
		`{"source":["aws.ecs"],"detail-type":["ECS Task State Change"],"detail":{"clusterArn":["arn:aws:ecs:us-east-1:123456789012:cluster/c"]}}`: true,
		`{"source":["aws.ecs"],"detail":{"clusterArn":["arn:aws:ecs:us-east-1:123456789012:cluster/d"]}}`:                                         false,
		`{"detail":{"lastStatus":["RUNNING","STOPPED"],"version":[5]}}`:                                                                           true,
		`{"detail":{"version":[5.0]}}`:             true,
		`{"detail":{"version":["5"]}}`:             false,
		`{"detail":{"none":[null]}}`:               true,
		`{"detail":{"absent":[null]}}`:             false,
		`{"detail":{"yes":[true]}}`:                true,
		`{"detail":{"yes":[false]}}`:               false,
		`{"resources":["other"]}`:                  true,
		`{"resources":[{"prefix":"arn:aws:ecs"}]}`: true,
		`{"resources":[{"suffix":"/c/2"}]}`:        false,

		`{"detail":{"clusterArn":[{"prefix":"arn:aws:ecs:"}]}}`:                             true,
		`{"detail":{"clusterArn":[{"prefix":"arn:aws:eks:"}]}}`:                             false,
		`{"detail":{"clusterArn":[{"prefix":{"equals-ignore-case":"ARN:AWS"}}]}}`:           true,
		`{"detail":{"clusterArn":[{"suffix":"/c"}]}}`:                                       true,
		`{"detail":{"clusterArn":[{"wildcard":"arn:*:cluster/*"}]}}`:                        true,
		`{"detail":{"clusterArn":[{"wildcard":"*cluster"}]}}`:                               false,
		`{"detail":{"lastStatus":[{"equals-ignore-case":"stopped"}]}}`:                      true,
		`{"detail":{"lastStatus":[{"anything-but":"RUNNING"}]}}`:                            true,
		`{"detail":{"lastStatus":[{"anything-but":["RUNNING","STOPPED"]}]}}`:                false,
		`{"detail":{"lastStatus":[{"anything-but":{"prefix":"STOP"}}]}}`:                    false,
		`{"detail":{"lastStatus":[{"anything-but":{"prefix":["RUN","PEND"]}}]}}`:            true,
		`{"detail":{"absent":[{"anything-but":"x"}]}}`:                                      false,
		`{"detail":{"version":[{"anything-but":5}]}}`:                                       false,
		`{"detail":{"lastStatus":[{"exists":true}]}}`:                                       true,
		`{"detail":{"lastStatus":[{"exists":false}]}}`:                                      false,
		`{"detail":{"absent":[{"exists":false}]}}`:                                          true,
		`{"detail":{"absent":{"deeper":[{"exists":false}]}}}`:                               true,
		`{"detail":{"absent":{"deeper":["x"]}}}`:                                            false,
		`{"detail":{"empty":[{"exists":false}]}}`:                                           true,
		`{"detail":{"overrides":[{"exists":true}]}}`:                                        false,
		`{"detail":{"version":[{"numeric":[">",4,"<=",5]}]}}`:                               true,
		`{"detail":{"version":[{"numeric":["<",5]}]}}`:                                      false,
		`{"detail":{"version":[{"numeric":["=",5]}]}}`:                                      true,
		`{"detail":{"lastStatus":[{"numeric":[">",0]}]}}`:                                   false,
		`{"detail":{"ip":[{"cidr":"10.0.0.0/8"}]}}`:                                         true,
		`{"detail":{"ip":[{"cidr":"192.168.0.0/16"}]}}`:                                     false,
		`{"detail":{"containers":{"exitCode":[{"numeric":[">",0]}]}}}`:                      true,
		`{"detail":{"containers":{"name":["sidecar"],"exitCode":[1]}}}`:                     false,
		`{"detail":{"overrides":{"cpu":["256"]}}}`:                                          true,
		`{"$or":[{"source":["x"]},{"detail":{"version":[5]}}]}`:                             true,
		`{"$or":[{"source":["x"]},{"source":["y"]}]}`:                                       false,
		`{"source":["aws.ecs"],"detail":{"$or":[{"version":[1]},{"lastStatus":["STOP"]}]}}`: false,
	} {
		p, err := ParsePattern([]byte(pattern))
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		if got := p.Match([]byte(patternEvent)); got != want {
			t.Errorf("%s: %v, want %v", pattern, got, want)
		}
	}
}

func TestPatternRefused(t *testing.T) {
	for _, pattern := range []string{
		``, `[]`, `{}`, `{"source":"aws.ecs"}`, `{"source":[]}`, `{"source":[["a"]]}`, `{"source":[{"regex":"a"}]}`,
		`{"source":[{"prefix":1}]}`, `{"source":[{"prefix":"a","suffix":"b"}]}`, `{"source":[{"exists":"yes"}]}`,
		`{"source":[{"numeric":["~",1]}]}`, `{"source":[{"numeric":[">"]}]}`, `{"source":[{"cidr":"x"}]}`,
		`{"$or":[{"source":["x"]}]}`, `{"$or":["x","y"]}`, `{"source":[{"anything-but":{"regex":"a"}}]}`,
	} {
		if _, err := ParsePattern([]byte(pattern)); err == nil {
			t.Errorf("%s is taken", pattern)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add(`{"source":["aws.ecs",{"anything-but":{"suffix":["x"]}}]}`, patternEvent)
	f.Add(`{"a":[{"wildcard":"*\\**"}]}`, `{"a":["x*y"]}`)
	f.Fuzz(func(t *testing.T, pattern, event string) {
		p, err := ParsePattern([]byte(pattern))
		if err != nil {
			return
		}
		once := p.Match([]byte(event))
		if again := p.Match([]byte(event)); again != once {
			t.Error("does not agree with itself")
		}
	})
}
