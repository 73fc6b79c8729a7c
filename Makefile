# Everything a user or a contributor does, each as one word. `make` lists them.
PYTHON ?= python3
SCENARIO ?= scenarios/past-64k.yaml
FUZZ_S ?= 60
BIN := .venv/bin
# A third of the time the end-to-end tests wait: three at a time keep two cores busy, more only wait for their turn.
PYTEST := $(BIN)/pytest -n 3 --dist worksteal
INCIDENTS := $(PYTEST) tests/incidents
# Without a time limit of its own a package index that does not answer would hold `make run` up for good.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --timeout 60

# Many containers set it; then every process of the tests would compile all of loadgen anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run million test check unit lab e2e incidents fuzz browser chaos bench soak schemas screenshots \
  docs docs-serve verify-vendor lock tools licences audit clean

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: .venv/.run ## the virtual environment and loadgen in it; quick when done already

run: .venv/.run ## the main job: 100,000 connections to one destination (SCENARIO=... for another)
	$(BIN)/loadgen run $(SCENARIO)

million: .venv/.run ## 1,000,000 connections held for a minute, both ends here (7 GB of memory, 3 minutes)
	$(BIN)/loadgen run scenarios/million.yaml

# Two commands, because for an ordinary user pytest starts the lab tests inside a user namespace.
test: .venv/.dev ## every test: unit, lab, end to end, incidents, browser
	$(PYTEST) tests --ignore=tests/lab --ignore=tests/incidents
	$(PYTEST) tests/lab
	$(INCIDENTS)

check: .venv/.dev ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: .venv/.dev ## the tests that need no network, in seconds
	$(BIN)/pytest -n 2 tests/unit

lab: .venv/.dev ## the tests that use real sockets, each in a throwaway namespace
	$(BIN)/pytest -n 2 tests/lab

e2e: .venv/.dev ## the tests that use the command line as a user does
	$(PYTEST) tests/e2e

incidents: .venv/.dev ## situations that people met: the limit and the remedy that are right, n of m (three minutes)
	$(INCIDENTS)

fuzz: .venv/.dev ## damaged and hostile input for everything that reads, FUZZ_S=60 seconds each (an hour)
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_S) $(FUZZ)

browser: .venv/.dev ## the tests that look at the pages in Debian's chromium; skipped without it
	$(BIN)/pytest -n 2 tests/browser

chaos: .venv/.dev ## random faults in random scenarios, and what must hold after them (CHAOS="--seed 7"; ten minutes)
	$(BIN)/python -m tests.chaos $(CHAOS)

bench: .venv/.dev ## figures against a small C reference, in a throwaway namespace (needs cc; six minutes)
	$(BIN)/python -m bench.run $(BENCH)

SOAK_S ?= 3600
soak: .venv/.dev ## whether memory or descriptors of any process grow in an hour (SOAK_S=600 for ten minutes)
	$(BIN)/python -m bench.soak --seconds $(SOAK_S)

schemas: .venv/.dev ## write the JSON Schemas, manual pages and facts.md under docs/ anew, out of the code
	$(BIN)/loadgen schema scenario > docs/schema/scenario.schema.json
	$(BIN)/loadgen schema summary > docs/schema/summary.schema.json
	$(BIN)/loadgen schema facts > docs/schema/facts.schema.json
	$(BIN)/python -m loadgen.facts.page > docs/facts.md
	rm -f docs/man/*.1
	$(BIN)/loadgen man --out docs/man

screenshots: .venv/.dev ## take the pictures in docs/images anew (needs chromium; two minutes)
	$(BIN)/python -m tests.browser.screenshots

# Silent about the end of its maintenance, of which docs/decisions/0036-the-site.md knows.
MKDOCS := NO_MKDOCS_2_WARNING=1 .venv/docs/bin/python -m mkdocs
docs: .venv/.run .venv/docs/.installed ## the documentation site in build/site; fails on any link, heading or page that is wrong
	$(BIN)/python -m website
	$(MKDOCS) build --strict # with --quiet no warning would count
	$(BIN)/python -m website --check
	@echo "open build/site/index.html, or: make docs-serve"

docs-serve: .venv/.run .venv/docs/.installed ## the site at 127.0.0.1:8000, made anew with every change of a page
	$(BIN)/python -m website
	$(MKDOCS) serve --dev-addr 127.0.0.1:8000

# Each directory: VERSION, SHA256SUMS and the files that these name, with the licence of the package. The third argument
# brings those that lie elsewhere in the package to its top.
define verify
	cd $(1) && sha256sum --check --quiet SHA256SUMS
	@set -e; sums=$(CURDIR)/$(1)/SHA256SUMS; version=$$(cat $(1)/VERSION); \
	directory=$$(mktemp -d); trap 'rm -rf "$$directory"' EXIT; cd "$$directory"; \
	npm pack --silent "$(2)@$$version" >/dev/null; tar -xzf "$(2)-$$version.tgz"; cd package; \
	$(3) sha256sum --check "$$sums"

endef
verify-vendor: ## vendored JavaScript of charts, site and tests is byte for byte the published packages (needs npm)
	$(call verify,loadgen/views/html/vendor/uplot,uplot,cp dist/* .;)
	$(call verify,website/assets/iframe-worker,iframe-worker,cp shim/index.js iframe-worker.js;)
	$(call verify,tests/browser/vendor/axe,axe-core)

# Those of the lock files stay at their versions, unless UPGRADE is set; every file of a version has its hash, so that a
# lock file fits every platform and every Python from 3.11 on.
UPGRADE :=
COMPILE = .venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
  --custom-compile-command 'make lock'
LOADGEN := --group build pyproject.toml
lock: .venv/lock/bin/uv ## resolve what `make setup` and `make docs` install, with hashes (UPGRADE=--upgrade for newer versions)
	$(COMPILE) $(LOADGEN) --extra dev --output-file requirements/dev.txt
	$(COMPILE) $(LOADGEN) --constraint requirements/dev.txt --output-file requirements/run.txt
	$(COMPILE) --group docs --constraint requirements/dev.txt --output-file requirements/docs.txt
	$(MAKE) licences

tools: .venv/lock/bin/uv .venv/pipx/bin/pipx .venv/kubernetes/bin/kubernetes-validate ## for end-to-end tests that skip without: pipx and uv, schemas of Kubernetes

licences: .venv/.run ## write docs/licences.md anew, out of the installed packages
	$(BIN)/python requirements/licences.py

audit: .venv/audit/bin/pip-audit ## known vulnerabilities of what is installed: 0 none, 1 some, 3 the database cannot be reached
	@.venv/audit/bin/python requirements/audit.py

clean: ## remove the virtual environment and what tools left behind; results/ stays
	rm -rf .venv build bench/build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The two stamps: what running needs, and what developing needs on top.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "loadgen needs Python 3.11 or later; this is $$($(PYTHON) --version). Try: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { rm -rf .venv; echo "Python cannot make a virtual environment here. On Debian: apt install python3-venv"; exit 1; }

# The lock file has the build backend too: a build with a virtual environment of its own would fetch it without a hash.
.venv/.run: pyproject.toml requirements/run.txt | .venv/bin/python
	@echo "Installing loadgen and what it needs into .venv (once; under a minute)"
	@$(PIP) install --require-hashes --only-binary :all: --requirement requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.run requirements/dev.txt
	@echo "Installing what the tests need into .venv (once)"
	@$(PIP) install --require-hashes --only-binary :all: --requirement requirements/dev.txt
	@touch $@

# It renders pages and needs nothing of loadgen, so that the two never wait for each other's versions.
.venv/docs/.installed: requirements/docs.txt | .venv/bin/python
	@echo "Installing what renders the documentation into .venv/docs (once)"
	@$(PYTHON) -m venv .venv/docs
	@.venv/docs/bin/python -m pip --disable-pip-version-check --quiet --timeout 60 install --require-hashes --only-binary :all: \
	  --requirement requirements/docs.txt
	@touch $@

# Tools of a maintainer, beside the environment and not in it.
.venv/lock/bin/uv: | .venv/bin/python
	@$(PYTHON) -m venv .venv/lock && .venv/lock/bin/python -m pip --quiet install uv==0.13.9

.venv/pipx/bin/pipx: | .venv/bin/python
	@$(PYTHON) -m venv .venv/pipx && .venv/pipx/bin/python -m pip --quiet install pipx==1.18.4

# Not with what developers have: 17,000 files.
.venv/kubernetes/bin/kubernetes-validate: | .venv/bin/python
	@$(PYTHON) -m venv .venv/kubernetes && .venv/kubernetes/bin/python -m pip --quiet install kubernetes-validate==1.37.0

.venv/audit/bin/pip-audit: | .venv/bin/python
	@$(PYTHON) -m venv .venv/audit && .venv/audit/bin/python -m pip --quiet install pip-audit==2.10.1
