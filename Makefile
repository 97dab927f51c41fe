# `make help` says what there is. Needs Rust; finds or installs Postgres by itself.

LISTEN = 127.0.0.1:8080
# Sizes of the demo organization.
USERS = 40
GROUPS = 8
PAGES = 24
RESOURCES = 12
# What the benchmark walks: small, large, or sizes as in "users=100 groups=5 pages=20 resources=10".
ORGANIZATIONS = small large

# How long each half of the soak lasts.
SECONDS = 60
# How many cases each property of the hostile tests is tried with.
CASES = 2000

.PHONY: help demo test docs-check lint fmt doc deny bench soak fuzz-smoke clean
.DEFAULT_GOAL := help

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s  %s\n", $$1, $$2 }' Makefile

demo: ## serve a seeded organization on a throwaway Postgres until Ctrl-C (LISTEN=, USERS=, GROUPS=, PAGES=, RESOURCES=)
	cargo build --release --bin baton-retool
	@# Ctrl-C is how a demo ends, and no error. It reaches this shell too, which would die of it.
	@trap : INT; scripts/with-postgres scripts/demo $(LISTEN) users=$(USERS) groups=$(GROUPS) pages=$(PAGES) \
		resources=$(RESOURCES) || [ $$? -eq 130 ]

test: lint ## check everything: format, lints, documentation, tests on throwaway Postgres servers
	cargo test
	scripts/docs-check

docs-check: ## run the commands of the README and compare what they print
	scripts/docs-check

lint: ## check format, lints and documentation (installs rustfmt and clippy when rustup left them out)
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

fmt: ## format the code
	cargo fmt

deny: ## check the dependencies: advisories, licenses, sources, duplicates (installs cargo-deny when missing)
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check

bench: ## measure full walks of organizations (ORGANIZATIONS=small, large or sizes; the large one takes minutes)
	cargo bench --bench walk -- $(ORGANIZATIONS)

soak: ## list grants with 200 clients for a minute, and for another while Postgres is restarted twice (SECONDS=)
	cargo bench --bench soak -- --seconds $(SECONDS)

fuzz-smoke: ## throw random bytes, frames and messages at the server (CASES=)
	PROPTEST_CASES=$(CASES) cargo test --test behaviour -- hostile::

clean: ## remove everything that was built
	cargo clean
