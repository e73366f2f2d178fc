// Package leastprivilege says whether an IAM policy allows what was called. It
// has two parts that know nothing of each other: an evaluator of policies, and a
// table of what AWS authorises when an API is called, taken from AWS's Service
// Authorization Reference. For tests alone, which put the two together: the
// calls in a front's ledger become requests, and the policies that Terraform has
// made answer them.
//
// The emulators' own evaluation is not good enough for this: it takes the cluster
// for the resource of every call to ECS, and knows nothing of iam:PassRole.
package leastprivilege
