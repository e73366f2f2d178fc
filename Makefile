# Targets of faber. `make` alone lists them.
#
# Assumed: Go, git, make, Python 3.10 or newer. What else a target needs it
# installs below .dev/, or it says what is missing and how to get it.

SHELL       := /bin/sh
.DEFAULT_GOAL := help

GO          ?= go
BIN         := bin/faber
DEV         := .dev
PREFECT     := $(CURDIR)/$(DEV)/cache/python-prefect/bin
REFERENCE   := $(CURDIR)/$(DEV)/cache/python-reference/bin
AWS         := $(CURDIR)/$(DEV)/cache/python-aws/bin
LINT        := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME    ?= 10m

# The product is built without cgo; only the race detector needs it.
export CGO_ENABLED = 0

# What the tests find their real counterparts by.
TEST_ENV = PATH="$(CURDIR)/$(DEV)/cache:$$PATH" FABER=$(CURDIR)/$(BIN) \
	FABER_TEST_PREFECT=$(PREFECT)/prefect FABER_TEST_PYTHON=$(PREFECT)/python FABER_TEST_MINISTACK=$(AWS)/python \
	FABER_TEST_REFERENCE=$(REFERENCE)/prefect FABER_TEST_PREFECT_AWS=$(REFERENCE)/python

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
test: check unit conformance-sample chaos-sample e2e ## All that must pass before a change: unit, property, race, end to end (at most 15 min)

.PHONY: check
check: ## Formatting and vet
	@unformatted=$$(gofmt -l cmd internal terraform e2e conformance load chaos *.go); \
	 if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags e2e,integration,conformance,load,chaos ./e2e/... ./internal/infra/... ./internal/modulecheck/... ./conformance/... ./load/... ./chaos/...

.PHONY: tools
tools: build
	@$(BIN) dev install

.PHONY: race
race:
	@./scripts/ensure-cc

# A program under the race detector sleeps a second before it ends, which is only for
# reports of goroutines that go on; the scripts run hundreds of programs.
.PHONY: unit
unit: export GORACE = atexit_sleep_ms=20
unit: reference race ## Unit and property tests under the race detector, with real Prefect server and emulator
	TERRAFORM_SELECTION=4/$$(git rev-parse HEAD 2>/dev/null || date +%F) $(TEST_ENV) CGO_ENABLED=1 $(GO) test -race -timeout 15m ./...

.PHONY: e2e
e2e: tools race ## The local stack end to end, in containers
	CGO_ENABLED=1 FABER=$(CURDIR)/$(BIN) FABER_DEV_DIR=$(CURDIR)/$(DEV) $(GO) test -race -tags e2e -count=1 -timeout 25m -v ./e2e/

.PHONY: test-terraform
test-terraform: build ## The Terraform module: its own tests, then every example applied to, changed on and destroyed on the emulator (at most 45 min)
	@./scripts/test-terraform

.PHONY: docs
docs: tools ## Rewrite what is generated in the documentation of the Terraform module
	$(TEST_ENV) $(GO) test -count=1 -tags integration -run 'TestReadmeTables|TestPrices|TestNetworkPrices|TestSkips|TestElements' ./internal/modulecheck -update

.PHONY: reference
reference: tools
	@./scripts/install-reference

# One worker, "faber" or "python", through the checklist; the table comes last.
CHECKLIST = CONFORMANCE_WORKER=$(1) CONFORMANCE_RESULTS=$(CURDIR)/$(DEV)/conformance/$(1).json $(TEST_ENV) \
	$(GO) test -tags conformance -count=1 -parallel 6 -timeout 40m ./conformance/; \
	code=$$?; cat $(DEV)/conformance/$(1).txt; exit $$code

.PHONY: conformance
conformance: reference ## faber against the worker protocol, item by item, and against prefect-aws, field by field (at most 45 min)
	@$(call CHECKLIST,faber)
	@$(TEST_ENV) $(GO) test -tags conformance -count=1 -timeout 20m -v ./conformance/differential

.PHONY: conformance-sample
conformance-sample: reference
	@CONFORMANCE_SELECTION=80/$$(git rev-parse HEAD 2>/dev/null || date +%F) $(call CHECKLIST,faber)

.PHONY: load
load: reference ## The worker under load: bursts, a real Prefect server, a shared account, events that get lost (about 20 min)
	$(TEST_ENV) $(GO) test -tags load -count=1 -timeout 40m -v ./load/

# One worker, "faber", "python" or "stub", through the scenarios; the table comes last.
SCENARIOS = CHAOS_WORKER=$(1) $(TEST_ENV) $(GO) test -tags chaos -count=1 -parallel $(CHAOS_PARALLEL) -timeout 60m ./chaos/
CHAOS_PARALLEL ?= 14

.PHONY: chaos
chaos: reference ## Real worker processes killed, cut off, throttled and lied to, beside a real Prefect server: all scenarios, 3 seeds (at most 45 min)
	@FABER_MODEL_HISTORIES=5000 $(GO) test -count=1 -timeout 20m -run TestModel ./internal/worker/
	@CHAOS_SEEDS=3 CHAOS_RESULTS=$(CURDIR)/$(DEV)/chaos/faber.json $(call SCENARIOS,faber); \
	 code=$$?; cat $(DEV)/chaos/faber.txt; exit $$code

.PHONY: explore
explore: ## 20,000 histories of the model that nobody has played yet: what breaks a rule is a finding (about 10 min)
	@FABER_MODEL_SEED=0 FABER_MODEL_HISTORIES=20000 $(GO) test -count=1 -timeout 60m -run 'TestModel$$' ./internal/worker/

.PHONY: chaos-sample
chaos-sample: reference
	@CHAOS_SELECTION=180/$$(git rev-parse HEAD 2>/dev/null || date +%F) $(call SCENARIOS,faber)

.PHONY: compare
compare: reference ## The same items and scenarios on Prefect's own worker; the tables go into docs/conformance.md and docs/chaos.md
	@test -f $(DEV)/conformance/faber.json || $(MAKE) conformance
	@CONFORMANCE_BESIDE=$(CURDIR)/$(DEV)/conformance/faber.json CONFORMANCE_TABLE=$(CURDIR)/docs/conformance.md $(call CHECKLIST,python)
	@$(MAKE) compare-chaos

# Most scenarios are lost by both others: their failures are what the table shows.
.PHONY: compare-chaos
compare-chaos: reference
	@test -f $(DEV)/chaos/faber.json || $(MAKE) chaos
	@-CHAOS_RESULTS=$(CURDIR)/$(DEV)/chaos/stub.json $(call SCENARIOS,stub) >/dev/null
	@-CHAOS_RESULTS=$(CURDIR)/$(DEV)/chaos/python.json $(call SCENARIOS,python) >/dev/null
	@$(TEST_ENV) CHAOS_RESULTS=$(CURDIR)/$(DEV)/chaos/faber.json CHAOS_TABLE=$(CURDIR)/docs/chaos.md $(GO) test -tags chaos -count=1 -run '^$$' ./chaos/
	@cat $(DEV)/chaos/python.txt $(DEV)/chaos/stub.txt

.PHONY: soak
soak: build ## 10,000 short runs by one worker: memory, goroutines and slots, drawn in docs/soak.svg (about 15 min)
	FABER=$(CURDIR)/$(BIN) SOAK_RUNS=$${SOAK_RUNS:-10000} SOAK_SVG=$(CURDIR)/docs/soak.svg \
	$(GO) test -tags load -count=1 -timeout 60m -run '^TestSoak$$' -v ./load/

.PHONY: fuzz
fuzz: tools ## Job templates: 2,000 generated ones against Prefect's own resolution, then fuzzing (FUZZTIME, default 10m)
	$(TEST_ENV) CI=true $(GO) test -count=1 -v -run 'AgainstPrefect|AgainstPython' ./internal/jobtemplate
	$(GO) test -run '^$$' -fuzz '^FuzzResolve$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 1s ./internal/jobtemplate

.PHONY: lint
lint: ## golangci-lint, built from source (takes minutes the first time)
	@mkdir -p $(DEV)/tools
	@test -x $(DEV)/tools/golangci-lint || GOBIN=$(CURDIR)/$(DEV)/tools $(GO) install $(LINT)
	$(DEV)/tools/golangci-lint run ./...

.PHONY: clean
clean: ## Remove what was built (not .dev/)
	rm -rf bin dist
