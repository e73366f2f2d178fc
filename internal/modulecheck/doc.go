// Package modulecheck holds the Terraform module to what is said of it: the tables
// in its READMEs, the monthly prices, the list of what the example makes, the
// scanner's findings, and the defects of other modules that it must not have.
// It has tests alone. `make docs` runs them with -update, which rewrites what they
// would otherwise complain about.
package modulecheck
