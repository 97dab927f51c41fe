# `make help` lists the targets. Requires Rust and a C compiler; `make test` also requires git, openssl and Python with
# pip. Go and Postgres are found or installed.

LISTEN = 127.0.0.1:8080
# Sizes of the demo organization.
USERS = 40
GROUPS = 8
PAGES = 24
RESOURCES = 12
SIZES = users=$(USERS) groups=$(GROUPS) pages=$(PAGES) resources=$(RESOURCES)
# The organizations of the benchmark: small, large, huge (only its snapshot), or sizes such as "users=100 groups=5 pages=20 resources=10".
ORGANIZATIONS = small large

# Most tests wait for a timeout or another program, so more tests than processors run at the same time.
TEST_THREADS = $$(($$(getconf _NPROCESSORS_ONLN) * 6))
# The files of incremental builds take more space than all other results, and save time only while you edit the code. To
# use them, set CARGO_INCREMENTAL=1, or call cargo directly.
export CARGO_INCREMENTAL ?= 0
# Compiling the crate takes less processor time in fewer parts and without line numbers for backtraces: a panic reports
# its line in any case. Cargo.toml keeps the dependencies the same, so that all builds share them.
export CARGO_PROFILE_DEV_CODEGEN_UNITS ?= $(shell getconf _NPROCESSORS_ONLN)
export CARGO_PROFILE_DEV_DEBUG ?= 0

# Duration of each part of the soak test, in seconds, and the number of tasks of its service mode part.
SECONDS = 60
TASKS = 10000
# How often test-under-load runs the suite.
RUNS = 5
# Number of random cases for each of the hostile tests.
CASES = 2000

# The name of the image, and the processor of the static program: amd64 or arm64.
IMAGE = baton-retool:dev
KIND =

.PHONY: needs-rust needs-test help demo test test-chart test-build-function test-doc test-build test-crate test-programs test-tools test-architecture test-units test-function lint-tools test-behaviour test-lambda releases docs-check judge lint fmt deny man bench test-under-load soak fuzz-smoke check-changed-chart check-changed-program check-changed-sdk check-changed-releases check-changed-docs check-chart static lambda image check-image sbom clean
.DEFAULT_GOAL := help

# Report missing programs in one line, before the build starts.
needs-rust:
	@scripts/needs rust
needs-test:
	@scripts/needs test
demo test-lambda releases judge docs-check lint fmt deny bench man test-under-load soak fuzz-smoke static lambda sbom: needs-rust

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s  %s\n", $$1, $$2 }' Makefile

demo: ## serve a sample organization on a throwaway Postgres until Ctrl-C (LISTEN=, USERS=, GROUPS=, PAGES=, RESOURCES=)
	@scripts/demo --check $(LISTEN) $(SIZES)
	cargo build --bin baton-retool --example retool-api-double
	@# Ctrl-C ends a demo and is not an error.
	@trap : INT; scripts/foreground scripts/with-postgres scripts/demo $(LISTEN) $(SIZES) || [ $$? -eq 130 ]

# The list of what was skipped.
test: export RETOOL_SKIPPED = $(CURDIR)/target/skipped
# Every cargo of this target compiles and checks the crate at once, so that dependencies are compiled once, and not for
# each of tests, lints and documentation.
test: export RUSTC_WORKSPACE_WRAPPER = $(CURDIR)/scripts/clippy-rustc
test: needs-test ## check format, lints, documentation and the chart, and run the tests on throwaway Postgres servers
	@mkdir -p target && : >"$$RETOOL_SKIPPED"
	@# Each check starts as soon as its programs exist. Most tests wait, so other checks can use the processors at the same time.
	$(MAKE) -j $(JOBS) test-chart test-doc test-behaviour test-crate test-programs
	@scripts/skipped --list

# The first time, this takes minutes of processor time.
test-tools:
	scripts/test-tools

test-chart: test-tools
	$(MAKE) $(GROUPED) check-changed-chart

# Cargo writes the programs with and without the feature lambda to the same path, so scripts/lambda-tests keeps the program for
# the tests of the Lambda function.
test-build-function: needs-rust lint-tools
	cargo fmt --check
	scripts/lambda-tests --build

# rustdoc uses only one processor, so it runs beside the compiler. It cannot use make's job server.
test-doc: test-build-function
	MAKEFLAGS= RUSTDOC=$(CURDIR)/scripts/rustdoc-both scripts/unless-passed --with-program doc cargo test --doc --features lambda

test-build: test-build-function
	cargo build --bins --examples --bench walk --bench sync --bench grants --bench soak
	cargo test --no-run $(SUITE) --test architecture

test-crate: test-build
	$(MAKE) $(GROUPED) test-architecture test-units test-function

test-programs: test-build test-tools
	$(MAKE) $(GROUPED) check-changed-program

test-architecture:
	cargo test --test architecture

# The feature needs a separate build, so the unit tests run only with it: it includes all other unit tests.
test-units:
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --features lambda --lib

test-function:
	RUST_TEST_THREADS=$(TEST_THREADS) scripts/lambda-tests

# With make 4.4 and newer, cargo is one job, and takes another one from make for each further process.
JOBS = $$(($$(getconf _NPROCESSORS_ONLN) + 2))
# Print the output of each target as a whole. make 3 cannot do that.
GROUPED = $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

SUITE = --bins --test behaviour

test-behaviour: test-build
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test $(SUITE)

test-lambda: ## run the unit tests, and the tests of the AWS Lambda function (cargo feature lambda)
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --features lambda --lib --test lambda

releases: ## run a sync and every change on the oldest and the newest supported Postgres (x86-64 Linux; needs npm)
	scripts/check-releases

judge: ## check the files of a sync with the Go SDK (installs Go if missing; the first run takes minutes)
	scripts/check-sdk

docs-check: ## build the book, check its links, run the commands of all pages and compare their output (needs Python)
	scripts/docs-check
	@# Also tests the form with a file as an argument.
	scripts/docs-check docs/command-line.md

lint-tools:
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy

lint: lint-tools ## check format, lints and documentation (installs rustfmt and clippy if missing)
	cargo fmt --check
	cargo clippy --all-targets --features lambda -- -D warnings
	@# Includes the examples, so that all three share the checked dependencies.
	cargo clippy --lib --bins --examples -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --lib --examples --features lambda

fmt: ## format the code
	cargo fmt

deny: ## check the dependencies: advisories, licenses, sources, duplicates (installs cargo-deny if missing)
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check

bench: ## measure full walks of organizations (ORGANIZATIONS=small, large or sizes), and compare syncs with those of the Go SDK
	cargo bench --bench walk -- $(ORGANIZATIONS)
	cargo bench --bench sync -- --sdk

man: ## write a manual page for each command into target/man
	cargo run --quiet --bin baton-retool -- man --directory target/man

test-under-load: ## run the suite RUNS=5 times in a row beside six busy loops (about 10 minutes each on two cores)
	scripts/test-under-load $(RUNS)

soak: ## load the server: 200 clients, restarts of Postgres, hostile callers, unread answers; many tasks (SECONDS=, TASKS=)
	RETOOL_TEST_TASKS=$(TASKS) cargo test --test behaviour -- service::polling::thousands_of_tasks
	cargo bench --bench soak -- --seconds $(SECONDS)

fuzz-smoke: ## send random bytes, frames and messages to the server (CASES=)
	PROPTEST_CASES=$(CASES) cargo test --test behaviour -- limits::hostile::

# These lines have no MAKE, so that make -n does not run them.
check-changed-chart:
	scripts/unless-passed check-chart scripts/check-chart

# The slow checks with other programs, such as the Go SDK, other releases of Postgres, and the commands of the
# documentation.
check-changed-program: check-changed-sdk check-changed-releases check-changed-docs

check-changed-sdk:
	scripts/unless-passed --with-program sdk scripts/check-sdk

check-changed-releases:
	scripts/unless-passed --with-program releases scripts/check-releases

check-changed-docs:
	scripts/unless-passed --with-program docs-check scripts/docs-check
	scripts/unless-passed --with-program docs-check-file scripts/docs-check docs/command-line.md

check-chart: ## check the chart, its alerts, the workflows, the Dockerfile (needs Python with pip; the first run takes minutes)
	scripts/check-chart

static: ## build the program as one static file into target/static (KIND=amd64 or arm64)
	scripts/build-static $(KIND)

lambda: ## build the archive of a function for AWS Lambda into target/lambda (KIND=amd64 or arm64)
	scripts/build-lambda $(KIND)

image: ## build the container image with docker (IMAGE=)
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) docker build --tag $(IMAGE) \
		--build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
		--build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml) \
		--build-arg REVISION=$$(git rev-parse HEAD) \
		--build-arg CREATED=$$(TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd) .

check-image: ## run the steps of the Dockerfile without a container engine, and test the result (KIND=; root on Linux)
	scripts/check-image $(KIND)

sbom: ## write the SBOMs of the program and of the Lambda function into target/sbom, in CycloneDX (installs cargo-cyclonedx if missing)
	@cargo cyclonedx --version >/dev/null 2>&1 || cargo install --locked --version 0.5.9 cargo-cyclonedx
	scripts/sbom baton-retool
	scripts/sbom baton-retool-lambda --features lambda
	@# The function needs additional crates, so equal lists mean that one of them is wrong.
	@crates() { grep -o '"purl"' "target/sbom/$$1.cdx.json" | wc -l; }; \
		[ "$$(crates baton-retool)" -lt "$$(crates baton-retool-lambda)" ] || \
		{ echo "the SBOM of the Lambda function lacks the crates of the feature lambda" >&2; exit 1; }

clean: ## remove all build results
	cargo clean
