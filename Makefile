# Heimdall: `make up` runs it, `make test` proves it, `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
BIN := .venv/bin
STAMPS := .stamps
.DEFAULT_GOAL := help
.PHONY: help install dev up test test-py test-front check audit bench bench-peers bench-physics budget chaos chaos-long gen gen-check fmt clean chromium services shots

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(STAMPS)/python $(STAMPS)/frontend ## set up .venv and build the page

$(STAMPS)/python: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, this is $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11"; exit 1; }
	@mkdir -p $(STAMPS)
	@echo "Installing Python packages into .venv; the first time this takes some minutes."
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(STAMPS)/dev: requirements-dev.lock $(STAMPS)/python
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

$(STAMPS)/npm: frontend/package-lock.json
	@command -v npm >/dev/null || { echo "Node 20 or newer is needed to build the page (npm was not found)."; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo "Node 20 or newer is needed to build the page, this is $$(node --version)."; exit 1; }
	@mkdir -p $(STAMPS)
	@echo "Installing what builds the page; the first time this takes some minutes."
	@cd frontend && npm ci --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

$(STAMPS)/frontend: $(STAMPS)/npm $(shell find frontend/src frontend/public frontend/index.html frontend/vite.config.ts -type f 2>/dev/null)
	@echo "Building the page."
	@cd frontend && npm run --silent build -- --logLevel warn
	@touch $@

dev: $(STAMPS)/dev $(STAMPS)/npm

up: install ## start Heimdall at http://127.0.0.1:8001
	@exec $(BIN)/heimdall up $(ARGS)

test: dev $(STAMPS)/frontend services chromium ## install what is needed and run every test
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory test-front
	@$(MAKE) --no-print-directory test-py
	@$(MAKE) --no-print-directory chaos

chaos: $(STAMPS)/dev ## break it for three minutes, check that nothing was lost (SEED=… repeats a run)
	$(PY) -m chaos --size embedded --seconds 70 $(if $(SEED),--seed $(SEED)) $(ARGS)
	$(PY) -m chaos --size rabbitmq --seconds 30 $(if $(SEED),--seed $(SEED)) $(if $(filter true,$(CI)),--need-servers) $(ARGS)

DATA ?= ../shared/data
MINUTES ?= 30
chaos-long: $(STAMPS)/dev ## the same for MINUTES=30 on each size, the broker gone for a minute at a time; then ten minutes of hostile bundles
	$(PY) -m chaos --size embedded --size rabbitmq --size redis --seconds $$(( $(MINUTES) * 60 )) --broker-gone 60 --report chaos-report.json $(if $(SEED),--seed $(SEED)) $(ARGS)
	$(PY) -m tests.fuzz.bundles --minutes 10

# A process a core for what computes and waits; the browser's tests have the machine for themselves.
test-py: $(STAMPS)/dev
	$(PY) -m pytest -n 2 --dist loadfile --ignore tests/e2e $(ARGS)
	$(PY) -m pytest tests/e2e $(ARGS)

test-front: $(STAMPS)/npm
	cd frontend && npm run --silent test

check: dev ## format, lint, types, layers, generated files
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports
	@$(MAKE) --no-print-directory gen-check
	cd frontend && npm run --silent check

gen: dev ## write openapi.json, the page's types, docs/reference and the schema of an empty SQLite file
	$(PY) -m heimdall.api.openapi > openapi.json
	$(PY) -m heimdall.storage.snapshot > src/heimdall/storage/migrations/snapshot.sqlite.sql
	cd frontend && npm run --silent gen
	$(PY) -m heimdall.cli.reference docs/reference

gen-check: dev
	@bash deploy/gen-check.sh

fmt: dev ## format everything
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .
	cd frontend && npm run --silent fmt

audit: dev ## ask for known weaknesses of what Heimdall stands on; says what could not be asked
	@$(PY) -m pip_audit --version >/dev/null 2>&1 || $(PY) -m pip install --quiet --disable-pip-version-check pip-audit
	@$(PY) deploy/audit.py

bench: dev ## measure ours in under five minutes; a table and JSON a figure, one line each beside its target (ARGS=--write for docs/figures.md)
	$(PY) -m bench.run_all $(ARGS)

bench-peers: dev ## measure ours and the peers in one run (40 minutes; ARGS=--quick for small sizes, ARGS=--write for docs/figures.md)
	$(PY) -m bench.beside_peers $(ARGS)

budget: dev ## count what the hot paths cost and write the table that tests/budget compares with (say why in the commit)
	$(PY) -m tests.budget.judging --write

bench-physics: dev ## train on the measured and simulated sets (DATA=…), three seeds, for docs/results.md; takes two hours
	$(PY) -m bench.locards_folds --data $(DATA)/locards
	$(PY) -m bench.powder_folds --data $(DATA)/powder --architecture radio-map-residual-s --epochs 8
	$(PY) -m bench.powder_folds --data $(DATA)/powder --architecture radio-map-residual-s --epochs 8 --split day
	$(PY) -m bench.synthetic_rows --terrain $(DATA)/terrain/globe_nw_italy.npz
	$(PY) -m bench.ablations
	$(PY) -m bench.capture_rows

shots: dev $(STAMPS)/frontend ## take the pictures of docs/training-ui anew (needs chromium)
	$(PY) deploy/shots.py

services: ## PostgreSQL, RabbitMQ, Redis and a radio decoder for the tests (CI only)
	@bash deploy/test-services.sh
	@bash deploy/test-decoders.sh

chromium:
	@bash deploy/test-chromium.sh

clean: ## remove what the commands above made (not your data)
	rm -rf .venv $(STAMPS) frontend/node_modules frontend/dist
