# Needs Python 3.11 or newer and make; everything else comes hash-checked from the two lock files.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
DATA_DIR ?= .data

BIN := .venv/bin
RUNTIME := .venv/.runtime-installed
DEVELOPMENT := .venv/.development-installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help demo test check fix bench load chaos screenshots docs lock clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(RUNTIME) ## Run everything with sample data: make demo [PORT=8000] [HOST=127.0.0.1] [DATA_DIR=.data]
	@exec $(BIN)/admin-app up --host "$(HOST)" --port "$(PORT)" --data-dir "$(DATA_DIR)" --demo

test: $(DEVELOPMENT) ## Run the whole test suite on real servers
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(DEVELOPMENT) ## Check format, lint and types; change nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(DEVELOPMENT) ## Format, and repair what the linter can repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEVELOPMENT) ## Measure every page against a floor, with up to 1,000,000 products (data stays in .bench)
	$(BIN)/python -m bench

load: $(DEVELOPMENT) ## Let 50 people work on 1,000,000 products for a minute, then beside bulk work (data stays in .bench)
	$(BIN)/python -m bench.load

chaos: $(DEVELOPMENT) ## Kill and freeze everything while people work, then look what is left: make chaos [MINUTES=3] [SEED=...]
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),3) $(if $(SEED),--seed $(SEED))

screenshots: $(DEVELOPMENT) ## Make the pictures in docs/images anew (needs Chromium)
	$(BIN)/python -m tests.browser.screenshots

docs: $(DEVELOPMENT) ## Build the documentation as a site, in .site (.venv/bin/mkdocs serve shows it as you write)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock: $(DEVELOPMENT) ## Resolve the lock files anew (UPGRADE=--upgrade takes newer versions)
	$(LOCK) $(UPGRADE) pyproject.toml --group build --output-file requirements.lock
	$(LOCK) $(UPGRADE) pyproject.toml --group build --group dev --constraint requirements.lock \
		--output-file requirements-dev.lock

clean: ## Remove the environment and caches; the data stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .site dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("This needs Python 3.11 or newer, and $(PYTHON) is " \
		+ sys.version.split()[0] + ". Try: make PYTHON=python3.13 ...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv

$(RUNTIME): requirements.lock pyproject.toml | .venv/bin/python
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEVELOPMENT): requirements-dev.lock pyproject.toml | .venv/bin/python
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@
