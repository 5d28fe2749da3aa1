# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
#   make up      prepare this host, build everything, bring the cloud up
#   make test    all tests, with what they need
#   make help    the rest

GO          ?= go
# Pinned: a newer linter must not break an old commit.
STATICCHECK ?= $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2

# bin/copse up takes these: make up ADDRESS=192.0.2.10 CLOUD=cloud.yaml
ADDRESS ?=
CLOUD   ?=
UP_FLAGS = --yes $(if $(ADDRESS),--address $(ADDRESS)) $(if $(CLOUD),--cloud $(CLOUD))

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# Static programs that do not depend on where they were built.
GOBUILD   = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false
EMBEDDED  = internal/image/embedded/copse-init
PHASE     = scripts/phase.sh
# How long each fuzz target runs in test-full, and how many seeds the simulator gets there.
FUZZ_TIME ?= 60s
SIM_SEEDS ?= 20000
# How many seeds make sim runs; SEED=N runs that one alone.
SEEDS ?= 2000
SEED  ?=

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.PHONY: help up setup setup-test build lint test test-full test-unit sim test-e2e test-browser test-fuzz bench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

up: setup build ## prepare this host, build what is missing, bring the cloud up
	bin/copse up $(UP_FLAGS)

setup:
	@scripts/host-setup.sh

setup-test:
	@scripts/host-setup.sh --test

# copse carries copse-init inside it, to put it into the images it builds. Go knows best what
# is out of date, so both are always asked for; an unchanged copse-init keeps its date.
build: ## bin/copse and bin/copse-init
	@mkdir -p bin $(dir $(EMBEDDED))
	$(GOBUILD) -ldflags '-s -w' -o bin/copse-init ./cmd/copse-init
	@cmp -s bin/copse-init $(EMBEDDED) || install -m 755 bin/copse-init $(EMBEDDED)
	$(GOBUILD) -ldflags '-s -w -X copse/internal/cli.version=$(VERSION)' -o bin/copse ./cmd/copse

lint: ## gofmt, go vet, staticcheck, shellcheck
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then \
		printf 'not formatted; gofmt -w them:\n%s\n' "$$unformatted" >&2; exit 1; \
	fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	shellcheck scripts/*.sh test/freshhost/*.sh .ci/run

test: ## all tests, from a fresh clone, on a fresh host
	@rm -f build/phases
	@$(PHASE) 'host setup' scripts/host-setup.sh --test
	@$(PHASE) 'build' $(MAKE) --no-print-directory build
	@$(PHASE) 'lint' $(MAKE) --no-print-directory lint
	@$(PHASE) 'tests' $(MAKE) --no-print-directory test-unit
	@$(PHASE) 'simulation' $(MAKE) --no-print-directory sim
	@$(PHASE) 'end to end' $(MAKE) --no-print-directory test-e2e

# Where no cloud with the dashboard is left, one is brought up, and stays.
test-full: test ## make test, then other releases, engines and hosts, a browser, fuzzing: some hours
	@$(PHASE) 'ten upgrades' env COPSE_E2E_ROUNDS=10 $(GO) test -count=1 -v -timeout 2h -run '^TestUpgrade$$/^(FromNothing|KeystoneUnderLoad)$$' ./test/e2e
	@$(PHASE) 'whole cloud' $(GO) test -count=1 -v -timeout 3h -run '^TestRelease$$' ./test/e2e
	@$(PHASE) 'reboot' $(GO) test -count=1 -v -timeout 2h -run '^TestReboot$$' ./test/freshhost
	@$(PHASE) 'engines' $(GO) test -count=1 -v -timeout 5h -run '^TestEngine$$' ./test/freshhost
	@$(PHASE) 'cloud' sh -c 'bin/copse health horizon >/dev/null 2>&1 || bin/copse up $(UP_FLAGS)'
	@$(PHASE) 'browser' $(MAKE) --no-print-directory test-browser
	@$(PHASE) 'simulation' $(MAKE) --no-print-directory sim SEEDS=$(SIM_SEEDS)
	@$(PHASE) 'fuzzing' $(MAKE) --no-print-directory test-fuzz

# Units, conformance on the real engine and the simulator. A result of an earlier run says
# nothing about an engine that is there today, hence -count=1.
test-unit:
	compose=$$(scripts/fetch-compose.sh build/peer) && promtool=$$(scripts/fetch-promtool.sh build/peer) && \
	COPSE_COMPOSE="$$compose" COPSE_PROMTOOL="$$promtool" CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 30m $$($(GO) list ./... | grep -v '^copse/test/')

sim: ## the simulator and all crashes: SEEDS of them, or SEED=N, which failed, again
	COPSE_SIM_SEEDS=$(SEEDS) COPSE_SIM_SEED=$(SEED) $(GO) test -count=1 -timeout 4h -run '$(if $(SEED),^TestSimulation$$,^Test(Simulation|Crash|EngineGoesAway))' -v ./internal/deploy

# The real cloud owns the host's ports and bridges: one package at a time, one test at a time.
test-e2e:
	@packages=$$($(GO) list ./test/... 2>/dev/null | grep -v -e '^copse/test/bench' -e '^copse/test/browser' -e '^copse/test/freshhost'); \
	if [ -z "$$packages" ]; then echo 'no package below test/'; exit 1; fi; \
	$(GO) test -count=1 -p 1 -parallel 1 -timeout 3h -skip '^TestRelease$$' $$packages

# It looks at the cloud that runs here. COPSE_SCREENSHOTS is the absolute path of a
# directory for what it sees.
test-browser: build ## the dashboard of the running cloud, in a real browser
	@scripts/host-setup.sh --browser
	$(GO) test -count=1 -v ./test/browser

test-fuzz: ## every fuzz target for FUZZ_TIME
	@git grep -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed 's/:func /\t/' | \
	while IFS="$$(printf '\t')" read -r file target; do \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ_TIME) "./$${file%/*}" || exit 1; \
	done

bench: setup-test build ## numbers, side by side with the peer where there is one
	$(GO) test -run '^$$' -bench . -benchmem -timeout 3h -p 1 ./...

clean: ## remove what was built; images, volumes and the cloud stay
	rm -rf bin build $(EMBEDDED)
