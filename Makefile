# Muster's tasks. `make help` lists them.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS   += --warn-undefined-variables --no-builtin-rules
.DEFAULT_GOAL := help

# Of a release tag v1.2.3; elsewhere the number that stands in the code.
VERSION     := $(patsubst v%,%,$(shell git describe --tags --match 'v*' --dirty 2>/dev/null))
LDFLAGS     := $(if $(VERSION),-X muster/agent/config.Version=$(VERSION))
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Other people's programs against real agents: a module of its own.
CLIENTS     := cmd/agent/e2e/clients
FUZZTIME    ?= 30s
BENCH       ?= .
BENCHTIME   ?= 1s
BENCHFLAGS  ?=

.PHONY: help
help: ## list what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.PHONY: build
build: ## build bin/muster
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/muster ./cmd/agent

.PHONY: run
run: build ## build and start a development agent on http://127.0.0.1:8500
	exec bin/muster agent -dev

.PHONY: test
test: ## run every test, real clusters of real processes included
	go test -timeout 30m ./...
	go test -C $(CLIENTS) -timeout 10m ./...

.PHONY: race
race: ## run every test under the race detector
	go test -race -timeout 30m ./...

.PHONY: fmt
fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

.PHONY: lint
lint: ## check format, vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go vet -C $(CLIENTS) ./...
	go vet -C consensus/bench ./...
	go run $(STATICCHECK) ./...

.PHONY: check
check: lint race ## what must be green before a commit: lint and race

.PHONY: bench
bench: ## run the benchmarks (BENCH, BENCHTIME choose; whole processes in cmd/agent/e2e)
	go test -run '^$$' -bench '$(BENCH)' -benchtime '$(BENCHTIME)' -benchmem ./...

.PHONY: bench-raft
bench-raft: ## measure consensus beside hashicorp/raft and bare system calls (about 3 minutes; BENCHFLAGS)
	cd consensus/bench && go run . $(BENCHFLAGS)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME each
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime '$(FUZZTIME)' "$$pkg"; \
	  done; \
	done

.PHONY: campaign
campaign: ## run ever more seeds until interrupted, written down in docs/campaign.txt
	nice -n 19 go run ./consensus/campaign

.PHONY: dev-cluster
dev-cluster: build ## start 3 servers and a client in the background (stop: make dev-cluster-stop)
	docs/dev-cluster.sh start

.PHONY: dev-cluster-stop
dev-cluster-stop: ## stop what dev-cluster started
	docs/dev-cluster.sh stop

.PHONY: clean
clean: dev-cluster-stop ## remove what was built
	rm -rf bin .dev-cluster
