// Package load puts the worker under load: worker and ECS launcher in this
// process, a Prefect API and an AWS on the loopback, and a small engine in the
// place of the containers. What is claimed is asked of the two servers' records,
// on their clocks, never of the worker.
//
// The tests carry the build tag load; `make load` runs them. They take minutes,
// and print their figures.
//
// `make soak` runs the longest one alone: the binary in a process of its own, and
// 10,000 short runs. docs/soak.svg is the picture that it drew last.
package load
