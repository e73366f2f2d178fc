# shellcheck shell=sh
#
# Shared by validate.sh, plan.sh and apply.sh, which read it in.
#
# Standard output carries a script's result and nothing else; what is said to
# people goes to standard error. CodeBuild's log shows both.
#
# Settings, all from the environment; the Terraform module sets them:
#   FABER_TERRAFORM_DIR   directory of the root module within the source (.)
#   FABER_STATE_BUCKET, FABER_STATE_KEY, FABER_STATE_REGION, FABER_STATE_KMS_KEY
#                         where the state is; without the first, the root module's
#                         own backend block has to say it
#   FABER_COMMIT          what the source is a copy of
#   TERRAFORM_VERSION, TERRAFORM_SHA256_AMD64, TERRAFORM_SHA256_ARM64
#                         another Terraform than the one below

# From https://releases.hashicorp.com/terraform/1.11.4/terraform_1.11.4_SHA256SUMS
PINNED_VERSION=1.11.4
PINNED_SHA256_AMD64=1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc
PINNED_SHA256_ARM64=a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633

RELEASES=${TERRAFORM_RELEASES:-https://releases.hashicorp.com/terraform}

say() {
	printf '%s\n' "$*" >&2
}

# die MESSAGE HINT
die() {
	printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
	exit 1
}

# For terraform and for what it starts. The value of the secret is never the
# pipeline's: plan.sh refuses a plan that would touch it all the same.
export TF_IN_AUTOMATION=1 TF_INPUT=0 CHECKPOINT_DISABLE=1 TF_VAR_manage_secret_value=false

source_dir=${CODEBUILD_SRC_DIR:-$PWD}
terraform_dir=${FABER_TERRAFORM_DIR:-.}
# shellcheck disable=SC2034 # for those who read this in
out_dir=$source_dir/.faber-out

# Holds state and plan as JSON for a moment, with all that is sensitive in them.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

refuse_credentials() {
	if [ -n "${TF_VAR_prefect_credentials:-}${PREFECT_API_KEY:-}${PREFECT_API_AUTH_STRING:-}" ]; then
		die "credentials for Prefect are in the environment of this build" \
			"take them out of the project's environment variables: the pipeline works without (manage_secret_value = false), and 'faber secret put' fills the secret"
	fi
}

# Puts the pinned Terraform on PATH, and downloads it unless it is there already.
use_terraform() {
	version=${TERRAFORM_VERSION:-$PINNED_VERSION}
	if command -v terraform >/dev/null && terraform version -json 2>/dev/null | jq -e --arg version "$version" '.terraform_version == $version' >/dev/null; then
		return
	fi
	case $(uname -m) in
	x86_64) arch=amd64 sum=${TERRAFORM_SHA256_AMD64:-} pinned=$PINNED_SHA256_AMD64 ;;
	aarch64 | arm64) arch=arm64 sum=${TERRAFORM_SHA256_ARM64:-} pinned=$PINNED_SHA256_ARM64 ;;
	*) die "no Terraform is known for this processor, $(uname -m)" "use an image for x86_64 or arm64" ;;
	esac
	if [ "$version" = "$PINNED_VERSION" ]; then
		sum=${sum:-$pinned}
	fi
	if [ -z "$sum" ]; then
		die "Terraform $version is asked for, and its SHA-256 sum for linux_$arch is not known" \
			"set terraform_sha256 from $RELEASES/$version/terraform_${version}_SHA256SUMS"
	fi
	archive=terraform_${version}_linux_$arch.zip
	say "downloading $archive"
	curl --fail --silent --show-error --location --retry 3 --output "$scratch/$archive" "$RELEASES/$version/$archive" ||
		die "Terraform $version could not be downloaded" "the build needs a way to $RELEASES, or an image with that version on PATH"
	echo "$sum  $scratch/$archive" | sha256sum -c - >/dev/null 2>&1 ||
		die "the downloaded $archive has the SHA-256 sum $(sha256sum "$scratch/$archive" | cut -d ' ' -f 1), and not $sum" \
			"do not use it; compare with $RELEASES/$version/terraform_${version}_SHA256SUMS"
	mkdir -p "$scratch/bin"
	unzip -q -o "$scratch/$archive" terraform -d "$scratch/bin"
	PATH=$scratch/bin:$PATH
}

# Goes to the root module and makes sure that it pins its providers.
enter_module() {
	cd "$1/$terraform_dir" || die "there is no directory $terraform_dir in the source" "set terraform_directory to where the root module is"
	if [ ! -f .terraform.lock.hcl ]; then
		die "$terraform_dir has no .terraform.lock.hcl: any provider that fits would do" \
			"run 'terraform providers lock -platform=linux_amd64 -platform=linux_arm64' and commit the file"
	fi
}

# Only the lock file's providers, and a state that others share: with a state of
# its own a build would make everything once more.
initialise() {
	set -- -input=false -no-color -lockfile=readonly
	if [ -n "${FABER_STATE_BUCKET:-}" ]; then
		set -- "$@" -backend-config="bucket=$FABER_STATE_BUCKET" -backend-config="key=$FABER_STATE_KEY" \
			-backend-config="region=$FABER_STATE_REGION" -backend-config=encrypt=true -backend-config=use_lockfile=true
	fi
	if [ -n "${FABER_STATE_KMS_KEY:-}" ]; then
		set -- "$@" -backend-config="kms_key_id=$FABER_STATE_KMS_KEY"
	fi
	terraform init "$@" >&2 || die "terraform init failed" "what it said stands above"
	backend=
	if [ -f .terraform/terraform.tfstate ]; then
		backend=$(jq -r '.backend.type // ""' .terraform/terraform.tfstate)
	fi
	case $backend in
	'' | local) die "$terraform_dir keeps its state in a file" "give the root module a block 'terraform { backend \"s3\" {} }'" ;;
	esac
}

# What tells one state from another: who it is, and which of its versions.
state_version() {
	terraform state pull >"$scratch/state.json"
	jq -cs '(.[0] // {}) | {lineage: (.lineage // ""), serial: (.serial // 0)}' "$scratch/state.json"
	rm -f "$scratch/state.json"
}
