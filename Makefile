# Needs rustup, Python 3, make, openssl and a C compiler. Installs every other tool, pinned, into .venv and .tools, and uses
# none that is installed on the machine.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

TOOLS := .tools/venv/bin
LOCAL_AWS := .venv/.installed
DEPLOY_TOOLS := .tools/venv/.installed
NODE := .tools/node/.installed
SCHEMATHESIS := .tools/schemathesis/.installed
BROWSER := .tools/browser/.installed
BENCH_PYTHON := .tools/bench/.installed
HOSTILE := .tools/hostile/.installed
OCSF := .tools/ocsf/.installed
CHECKOV := .tools/checkov/.installed
WRITERS := .tools/writers/.installed
CONSUMERS := .tools/consumers/.installed
# Not available prebuilt. Compiling it takes one or two minutes.
CYCLONEDX_VERSION := 0.5.9
CYCLONEDX := .tools/cyclonedx-$(CYCLONEDX_VERSION)/bin/cargo-cyclonedx
MUTANTS_VERSION := 27.1.0
MUTANTS := .tools/mutants-$(MUTANTS_VERSION)/bin/cargo-mutants
# Logic of the core in which the simulation can't plant bugs, since it plants them at ports.
MUTATED := functions/core/src/export/*.rs functions/core/src/lease.rs functions/core/src/outbox.rs functions/core/src/checkpoint.rs

# Builds name this target and the whole workspace, so that cargo compiles the AWS SDK once for the deployed functions and
# the tests.
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
ON_HOST := CARGO_BUILD_TARGET=$(HOST)

# The release zips' architecture: arm64 or x86_64.
ARCH ?= $(if $(filter aarch64%,$(HOST)),arm64,x86_64)
ifeq ($(filter arm64 x86_64,$(ARCH)),)
$(error ARCH is arm64 or x86_64, not $(ARCH))
endif
RELEASE_TARGET = $(if $(filter arm64,$(ARCH)),aarch64,x86_64)-unknown-linux-gnu
# With zig, so that the binaries need no newer glibc than the runtime's, whatever this machine has.
RELEASE_BUILD = PATH="$(CURDIR)/$(TOOLS):$$PATH" cargo lambda build --release --locked $(if $(filter arm64,$(ARCH)),--arm64,--x86-64) \
    --output-format zip $(FUNCTIONS:%=--package audit-log-%)
OTHER_TARGET = $(if $(filter aarch64%,$(HOST)),x86_64,aarch64)-unknown-linux-gnu
OTHER_ARCH = $(if $(filter aarch64%,$(HOST)),x86_64,arm64)
# Each has a crate audit-log-<function>, a binary <function> and a zip target/lambda/<function>/bootstrap.zip.
FUNCTIONS := exporter console recorder
# Run by the tests.
COMMANDS := erase audit-log-verify
STACK ?= audit-log-export
TEMPLATES := infra/template.yaml infra/webhook.yaml cloudformation/audit-log-export-role.yaml
# Refuses any file but those whose hashes are listed, and a package that would run a build with others.
PIP_FLAGS := --disable-pip-version-check --require-hashes --only-binary :all:
# Installs run through this: quiet if they work, and with their whole output if they fail.
QUIETLY := $(CURDIR)/tests/build/quietly

.PHONY: help demo test faults consumers simulate fuzz mutants screenshots bench bench-verifier check tools ocsf build binaries verifier package release-zips sbom publish-template deploy erase acceptance fmt clippy doc deny lint structure build-scripts policy-check clean-tools

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: ## A day of exports on a local AWS (KEEP=1 leaves it running)
	@$(MAKE) --no-print-directory build COMMANDS="audit-log-verify demo"
	@target/$(HOST)/debug/demo $(if $(KEEP),--keep)

# The output of each suite is in target/tests. The slowest ones begin first.
test: ## All tests, on the zipped functions, a local AWS and a browser (JOBS=… suites at once)
	@$(MAKE) --no-print-directory --jobs build TESTS=--tests $(SCHEMATHESIS) $(BROWSER) $(WRITERS)
	@$(ON_HOST) cargo test --workspace --locked --no-run --message-format=json-render-diagnostics \
	    | tests/build/side_by_side target/tests api browser faults acceptance writers proof export operations platform

faults: ## The exporter under many more faults than in each run of the tests (FAULTS=all)
	@$(MAKE) --no-print-directory build TESTS="--test faults"
	$(ON_HOST) FAULTS=$(or $(FAULTS),most) cargo test --workspace --locked --test faults

consumers: build $(CONSUMERS) ## Each consumer of docs/consumers.md, by the page's own code, on exported files
	@$(ON_HOST) cargo build --workspace --locked --bin consumers
	@target/$(HOST)/debug/consumers

# The profile is nearly as fast as release and quicker to build. The simulation depends on the core alone and needs no tools.
simulate: ## The core under crashes, overlaps and faults (SEEDS=100000, FROM=0, SEED=123, BUGS=1)
	@$(ON_HOST) cargo build --profile simulation --workspace --locked --bin simulate
	@target/$(HOST)/simulation/simulate $(if $(SEED),seed $(SEED),$(if $(BUGS),bugs $(or $(SEEDS),10000),seeds $(or $(SEEDS),10000) from $(or $(FROM),0)))

# Without sanitizers: they need a nightly compiler, and nearly all of this is safe Rust. New inputs stay in target/fuzz. An
# input that stops a target is in fuzz/artifacts: fix the fault and put the input into fuzz/corpus.
fuzz: $(HOSTILE) ## One fuzz target with hostile input (TARGET=event_line, SECONDS=300)
	@mkdir -p target/fuzz/corpus/$(TARGET)
	@cp Cargo.lock fuzz/Cargo.lock
	PATH="$(CURDIR)/.tools/hostile/bin:$$PATH" CARGO_TARGET_DIR="$(CURDIR)/target/fuzz" cargo fuzz run --sanitizer none --no-cfg-fuzzing \
	    --target $(HOST) $(TARGET) target/fuzz/corpus/$(TARGET) fuzz/corpus/$(TARGET) -- -max_total_time=$(or $(SECONDS),60)

# Not in `make check`: building and testing all mutants takes hours. SHARD=0/8 is an eighth of them.
mutants: $(MUTANTS) ## Mutations of the core's export, lease and outbox that no test notices (SHARD=0/8, JOBS=2)
	$(MUTANTS) mutants --cargo-arg=--locked --package audit-log-core $(MUTATED:%=--file '%') --output target --timeout 120 --no-shuffle \
	    --jobs $(or $(JOBS),1) $(if $(SHARD),--shard $(SHARD)) -- --lib -- export:: lease:: outbox:: checkpoint:: round_trips::

screenshots: build $(BROWSER) ## Screenshots of the console's pages, in docs/screenshots
	@$(ON_HOST) cargo build --workspace --locked --bin screenshots
	@target/$(HOST)/debug/screenshots

# EXPORTERS names other builds to measure beside this one.
bench: $(BENCH_PYTHON) ## The exporter's CPU, memory and calls, beside boto3 (ROWS=throughput,slow, QUICK=1, EXPORTERS=before=<path>)
	@$(ON_HOST) cargo build --release --locked --workspace --bin exporter --bin console --bin bench --bin hello
	@target/$(HOST)/release/bench --boto3 .tools/bench/bin/python \
	    $(foreach name,exporter console hello,--$(name) target/$(HOST)/release/$(name)) $(EXPORTERS:%=--exporter %) \
	    $(if $(ROWS),--rows $(ROWS)) $(if $(QUICK),--quick)

# About a minute, and 3 GB of disk in target/bench.
bench-verifier: ## The verifier's time and memory on a year's windows, beside sha256sum
	@$(ON_HOST) cargo build --release --locked --package audit-log-verify --bin audit-log-verify --example bench
	@target/$(HOST)/release/examples/bench target/$(HOST)/release/audit-log-verify target/bench

# Downloads wait for the network, so the tools are installed while clippy compiles.
check: fmt ## Everything that CI checks
	@$(MAKE) --no-print-directory --jobs tools clippy
	@$(MAKE) --no-print-directory doc deny lint structure build-scripts policy-check ocsf test consumers release-zips

tools: $(LOCAL_AWS) $(DEPLOY_TOOLS) $(SCHEMATHESIS) $(BROWSER) $(OCSF) $(CHECKOV) $(WRITERS) $(CONSUMERS)

build: ## The functions' zips and the operator's command for this machine, unoptimized
	@$(MAKE) --no-print-directory --jobs binaries $(LOCAL_AWS) $(DEPLOY_TOOLS)
	@python3 tests/build/make_zips.py target/$(HOST)/debug $(FUNCTIONS)

# Compiles while `build` installs its tools. With the tests, dependencies have the features that tests need, and are compiled
# once for both.
binaries:
	@$(ON_HOST) cargo build --workspace --locked $(FUNCTIONS:%=--bin %) $(COMMANDS:%=--bin %) $(TESTS)

verifier: ## The customers' command that checks signed manifests: target/verifier/audit-log-verify
	@$(ON_HOST) cargo build --release --locked --package audit-log-verify --bin audit-log-verify
	@mkdir -p target/verifier
	@cp target/$(HOST)/release/audit-log-verify target/verifier/

package: $(DEPLOY_TOOLS) sbom ## The release zips target/lambda/<function>/bootstrap.zip, their SBOMs and the customers' template (ARCH=…)
	$(RELEASE_BUILD)
	@python3 tests/build/check_zips.py $(ARCH) $(FUNCTIONS:%=target/lambda/%/bootstrap.zip)
	@cloudformation/publish folder target/cloudformation

# In a folder of their own, since the tests use the zips of `make build`. Without LTO and optimization, which is much quicker to
# build and leaves no symbol out that a binary needs. Without ARCH, both architectures, if the toolchain has the standard
# library of the other one. Nothing is fetched for that.
release-zips: $(DEPLOY_TOOLS) ## Release zips without LTO and optimization, and whether Lambda can run them (ARCH=…)
	@echo "Building the release zips for $(ARCH), without LTO and optimization …"
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 $(RELEASE_BUILD) --lambda-dir target/release-zips/$(ARCH)
	@python3 tests/build/check_zips.py $(ARCH) $(FUNCTIONS:%=target/release-zips/$(ARCH)/%/bootstrap.zip)
ifeq ($(origin ARCH),file)
	@if [ -d "$$(rustc --print sysroot)/lib/rustlib/$(OTHER_TARGET)" ]; then $(MAKE) --no-print-directory release-zips ARCH=$(OTHER_ARCH); \
	    else echo "Not built: the release zips for $(OTHER_ARCH). The toolchain lacks that standard library (rustup target add $(OTHER_TARGET))."; fi
endif

sbom: $(CYCLONEDX) ## The SBOM of each release zip, target/lambda/<function>/bom.json, in CycloneDX (ARCH=…)
	@SOURCE_DATE_EPOCH=$(shell git log -1 --format=%ct 2>/dev/null || echo 0) infra/sbom $(CURDIR)/$(CYCLONEDX) $(RELEASE_TARGET) $(FUNCTIONS)

publish-template: $(DEPLOY_TOOLS) ## Upload the customers' template under its version, with your credentials (BUCKET=…)
	$(if $(BUCKET),,$(error Set BUCKET to the bucket from which customers read the template))
	@PATH="$(CURDIR)/$(TOOLS):$$PATH" cloudformation/publish bucket "$(BUCKET)"

deploy: package ## Deploy to AWS with your credentials (STACK=…, ARCH=…, PARAMETERS="Name=value …")
	SAM_CLI_TELEMETRY=0 $(TOOLS)/sam deploy --template-file infra/template.yaml --stack-name $(STACK) --resolve-s3 \
	    --no-fail-on-empty-changeset --capabilities CAPABILITY_NAMED_IAM --parameter-overrides Architecture=$(ARCH) $(PARAMETERS)

# With the environment's credentials: set AWS_PROFILE and AWS_REGION as for the AWS CLI.
erase: $(DEPLOY_TOOLS) ## Erase a tenant that has left, with your credentials (STACK=…, TENANT=…, DRY_RUN=1, YES=1)
	$(if $(TENANT),,$(error Set TENANT to the id of the tenant to erase))
	@$(ON_HOST) cargo build --workspace --locked --bin erase
	@$(TOOLS)/python infra/erase target/$(HOST)/debug/erase "$(STACK)" "$(TENANT)" $(if $(DRY_RUN),--dry-run) $(if $(YES),--yes)

# The command for tokens is passed on unexpanded, so that it may hold $TENANT_ID.
acceptance: $(DEPLOY_TOOLS) ## A deployed stack, end to end, with your accounts (STACK=…, PLATFORM_PROFILE=…, CUSTOMER_PROFILE=…, TOKEN_COMMAND=…)
	@$(ON_HOST) cargo build --workspace --locked --bin acceptance
	@target/$(HOST)/debug/acceptance --aws $(CURDIR)/$(TOOLS)/aws --stack "$(STACK)" --platform-profile "$(PLATFORM_PROFILE)" \
	    --customer-profile "$(CUSTOMER_PROFILE)" --token-command '$(subst ','\'',$(value TOKEN_COMMAND))' \
	    --region "$(REGION)" --tenant "$(TENANT)" --api-url "$(API_URL)" --remove "$(REMOVE)" --json "$(JSON)" \
	    $(if $(WAIT),--wait) $(if $(KEEP),--keep) $(if $(YES),--yes)

fmt: ## Formatting
	cargo fmt --all --check

clippy: ## Lints, warnings denied
	$(ON_HOST) cargo clippy --workspace --all-targets --locked -- -D warnings

doc: ## Documentation, warnings denied
	$(ON_HOST) RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

deny: $(DEPLOY_TOOLS) ## Rules for dependencies: licenses, sources, one TLS stack, the AWS SDK in one crate, known vulnerabilities
	$(TOOLS)/cargo-deny --locked check bans licenses sources
	@tests/build/advisories $(TOOLS)/cargo-deny

lint: $(DEPLOY_TOOLS) $(CHECKOV) ## Lints of the CloudFormation templates
	$(TOOLS)/cfn-lint $(TEMPLATES)
	SAM_CLI_TELEMETRY=0 $(TOOLS)/sam validate --lint --template infra/template.yaml --region eu-west-1
	.tools/checkov/bin/checkov --config-file tests/checkov/config.yaml $(TEMPLATES:%=--file %)

structure: $(DEPLOY_TOOLS) ## No cycles between modules; links, paths and names in the docs; AWS's regions, error codes and commands
	python3 tests/structure/cycles.py
	python3 tests/structure/docs.py
	$(TOOLS)/python tests/structure/regions.py
	$(TOOLS)/python tests/structure/aws_facts.py

build-scripts: $(DEPLOY_TOOLS) ## Tests of the scripts that install tools and check zips
	python3 -m unittest discover --start-directory tests/build

policy-check: $(NODE) ## The templates' IAM policies, judged by an independent implementation of IAM
	PATH="$(CURDIR)/.tools/node/bin:$$PATH" node tests/policy/check.js

ocsf: $(OCSF) ## Events in OCSF, judged by an independent implementation of its schema
	@$(ON_HOST) cargo build --workspace --locked --example ocsf
	@$(<D)/bin/python tests/ocsf/validate.py target/$(HOST)/debug/examples/ocsf

clean-tools: ## Remove all installed tools
	rm -rf .venv .tools tests/policy/node_modules tests/browser/node_modules

# A virtual environment for each list of pinned packages. It is rebuilt when the list changes.
$(LOCAL_AWS): tests/local_aws/requirements.txt
$(DEPLOY_TOOLS): tests/tools/requirements.txt
$(SCHEMATHESIS): tests/schemathesis/requirements.txt
$(BENCH_PYTHON): tests/bench/baseline/requirements.txt
$(HOSTILE): tests/hostile/requirements.txt
$(CHECKOV): tests/checkov/requirements.txt
$(CONSUMERS): tests/consumers/requirements.txt
$(OCSF): tests/ocsf/requirements.txt
$(NODE): tests/policy/requirements.txt tests/policy/package-lock.json
$(WRITERS): tests/writers/requirements.txt tests/writers/package-lock.json | $(NODE)
$(LOCAL_AWS) $(DEPLOY_TOOLS) $(SCHEMATHESIS) $(BENCH_PYTHON) $(HOSTILE) $(CHECKOV) $(OCSF) $(CONSUMERS) $(NODE) $(WRITERS):
	@echo "Installing $< into $(@D) …"
	@rm -rf $(@D)
	@$(QUIETLY) python3 -m venv $(@D)
	@$(QUIETLY) $(@D)/bin/pip install $(PIP_FLAGS) --requirement $<
	@if [ $@ = $(NODE) ]; then cd tests/policy && PATH="$(CURDIR)/$(@D)/bin:$$PATH" $(QUIETLY) npm ci --no-fund --no-audit; fi
	@if [ $@ = $(WRITERS) ]; then cp tests/writers/package*.json $(@D) && cd $(@D) && PATH="$(CURDIR)/.tools/node/bin:$$PATH" $(QUIETLY) npm ci --no-fund --no-audit; fi
	@touch $@

$(CYCLONEDX):
	@echo "Compiling cargo-cyclonedx into .tools, for a minute or two …"
	@$(QUIETLY) cargo install --debug --locked --version $(CYCLONEDX_VERSION) --root .tools/cyclonedx-$(CYCLONEDX_VERSION) cargo-cyclonedx

$(MUTANTS):
	@echo "Compiling cargo-mutants into .tools, for a minute or two …"
	@$(QUIETLY) cargo install --debug --locked --version $(MUTANTS_VERSION) --root .tools/mutants-$(MUTANTS_VERSION) cargo-mutants

# A browser with its own fonts, and its driver. Node installs and unpacks them.
$(BROWSER): $(NODE) tests/browser/package-lock.json tests/browser/install.js
	@echo "Installing tests/browser/package-lock.json into $(@D) …"
	@rm -rf $(@D)
	@cd tests/browser && PATH="$(CURDIR)/.tools/node/bin:$$PATH" $(QUIETLY) npm ci --no-fund --no-audit
	@$(QUIETLY) .tools/node/bin/node tests/browser/install.js $(@D)
	@touch $@
