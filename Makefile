# Thin: every target is a short command or a script beside what it serves. CI calls the same targets.
.DEFAULT_GOAL := help
CARGO ?= cargo
export CARGO_NET_RETRY ?= 5

.PHONY: help demo test soak test-deps check fmt bench coverage site e2e build-deps

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build-deps ## Start a 3-member etcd on loopback, watch it, serve the report and print its URL
	@infra/demo/demo.sh

test: test-deps ## Install what the tests need and run all of them
	$(CARGO) test
	tests/e2e/run.sh

soak: test-deps ## The randomised tests for long: more seeds, kills and cases (tests/soak.sh)
	tests/soak.sh

test-deps: build-deps ## Install what the tests need: etcd versions, Prometheus, S3 and SMTP servers, Chromium
	@tests/deps/install.sh

build-deps: ## Install what the build needs: Rust (checked), protoc, a C compiler
	@infra/build-deps.sh

check: build-deps ## What CI checks besides tests: format, lints, the checked-in site
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	site/check.sh

fmt: ## Format everything
	$(CARGO) fmt

bench: test-deps ## Measure beside the peers; the results go to docs/performance.md
	benches/run.sh

coverage: test-deps ## Line coverage of src/ and jobs/ (cargo-llvm-cov)
	tests/coverage.sh

site: ## Rebuild the browser assets in site/dist
	cd site && npm ci --ignore-scripts --no-audit --no-fund && npm run build

e2e: ## The browser tests alone
	tests/e2e/run.sh

