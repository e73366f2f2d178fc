#!/bin/sh
# plan.sh           plans, packs the plan, and prints what it would do, in the
#                   1,000 characters that a request for approval may have
# plan.sh checksum  prints the SHA-256 sum of what the first call packed, by which
#                   apply.sh knows the plan that was approved
# plan.sh drift     ends with 0 when nothing would change, with 2 and a list of
#                   what would, with 1 when it could not plan
set -eu
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/common.sh
. "$scripts/common.sh"

mode=${1:-plan}
archive=$out_dir/plan.tar.gz
commit=${FABER_COMMIT:-${CODEBUILD_RESOLVED_SOURCE_VERSION:-unknown}}

case $mode in
checksum)
	sha256sum "$archive" | cut -d ' ' -f 1
	exit
	;;
# An apply may be going on. What it does is no drift: wait for it to end.
drift) lock_timeout=30m ;;
plan) lock_timeout=5m ;;
*) die "plan.sh does not know '$mode'" "call it with nothing, with 'checksum' or with 'drift'" ;;
esac

refuse_credentials
use_terraform
enter_module "$source_dir"
initialise

# Read before the plan is made: whoever changes the state from now on makes the
# plan stale, and apply.sh sees it.
planned_on=$(state_version)

# Out of the source, so that what is packed holds nothing of an earlier call.
rm -rf "$source_dir/.faber" "$out_dir"
mkdir -p "$source_dir/.faber" "$out_dir"
plan=$source_dir/.faber/stack.tfplan

code=0
terraform plan -input=false -no-color -detailed-exitcode -lock-timeout="$lock_timeout" -out="$plan" >&2 || code=$?
case $code in
0 | 2) ;;
*) die "terraform plan failed" "what it said stands above" ;;
esac

terraform show -json -no-color "$plan" >"$scratch/plan.json"

# A plan that writes the secret wants the API key, here and at the apply; one that
# removes the value stops the worker.
secrets=$(jq -r -f "$scripts/secrets.jq" "$scratch/plan.json")
if [ -n "$secrets" ]; then
	rm -rf "$source_dir/.faber"
	die "the plan would change the value of the Prefect secret ($secrets)" \
		"set manage_secret_value = false. If Terraform wrote the value before, first let go of it by hand: terraform state rm '$secrets'"
fi

summary=$(jq -r --arg commit "$commit" --argjson limit 1000 -f "$scripts/approval.jq" "$scratch/plan.json")
rm -f "$scratch/plan.json"

if [ "$mode" = drift ]; then
	rm -rf "$source_dir/.faber"
	if [ "$code" -eq 2 ]; then
		say "drift: what runs is not what was applied last. $summary"
	else
		say "no drift"
	fi
	exit "$code"
fi

jq -n --arg commit "$commit" --argjson state "$planned_on" '{commit: $commit, state: $state}' >"$source_dir/.faber/plan.json"

# All that the apply needs, providers included: it runs what was looked at here,
# and downloads nothing but Terraform itself. An archive of our own, since the
# artefact's zip keeps neither links nor the right to execute.
tar -czf "$archive" -C "$source_dir" --exclude=./.git --exclude=./.faber-out .
rm -rf "$source_dir/.faber"

say "$summary"
printf '%s\n' "$summary"
