# Targets of faber. `make` alone lists them.
#
# Assumed: Go, git, make, Python 3.10 or newer. What else a target needs it
# installs below .dev/, or it says what is missing and how to get it.

SHELL       := /bin/sh
.DEFAULT_GOAL := help

GO          ?= go
BIN         := bin/faber
DEV         := .dev
PREFECT     := $(CURDIR)/$(DEV)/cache/python-prefect/bin/prefect
PREFECT_PY  := $(CURDIR)/$(DEV)/cache/python-prefect/bin/python
REFERENCE   := $(CURDIR)/$(DEV)/cache/python-reference/bin/prefect
AWS_PY      := $(CURDIR)/$(DEV)/cache/python-aws/bin/python
LINT        := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME    ?= 10m

# The product is built without cgo; only the race detector needs it.
export CGO_ENABLED = 0

# What the tests find their real counterparts by.
TEST_ENV = PATH="$(CURDIR)/$(DEV)/cache:$$PATH" FABER_TEST_PREFECT=$(PREFECT) FABER_TEST_PYTHON=$(PREFECT_PY) FABER_TEST_MINISTACK=$(AWS_PY)

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/faber
	@mkdir -p bin
	$(GO) build -trimpath -ldflags "-s -w" -o $(BIN) ./cmd/faber

##@ The local stack

.PHONY: demo
demo: build ## Bring the local stack up and run a flow on emulated Fargate
	@$(BIN) dev up
	@$(BIN) dev run hello

.PHONY: demo-down
demo-down: build ## End everything that `make demo` started
	@$(BIN) dev down

.PHONY: recording
recording: build ## Record `make demo` as docs/demo.cast and draw docs/demo.svg of it
	@./scripts/record-demo

##@ Tests

.PHONY: test
test: check unit e2e ## All that must pass before a change: unit, property, race, end to end (at most 15 min)

.PHONY: check
check: ## Formatting and vet
	@unformatted=$$(gofmt -l cmd internal terraform e2e *.go); \
	 if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags e2e ./e2e/...

.PHONY: tools
tools: build
	@$(BIN) dev install

.PHONY: race
race:
	@./scripts/ensure-cc

.PHONY: unit
unit: tools race ## Unit and property tests under the race detector, with real Prefect server and emulator
	$(TEST_ENV) CGO_ENABLED=1 $(GO) test -race -timeout 10m ./...

.PHONY: e2e
e2e: tools race ## The local stack end to end, in containers
	CGO_ENABLED=1 FABER=$(CURDIR)/$(BIN) FABER_DEV_DIR=$(CURDIR)/$(DEV) $(GO) test -race -tags e2e -count=1 -timeout 14m -v ./e2e/

.PHONY: test-terraform
test-terraform: build ## The Terraform module: its own tests, then applied to the emulator with every network mode (about 8 min)
	@./scripts/test-terraform

.PHONY: reference
reference: tools
	@./scripts/install-reference

CONFORMANCE = CONFORMANCE_RESULTS=$(CURDIR)/$(DEV)/conformance/$(1).json CONFORMANCE_WORKER=$(1) FABER=$(CURDIR)/$(BIN) \
	FABER_TEST_PREFECT=$(PREFECT) FABER_TEST_REFERENCE=$(REFERENCE) FABER_TEST_MINISTACK=$(AWS_PY) \
	$(GO) test -tags conformance -count=1 -parallel 6 -timeout 45m ./conformance/

.PHONY: conformance
conformance: reference ## The worker protocol, item by item, on faber (at most 45 min)
	@$(call CONFORMANCE,faber)

.PHONY: compare
compare: reference ## The same on Prefect's own worker, and both columns into docs/conformance.md
	@test -f $(DEV)/conformance/faber.json || $(MAKE) conformance
	@CONFORMANCE_BESIDE=$(CURDIR)/$(DEV)/conformance/faber.json CONFORMANCE_TABLE=$(CURDIR)/docs/conformance.md $(call CONFORMANCE,python)

.PHONY: fuzz
fuzz: ## Fuzz the template engine (FUZZTIME, default 10m)
	$(GO) test -run '^$$' -fuzz FuzzResolve -fuzztime $(FUZZTIME) ./internal/jobtemplate

.PHONY: lint
lint: ## golangci-lint, built from source (takes minutes the first time)
	@mkdir -p $(DEV)/tools
	@test -x $(DEV)/tools/golangci-lint || GOBIN=$(CURDIR)/$(DEV)/tools $(GO) install $(LINT)
	$(DEV)/tools/golangci-lint run ./...

.PHONY: clean
clean: ## Remove what was built (not .dev/)
	rm -rf bin dist
