// Package e2e proves the whole system end to end: the built binary, the local
// stack with its containers, the Terraform module and the worker in them. What
// it claims it asks of the Prefect server and of the emulator, never of faber.
//
// The tests carry the build tag e2e; `make e2e` runs them.
package e2e
