# Hushnet. `make` lists the targets; the environment is .venv, made from hashed locks by `make setup`.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
PYTEST_WORKERS ?= 3
STEPS ?= 1000000

.PHONY: help setup up demo test check format histories simulate bench bench-relay bench-routing bench-ledger profile-relay model docs lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: ## make or refresh .venv (seconds when nothing changed)
	@tools/bootstrap.sh

up: setup ## a private inference network on this machine: coordinator, provider, demo account
	@$(BIN)/hush up

demo: setup ## such a network in a throw-away home: one standard and one sealed chat, the books, then stop
	@$(BIN)/hush up --once

test: setup ## every test
	@$(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadfile

check: setup ## format, lint, types, import contracts, tidy, dead code, dependencies
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/tidy.py
	@$(BIN)/vulture
	@$(BIN)/deptry src

format: setup ## format the code and fix what the linter can fix
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

histories: setup ## random histories of the ledger, every outcome and all books checked (HISTORIES= on each database)
	@PYTHONPATH=tests $(BIN)/python -m support.ledger_volumes $(if $(HISTORIES),--histories $(HISTORIES))

simulate: setup ## whole networks on a virtual clock, laws checked at every step (SEED= replays one, STEPS= is the budget)
	@PYTHONPATH=tests $(BIN)/python -m simulation $(if $(SEED),--seed $(SEED),--steps $(STEPS))

bench: setup ## measure, write bench/results/*.json, render docs/performance.md
	@$(BIN)/python -m bench

bench-relay: setup ## what relaying costs, beside nginx and other routers: bench/relay/README.md (about an hour)
	@$(BIN)/python -m bench.relay

bench-routing: setup ## how fast and how good routing is, beside simpler routers: bench/routing/README.md (minutes)
	@$(BIN)/python -m bench.routing

bench-ledger: setup ## how fast the ledger is on both databases, and random histories: bench/ledger/README.md (half an hour)
	@$(BIN)/python -m bench.ledger

profile-relay: setup ## where the coordinator's time goes while it relays: flame graph, cost a stage (ARGS="--mode sealed")
	@$(BIN)/python -m bench.relay.profile $(ARGS)

model: ## rebuild the built-in model from its recipe (about an hour of one core)
	@models/hush-tiny/build.sh

docs: setup ## render the generated references under docs/
	@$(BIN)/python tools/docs.py

lock: setup ## compile requirements/*.in to hashed locks that name no index
	@for name in bootstrap dev model; do \
	  extras=$$( [ $$name = dev ] && echo "pyproject.toml --extra all" ); \
	  $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	    --python-version 3.11 $$extras requirements/$$name.in -o requirements/$$name.txt; done

clean: ## remove the environment and every cache
	@rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
