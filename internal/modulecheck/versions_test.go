package modulecheck

import (
	"path/filepath"
	"testing"
)

// The versions that each part of the module and each example ask for.
//
// Terraform 1.11 is the first with write-only arguments. Version 5.88 of the provider
// is the first with one for the secret's value, secret_string_wo
// (github.com/hashicorp/terraform-provider-aws/pull/41371); nothing else that the
// module uses is newer. What was run is 5.100.0 on Terraform 1.11.4. Version 6 was
// not: its upgrade guide takes away nothing that the module uses.
const (
	terraformVersions = `">= 1.11"`
	awsVersions       = `">= 5.88, < 7.0"`
	// awsVersionRun is what the local stack applies the module with.
	awsVersionRun = `"= 5.100.0"`
)

// TestVersions holds all of them to the same: a part that asks for less promises
// what the whole cannot keep.
func TestVersions(t *testing.T) {
	check := func(t *testing.T, dir string) {
		m := readModule(t, dir)
		blocks := m.ofType("terraform", "")
		if len(blocks) != 1 {
			t.Fatalf("%d terraform blocks, want one, in versions.tf", len(blocks))
		}
		required, ok := blocks[0].Body.Attributes["required_version"]
		if !ok || m.at(required.Expr.Range()) != terraformVersions {
			t.Errorf("required_version is not %s", terraformVersions)
		}
		for _, block := range blocks[0].Body.Blocks {
			aws, ok := block.Body.Attributes["aws"]
			if block.Type != "required_providers" || !ok {
				continue
			}
			value, diags := aws.Expr.Value(nil)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			want := awsVersions
			if filepath.Base(dir) == "local" {
				want = awsVersionRun
			}
			if got := `"` + value.GetAttr("version").AsString() + `"`; got != want || value.GetAttr("source").AsString() != "hashicorp/aws" {
				t.Errorf("the provider's versions are %s, want %s", got, want)
			}
			return
		}
		t.Error("versions.tf asks for no version of hashicorp/aws")
	}
	inEveryModule(t, check)
	for _, name := range examples(t) {
		t.Run("example "+name, func(t *testing.T) { check(t, filepath.Join(moduleDir, "examples", name)) })
	}
}
