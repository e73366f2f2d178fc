// Package differential has Prefect's own ECS worker (prefect 3.8.8, prefect-aws
// 0.7.12) and faber prepare the same flow run, each before a recording fake of
// Prefect's API and of AWS, and compares what they ask of AWS field by field: the
// bodies of RegisterTaskDefinition and RunTask, the infrastructure_pid, and the
// message of Crashed where a run is refused.
//
// What may differ stands in rules_test.go, each with its one path, its condition
// and its reason. Nothing else is normalised.
//
// The tests carry the build tag conformance. They need a Python with both packages,
// which FABER_TEST_PREFECT_AWS names.
package differential
