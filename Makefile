# Names for what the scripts do. `make` alone lists them.
.PHONY: help setup up down test lint check e2e sim bench bless

help: ## this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: ## install what building, running and testing need
	@scripts/setup.sh

up: ## start everynode with its examples (DETACH=1 returns when all is ready)
	@scripts/up.sh

down: ## remove Pods, processes, mounts, bridges and data
	@scripts/down.sh

test: ## every test, the last line says `N passed, N failed`
	@scripts/test.sh

lint: ## format, tidy, clippy, cargo-deny
	@scripts/lint.sh

check: ## format, tidy, clippy and the pure tests: under a minute when warm
	@cargo fmt --all --check && cargo xtask tidy && cargo clippy --workspace --all-targets --quiet -- -D warnings && PROPTEST_CASES=256 cargo nextest run -p api -p patch -p placement -p daemonset -p podmachine

e2e: ## only the black-box tests
	@FILTER='package(blackbox)' scripts/test.sh

sim: ## hollow nodes against the running everynode; SEED=… repeats one deterministic simulation
	@if [ -n "$(SEED)" ]; then SEED=$(SEED) cargo nextest run -p sim --test simulation --no-capture -E 'test(first_quarter)'; \
	else cargo run --release --quiet -p everynode -- sim --nodes 100; fi

bench: ## figures beside their floors, in one run
	@scripts/bench.sh

bless: ## accept changed golden files
	@INSTA_UPDATE=always cargo nextest run --workspace -E 'not package(blackbox)'
