package dev

import "faber/internal/infra"

// Problem is an error of the stack as its user should read it: what happened,
// and what to do next.
type Problem = infra.Problem
