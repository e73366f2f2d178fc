// Package terraform holds the Terraform module, so that the binary brings the
// very files that users of the module alone read. It has no other code.
package terraform

import "embed"

// Module is the whole module: the root, its submodules and the examples.
//
//go:embed *.tf *.json README.md modules/*/*.tf modules/*/README.md examples/*/*.tf examples/*/README.md examples/github-actions/workflows/*.yml pipeline/*.sh pipeline/*.jq
var Module embed.FS
