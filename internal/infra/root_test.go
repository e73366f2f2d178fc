package infra

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// roots are root modules of every kind.
func roots() map[string]Root {
	plain := Root{
		Name: "faber", Region: "eu-west-1", WorkPool: "fargate", Image: "registry/faber:1.0.0", Auth: AuthKey,
		NATMode: "single", Architecture: "X86_64", DesiredCount: 1, FlowRunImage: "prefecthq/prefect:3-latest",
	}
	cloud, own, open, odd := plain, plain, plain, plain
	cloud.AlarmEmails = []string{"ops@example.com", "data@example.com"}
	cloud.CloudAPIURL, cloud.StateBucket = "https://cloud.example.com/api", "acme-state"
	own.APIURL, own.Auth, own.VPCID, own.SubnetIDs = "https://prefect.example.com/api", AuthAuthString, "vpc-0123456789abcdef0", []string{"subnet-0123456789abcdef0"}
	open.APIURL, open.Auth, open.FlowRunImage = "http://prefect.internal:4200/api", AuthNone, ""
	odd.WorkPool = `a "quoted" ${name} %{if} \ pool`
	return map[string]Root{"plain": plain, "cloud": cloud, "own server and network": own, "open server": open, "odd name": odd}
}

func writeRoot(t *testing.T, r Root) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, file := range r.Files() {
		if err := os.WriteFile(filepath.Join(dir, file.Name), []byte(file.Text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRootIsFormatted holds that terraform fmt has nothing to change.
func TestRootIsFormatted(t *testing.T) {
	terraform, err := Find(t.Context(), FindOptions{Environ: os.Environ()})
	if err != nil {
		t.Skipf("SKIP terraform fmt: %v", err)
	}
	for name, r := range roots() {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), terraform.Path, "fmt", "-check", "-diff", writeRoot(t, r)).CombinedOutput()
			if err != nil {
				t.Errorf("terraform fmt: %v\n%s", err, out)
			}
		})
	}
}

func TestRootQuotesWhatItIsTold(t *testing.T) {
	values := roots()["odd name"].values()
	if want := `work_pool_name   = "a \"quoted\" $${name} %%{if} \\ pool"`; !strings.Contains(values, want) {
		t.Errorf("terraform.tfvars does not hold %s:\n%s", want, values)
	}
}

func TestSetSecretReady(t *testing.T) {
	for name, c := range map[string]struct {
		before, after string
		found         bool
	}{
		"false":            {"a = 1\nsecret_value_ready = false # really\n", "a = 1\nsecret_value_ready = true # really\n", true},
		"true already":     {"secret_value_ready=true\n", "secret_value_ready=true\n", true},
		"not there":        {"a = 1\n", "a = 1\n", false},
		"only in a remark": {"# secret_value_ready = false\n", "# secret_value_ready = false\n", false},
		"another name":     {"my_secret_value_ready = false\n", "my_secret_value_ready = false\n", false},
		"an expression":    {"secret_value_ready = falsey\n", "secret_value_ready = falsey\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "terraform.tfvars")
			if err := os.WriteFile(file, []byte(c.before), 0o640); err != nil {
				t.Fatal(err)
			}
			found, err := SetSecretReady(dir, true)
			if err != nil || found != c.found {
				t.Errorf("found %t, %v", found, err)
			}
			after, err := os.ReadFile(file)
			if err != nil || string(after) != c.after {
				t.Errorf("the file holds %q, %v; want %q", after, err, c.after)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("the file's mode is not as it was: %v, %v", info, err)
			}
		})
	}
	if found, err := SetSecretReady(t.TempDir(), true); found || err != nil {
		t.Errorf("without a file: %t, %v", found, err)
	}
}
