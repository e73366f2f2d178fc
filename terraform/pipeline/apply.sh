#!/bin/sh
# Applies the plan that plan.sh packed: that one, or none.
#
# Refused is a plan that is not the one that was approved (its sum differs), one
# of another commit, and one whose state has changed since, which Terraform itself
# checks once more under the state's lock.
#
#   FABER_PLAN_DIR     where plan.tar.gz is (CodeBuild's directory of the input `plan`)
#   FABER_PLAN_SHA256  what 'plan.sh checksum' printed
set -eu
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/common.sh
. "$scripts/common.sh"

again="nothing was applied. Release the change again: that makes a new plan, with a new approval"

# CodeBuild names the variable after the artefact.
# shellcheck disable=SC2154
plan_dir=${FABER_PLAN_DIR:-${CODEBUILD_SRC_DIR_plan:-}}
archive=$plan_dir/plan.tar.gz
if [ ! -f "$archive" ]; then
	die "there is no plan to apply: $archive is missing" "run plan.sh first. Artefacts are deleted after 7 days: an older plan has to be made anew"
fi
approved=${FABER_PLAN_SHA256:-}
if [ -z "$approved" ]; then
	die "nobody said which plan was approved: FABER_PLAN_SHA256 is not set" "set it to what 'plan.sh checksum' printed"
fi
found=$(sha256sum "$archive" | cut -d ' ' -f 1)
if [ "$found" != "$approved" ]; then
	die "this is not the plan that was approved: its SHA-256 sum is $found, and not $approved" "$again"
fi

refuse_credentials
use_terraform

work=$source_dir/.faber-apply
rm -rf "$work"
mkdir -p "$work"
tar -xzf "$archive" -C "$work"
meta=$work/.faber/plan.json

planned_commit=$(jq -r .commit "$meta")
commit=${FABER_COMMIT:-${CODEBUILD_RESOLVED_SOURCE_VERSION:-unknown}}
if [ "$planned_commit" != "$commit" ]; then
	die "the plan was made for commit $planned_commit, and this is $commit" "$again"
fi

enter_module "$work"
initialise

planned_on=$(jq -c .state "$meta")
now=$(state_version)
if [ "$now" != "$planned_on" ]; then
	die "the plan is stale: it was made for the state $planned_on, which is now $now" "$again"
fi

terraform apply -input=false -no-color -lock-timeout=5m "$work/.faber/stack.tfplan" >&2 ||
	die "terraform apply ended with an error, which stands above" \
		"what it had done by then is in the state, so this plan cannot be applied again. Once the cause is gone, release the change again"
cd "$source_dir"
rm -rf "$work"
say "applied the plan for $commit"
