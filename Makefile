# Everything a newcomer needs: `make demo`, then `make test`. `make help` lists the rest.
# The first run of a command sets up what it needs; later runs start at once.

SHELL := /bin/sh
PYTHON ?= $(shell sh scripts/find-python)
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
RUN := $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help demo serve test browser-test check audit format lock stage tab bench bench-guard chaos fuzz rehearsal doctor screenshots clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.ready: requirements-dev.txt scripts/find-python
	@test -n "$(PYTHON)" || { sh scripts/find-python --explain; exit 1; }
	@echo "Setting up the Python environment (once, about a minute)..."
	@test -x $(RUN) || "$(PYTHON)" -m venv $(VENV)
	@$(RUN) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

sandbox/node/node_modules/.ready: $(VENV)/.ready sandbox/node/package-lock.json
	@echo "Setting up Azurite (once, about a minute)..."
	@$(RUN) -m sandbox.azurite --install
	@touch $@

TAB_SOURCES := $(shell find solution/tab -path solution/tab/node_modules -prune -o -path solution/tab/dist -prune -o -type f -print 2>/dev/null)
solution/tab/dist/.ready: $(VENV)/.ready $(TAB_SOURCES)
	@echo "Building the tab..."
	@$(RUN) -m solution.tab
	@touch $@

READY := $(VENV)/.ready sandbox/node/node_modules/.ready solution/tab/dist/.ready

demo: $(READY)  ## play the main job on this machine, without a tenant; in a terminal it keeps serving until Ctrl-C
	@$(RUN) -m sandbox demo

serve: $(READY)  ## start the sandbox and keep it up: form, LinkedIn's pages, function app
	@$(RUN) -m sandbox serve

test: $(READY)  ## all tests except those in a browser
	@$(RUN) -m pytest -n auto --dist loadgroup tests --ignore=tests/browser $(ARGS)

browser-test: $(READY)  ## the tests in a real browser (needs Chromium)
	@$(RUN) -m pytest tests/browser $(ARGS)

check: $(VENV)/.ready  ## format, lint, types, import contracts, secrets, dependency audit
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy .
	@$(BIN)/lint-imports
	@$(BIN)/bandit -q -r function_app shared solution -c pyproject.toml
	@sh scripts/secrets-scan
	@sh scripts/audit

format: $(VENV)/.ready  ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(VENV)/.ready  ## pin all packages anew (requirements.txt ships, requirements-dev.txt checks it)
	@$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --generate-hashes --allow-unsafe -o requirements.txt pyproject.toml
	@$(BIN)/pip-compile --quiet --upgrade --extra dev --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --generate-hashes --allow-unsafe -c requirements.txt -o requirements-dev.txt pyproject.toml

stage: $(VENV)/.ready  ## put what ships, and only that, into build/stage
	@$(RUN) scripts/stage.py

tab: solution/tab/dist/.ready  ## bundle the tab into solution/tab/dist

bench: $(READY)  ## measure speed; prints a table, writes benchmarks/results.json
	@$(RUN) -m benchmarks $(ARGS)

bench-guard: $(READY)  ## hold the measured ratios against the recorded ones, with wide margins
	@$(RUN) -m benchmarks --guard

chaos: $(READY)  ## 200 whole jobs under injected faults; writes the table of docs/reliability.md
	@$(RUN) -m sandbox chaos --runs 200 $(ARGS)

fuzz: $(READY)  ## 20,000 inputs to every reader of outside data; writes the figures of docs/reliability.md
	@$(RUN) scripts/fuzz.py --inputs 20000 --write $(ARGS)

rehearsal: $(READY)  ## the administrator's whole day on the sandbox; writes rehearsal.json
	@$(RUN) -m sandbox rehearsal $(ARGS)

doctor: $(VENV)/.ready  ## check an installation from end to end
	@$(RUN) -m solution check --all $(ARGS)

screenshots: $(READY)  ## the pictures of README and docs, from the real tab
	@$(RUN) -m sandbox.form.screenshots

clean:  ## remove everything that the commands made
	rm -rf $(VENV) build .sandbox sandbox/node/node_modules solution/tab/node_modules solution/tab/dist .mypy_cache .ruff_cache .pytest_cache
