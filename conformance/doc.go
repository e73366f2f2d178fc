// Package conformance holds a worker to Prefect's worker protocol, item by item,
// from outside: it starts the worker as a program, with a real Prefect server
// behind a recording relay, and a fake of AWS's services. It does not know which
// worker it has before it, faber's or Prefect's own: `make conformance` runs it
// on the one, `make compare` on the other.
//
// A test is named by the number of its item. Its verdict goes into a table, with
// what was seen on the wire. Where faber has decided to behave otherwise, the test
// holds each worker to its own behaviour and the table says "differs"; the reasons
// are in docs/compatibility.md.
package conformance
