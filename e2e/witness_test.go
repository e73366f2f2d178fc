//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// alive reports whether a process runs; one that only waits to be reaped is over.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	rest := string(stat[bytes.LastIndexByte(stat, ')')+1:])
	return !strings.HasPrefix(strings.TrimSpace(rest), "Z")
}

// commandLines reads the command line of every process of this machine.
func commandLines() map[int]string {
	lines := map[int]string{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return lines
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if data, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil {
			lines[pid] = string(bytes.ReplaceAll(data, []byte{0}, []byte(" ")))
		}
	}
	return lines
}

func processesNaming(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	for pid, line := range commandLines() {
		if strings.Contains(line, text) && alive(pid) {
			found = append(found, fmt.Sprintf("%d %s", pid, line))
		}
	}
	return found
}

// lineWatch looks at all command lines, over and over, for the canary.
type lineWatch struct {
	mu    sync.Mutex
	looks int
	found map[string]bool
}

// watchCommandLines begins at once and ends with the test.
func watchCommandLines(t *testing.T) *lineWatch {
	t.Helper()
	w := &lineWatch{found: map[string]bool{}}
	if runtime.GOOS != "linux" {
		t.Log("command lines can be watched on Linux only")
		return w
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				w.look()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return w
}

func (w *lineWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	for _, line := range commandLines() {
		if strings.Contains(line, canary) {
			w.found[line] = true
		}
	}
}

// testCanary looks for the API key wherever it must not be.
func (s *stack) testCanary(t *testing.T, watch *lineWatch) {
	// First that it was used at all: else nothing below would prove anything.
	value, err := s.secrets().ListSecrets(t.Context(), &secretsmanager.ListSecretsInput{})
	if err != nil || len(value.SecretList) != 1 {
		t.Fatalf("ListSecrets: %v, %d secrets", err, len(value.SecretList))
	}
	secret, err := s.secrets().GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: value.SecretList[0].ARN})
	if err != nil || !strings.Contains(aws.ToString(secret.SecretString), canary) {
		t.Fatalf("the secret does not hold the canary: %v", err)
	}
	watch.mu.Lock()
	for line := range watch.found {
		t.Errorf("the key stood in a command line: %s", strings.ReplaceAll(line, canary, "<canary>"))
	}
	t.Logf("looked at all command lines %d times", watch.looks)
	watch.mu.Unlock()

	out, _, _ := s.try(t, "dev", "terraform", "--", "plan", "-out", "canary.tfplan", "-input=false", "-no-color")
	show, _, _ := s.try(t, "dev", "terraform", "--", "show", "-json", "canary.tfplan")
	pull, _, _ := s.try(t, "dev", "terraform", "--", "state", "pull")
	for what, text := range map[string]string{
		"output of plan": out, "plan as JSON": show, "state": pull,
		"requests to ECS": s.ecsRequests(t), "CloudWatch Logs": s.allLogs(t), "Prefect's logs": s.allRunLogs(t),
	} {
		if text == "" {
			t.Errorf("%s: nothing was read", what)
		}
		if strings.Contains(text, canary) {
			t.Errorf("the key stands in: %s", what)
		}
	}
	s.checkFiles(t)
}

// checkFiles looks into every file of the stack: terraform's state and plans,
// logs, what was recorded. The two files that hold the key are only its user's.
func (s *stack) checkFiles(t *testing.T) {
	t.Helper()
	read := 0
	err := filepath.WalkDir(filepath.Join(s.dir, stackName), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // files of running programs come and go
		}
		if entry.IsDir() {
			if entry.Name() == "storage" || entry.Name() == "providers" {
				return fs.SkipDir // images and programs, not of this run
			}
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		read++
		if !bytes.Contains(data, []byte(canary)) {
			return nil
		}
		base := filepath.Base(name)
		info, err := entry.Info()
		if (base == "credentials.json" || base == "fronts.json") && err == nil && info.Mode().Perm() == 0o600 {
			return nil
		}
		t.Errorf("the key stands in the file %s", name)
		return nil
	})
	if err != nil || read == 0 {
		t.Errorf("read %d files: %v", read, err)
	}
}

// ecsRequests is what RunTask and RegisterTaskDefinition were given, as the
// emulator keeps it.
func (s *stack) ecsRequests(t *testing.T) string {
	t.Helper()
	var all []any
	for _, status := range []ecstypes.DesiredStatus{ecstypes.DesiredStatusRunning, ecstypes.DesiredStatusStopped} {
		list, err := s.ecs().ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String(s.state.Cluster), DesiredStatus: status})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.TaskArns) == 0 {
			continue
		}
		tasks, err := s.ecs().DescribeTasks(t.Context(), &ecs.DescribeTasksInput{
			Cluster: aws.String(s.state.Cluster), Tasks: list.TaskArns, Include: []ecstypes.TaskField{ecstypes.TaskFieldTags},
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tasks.Tasks)
	}
	definitions, err := s.ecs().ListTaskDefinitions(t.Context(), &ecs.ListTaskDefinitionsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, arn := range definitions.TaskDefinitionArns {
		one, err := s.ecs().DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String(arn)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one.TaskDefinition)
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), "PREFECT__FLOW_RUN_ID") {
		t.Error("no flow run's request was read")
	}
	return string(data)
}

func (s *stack) allLogs(t *testing.T) string {
	t.Helper()
	groups, err := s.logs().DescribeLogGroups(t.Context(), &cloudwatchlogs.DescribeLogGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, g := range groups.LogGroups {
		all.WriteString(s.cloudWatch(t, aws.ToString(g.LogGroupName)))
	}
	return all.String()
}

func (s *stack) allRunLogs(t *testing.T) string {
	t.Helper()
	var lines []struct{ Message string }
	s.api(t, "POST", "/logs/filter", map[string]any{"limit": 200}, &lines)
	var all strings.Builder
	for _, l := range lines {
		all.WriteString(l.Message + "\n")
	}
	return all.String()
}

// leftovers lists what the emulator still holds of the deployment: what carries
// its tag, by the two APIs that know tags, and secrets, queues and log groups by
// name.
func (s *stack) leftovers(t *testing.T) []string {
	t.Helper()
	name := "faber-" + stackName
	left := s.tagged(t, name)
	tags, err := s.ec2().DescribeTags(t.Context(), &ec2.DescribeTagsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags.Tags {
		if strings.HasPrefix(aws.ToString(tag.Value), name) {
			left = append(left, aws.ToString(tag.ResourceId))
		}
	}
	secrets, err := s.secrets().ListSecrets(t.Context(), &secretsmanager.ListSecretsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets.SecretList {
		left = append(left, aws.ToString(secret.Name))
	}
	queues, err := s.sqs().ListQueues(t.Context(), &sqs.ListQueuesInput{QueueNamePrefix: aws.String(name)})
	if err != nil {
		t.Fatal(err)
	}
	left = append(left, queues.QueueUrls...)
	groups, err := s.logs().DescribeLogGroups(t.Context(), &cloudwatchlogs.DescribeLogGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups.LogGroups {
		if strings.Contains(aws.ToString(g.LogGroupName), name) {
			left = append(left, aws.ToString(g.LogGroupName))
		}
	}
	return append(left, s.clustersLeft(t, name)...)
}

// tagged asks the Resource Groups Tagging API, which looks across services.
func (s *stack) tagged(t *testing.T, name string) []string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.awsURL(), strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "ResourceGroupsTaggingAPI_20170126.GetResources")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+account+"/20260101/"+region+"/tagging/aws4_request, SignedHeaders=host, Signature=0")
	res, err := direct.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct {
		List []struct {
			ARN  string `json:"ResourceARN"`
			Tags []struct{ Key, Value string }
		} `json:"ResourceTagMappingList"`
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GetResources: %s, %v", res.Status, err)
	}
	var found []string
	for _, r := range out.List {
		for _, tag := range r.Tags {
			if strings.HasPrefix(tag.Value, name) {
				found = append(found, r.ARN)
			}
		}
	}
	return found
}

// clustersLeft lists clusters that are more than a record: ECS keeps deleted
// ones as INACTIVE.
func (s *stack) clustersLeft(t *testing.T, name string) []string {
	t.Helper()
	list, err := s.ecs().ListClusters(t.Context(), &ecs.ListClustersInput{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.ClusterArns) == 0 {
		return nil
	}
	out, err := s.ecs().DescribeClusters(t.Context(), &ecs.DescribeClustersInput{Clusters: list.ClusterArns})
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, c := range out.Clusters {
		if strings.HasPrefix(aws.ToString(c.ClusterName), name) && aws.ToString(c.Status) != "INACTIVE" {
			left = append(left, aws.ToString(c.ClusterArn))
		}
	}
	return left
}
