# The two that matter: `make serve` and `make test`. Both bring what they need into .venv.

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# What is installed is written down beside it, so that a second run starts at once.
FOR_USE := $(VENV)/installed
FOR_TESTS := $(VENV)/installed-for-tests
FOR_BENCH := $(VENV)/installed-for-bench
# Node makes and checks the widget's bundle; it comes as a wheel. The server never needs it.
FOR_WIDGET := node_modules/.installed
NODE := PATH="$(CURDIR)/$(BIN):$$PATH"

# How many tests run at once. Most of them wait for processes and browsers, so there is room for one more than cores.
JOBS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
TESTS := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help serve test coverage hostile bench faults soak check widget tables screenshots browsers installed-browsers strace nginx redis compiler install constraints clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(FOR_USE) ## Run the server on http://127.0.0.1:8000, until Ctrl+C
	@exec $(BIN)/tallycast serve

test: check installed-browsers strace nginx redis compiler ## Check everything, then run every test
	@exec $(TESTS)

# Not part of `make test`: tracing takes more than half as much processor time again.
coverage: $(FOR_TESTS) installed-browsers strace nginx redis compiler ## Run every test, and list the lines that none reaches
	@exec $(TESTS) --cov

browsers: $(FOR_TESTS) installed-browsers ## Run every test of the widget in Chromium, Firefox and WebKitGTK
	@TALLYCAST_BROWSERS=full exec $(BIN)/python -m pytest -q tests/browsers $(ARGS)

hostile: $(FOR_TESTS) ## Attack a server in every way there is a test for, in full; some minutes
	@HOSTILE=full exec $(BIN)/python -m pytest -q -s tests/hostile $(ARGS)

bench: $(FOR_USE) $(FOR_BENCH) compiler ## Measure it beside others, some minutes; ARGS=--quick for less, ARGS=--help
	@exec $(BIN)/python -m bench $(ARGS)

faults: $(FOR_TESTS) strace ## Break everything on purpose, in full: some minutes; prints the measurements at the end
	@TALLYCAST_FAULTS=full exec $(BIN)/python -m pytest tests/faults $(ARGS)

soak: $(FOR_USE) ## Ten minutes of churn against a fresh server: is all memory released?
	@exec $(BIN)/python tools/soak.py

check: $(FOR_TESTS) $(FOR_WIDGET) ## Lint, types, layers, sizes, links; whether the widget's bundle is current and small
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python tools/house.py
	@$(NODE) node_modules/.bin/tsc
	@$(NODE) node tools/widget.mjs --check

widget: $(FOR_TESTS) $(FOR_WIDGET) ## Make static/embed.js from static/src
	@$(NODE) node tools/widget.mjs

tables: $(FOR_USE) ## Write the tables of settings, keys and metrics into the documents
	@$(BIN)/python -m tools.tables

screenshots: $(FOR_TESTS) installed-browsers ## Make the pictures in docs/
	@$(BIN)/python -m tests.browser.screenshots

installed-browsers:
	@tools/browsers.sh

strace:
	@tools/package.sh strace 'The test of a power cut' strace

# In Debian this is redis-server itself under another name.
redis:
	@tools/package.sh redis-check-rdb 'The test of access lists on Redis' redis-tools

nginx:
	@tools/package.sh nginx 'The test behind a proxy' nginx-light

# The load that the bench puts on servers must cost less than they do, so it is in C.
compiler:
	@tools/package.sh $(firstword $(CC)) 'The bench' gcc libc6-dev

install: $(FOR_USE) ## Install into .venv, without starting anything

constraints: ## Pin the newest versions of everything in constraints.txt
	@tools/venv.sh $(VENV)-constraints
	@$(VENV)-constraints/bin/python -m pip install --quiet --disable-pip-version-check --upgrade '.[test,bench]'
	@{ echo '# What is installed, tests included: made by `make constraints`, not by hand.'; \
	   $(VENV)-constraints/bin/python -m pip freeze --disable-pip-version-check --exclude tallycast; } > constraints.new
	@mv constraints.new constraints.txt
	@rm -rf $(VENV)-constraints

clean: ## Remove .venv and what the tools leave; never the data
	@rm -rf $(VENV) $(VENV)-constraints node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
	  .schemathesis .coverage .coverage.* build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@tools/venv.sh $(VENV)

$(FOR_USE): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing …'
	@$(INSTALL) --editable '.[load]'
	@touch $@

$(FOR_TESTS): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing, with what the tests need …'
	@$(INSTALL) --editable '.[test]'
	@touch $@ $(FOR_USE)

# Exact versions stand in package.json; a lock file would record where this machine downloads from.
$(FOR_WIDGET): package.json | $(FOR_TESTS)
	@echo 'Installing what makes and checks the widget …'
	@$(NODE) npm install --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

# A peer that cannot be installed here is missing from the figures, and named there; it stops nothing.
$(FOR_BENCH): pyproject.toml constraints.txt | $(FOR_USE)
	@echo 'Installing what it is measured beside …'
	@if $(INSTALL) --editable '.[bench]'; then touch $@; else \
	  for peer in picows python-socketio socketify; do $(INSTALL) $$peer || true; done; fi
