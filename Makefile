# Everything starts here, on a machine with only Python 3.11+ and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/.tools
INSTALLED := $(VENV)/.installed
RESULTS := build/results
PACKAGES := core service worker migrations cli client

.PHONY: help install demo test test-cluster faults soak gpu-check check bench clean locks

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[36mmake %-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with the locked dependencies, and kerasd in .venv/bin

# pip alone takes minutes for these locks; uv, itself installed from a hashed lock, takes seconds.
$(TOOLS): requirements/tools.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "kerasd needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1 || true). Try: make $(MAKECMDGOALS) PYTHON=python3.13"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Bytecode is compiled here, not at the first start: importing the API without it takes three times as long.
# pip takes over where uv fails: it alone knows of mirrors that are set up for pip.
$(INSTALLED): pyproject.toml requirements/dev.lock $(TOOLS)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/dev.lock \
		|| $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

demo: install ## Start a server, train LeNet on real digits, classify one; ONCE=1 stops afterwards
	@$(BIN)/kerasd demo $(if $(ONCE),--once)

# End-to-end tests have the machine to themselves: some of them time what they see.
# In the order given: xdist would begin with the files that hold most tests, and end with minutes of one slow file on one core.
ON_BOTH_CORES := --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: install ## Run all tests; ARGS="tests/unit -k locks" narrows them
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@status=0; \
	$(BIN)/python -m pytest --junitxml $(RESULTS)/quick.xml $(ON_BOTH_CORES) tests/integration tests/unit || status=$$?; \
	$(BIN)/python -m pytest --junitxml $(RESULTS)/quick-e2e.xml tests/e2e || status=$$?; \
	exit $$status
endif

test-cluster: install ## Run the end-to-end tests on PostgreSQL, a Valkey server and two APIs
	@$(BIN)/python -m pytest --junitxml $(RESULTS)/cluster.xml --topology cluster tests/e2e $(ARGS)

faults: install ## Run the long fault tests, then the end-to-end tests on a cluster; put the results of all into docs/promises.md
	@status=0; \
	$(BIN)/python -m pytest --junitxml $(RESULTS)/long.xml -m long $(ARGS) || status=$$?; \
	$(MAKE) test-cluster || status=$$?; \
	$(BIN)/python tests/fault_table.py $(RESULTS)/*.xml || status=$$?; \
	exit $$status

soak: install ## Kill processes at random while jobs flow; MINUTES=30 SEED=1 KILLS_A_MINUTE=8 TOPOLOGY=cluster
	@PYTHONPATH=tests/support $(BIN)/python tests/soak/soak.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(KILLS_A_MINUTE),--kills-a-minute $(KILLS_A_MINUTE)) $(if $(TOPOLOGY),--topology $(TOPOLOGY))

gpu-check: install ## Train, kill, resume and predict on the GPU of this machine, if it has one
	@if $(BIN)/python -m worker.gpus; then $(BIN)/python -m pytest -m gpu tests/gpu $(ARGS); fi

check: install ## Lint, types, import contracts, migrations, locks: what CI runs before the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m migrations.check
	$(BIN)/python requirements/check.py

bench: install ## Run the benchmarks and print their figures (see benchmarks/README.md)
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 $(if $(UPGRADE),--upgrade)

locks: $(TOOLS) ## Write requirements/*.lock from pyproject.toml; UPGRADE=1 takes newer releases
	$(COMPILE) pyproject.toml -o requirements/base.lock
	$(COMPILE) pyproject.toml --extra cpu -o requirements/cpu.lock
	$(COMPILE) pyproject.toml --extra gpu --override requirements/gpu.overrides -o requirements/gpu.lock
	$(COMPILE) pyproject.toml --extra cpu --extra dev -o requirements/dev.lock
	$(COMPILE) requirements/tools.in -o requirements/tools.lock
	$(COMPILE) requirements/peers.in -o requirements/peers.lock

clean: ## Remove .venv, caches and build leftovers; data folders stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
