# Everything a contributor runs. `make demo` and `make test` need no preparation.
# Each recipe is one line; what takes more lives in scripts/.

.DEFAULT_GOAL := help
.PHONY: help demo clean-demo test guides clients site web docs monitoring rolling-restart torture fuzz bench lint

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST)

demo: ## build, start a server in .demo/ with the sample book, print what to try
	@scripts/demo

clean-demo: ## throw the demo's data away
	rm -rf .demo

test: ## install what the tests need, run all of them
	scripts/install-test-tools && cargo test --workspace

clients: ## the MCP conformance suite, and every tool through the SDKs that agents use
	@scripts/clients

site: ## build the example Docusaurus site from the store, look at it in a browser
	@scripts/docusaurus

web: ## look at the pages for people in a browser, with axe-core; WEB=--pictures takes the pictures of the guide
	@scripts/web $(WEB)

docs: ## generate docs/reference from the snapshots of the tests
	@scripts/docs

guides: ## run the commands of README.md and the guides, compare what they print; after make test
	@scripts/check-guides

monitoring: ## check dashboard and alerts with Prometheus and a server under load; after make test
	@scripts/monitoring

rolling-restart: ## restart three servers behind HAProxy under load, one after the other; after make test
	@scripts/rolling-restart

# What takes longer: more rounds, kill -9 under load, two servers on one database.
# Settings for the long tests go here, so that one place says how they are run.
TORTURE_ENV ?= RUST_BACKTRACE=1

torture: ## run the long tests, one after the other
	scripts/install-test-tools && $(TORTURE_ENV) cargo test --release --workspace -- --ignored --test-threads 1 --nocapture

fuzz: ## run each fuzz target for FUZZ_SECONDS (60); needs a nightly toolchain
	scripts/fuzz

bench: ## measure speed and memory against this machine's own yardsticks
	scripts/bench

lint: ## formatting, dependencies, links, lints, documentation
	cargo fmt --all --check
	scripts/check-dependencies
	scripts/check-links
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --all-targets --features panaversity-fs/conformance,panaversity-fs/fuzzing -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
