#!/bin/sh
# Checks formatting and validity of the configuration. Touches neither state nor
# AWS.
set -eu
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/common.sh
. "$scripts/common.sh"

refuse_credentials
use_terraform
enter_module "$source_dir"

terraform fmt -check -diff -recursive -no-color >&2 ||
	die "files are not formatted" "run 'terraform fmt -recursive' and commit the result"
terraform init -backend=false -input=false -no-color -lockfile=readonly >&2 ||
	die "terraform init failed" "what it said stands above"
terraform validate -no-color >&2 ||
	die "the configuration is not valid" "what terraform said stands above"
