# The developer's commands. A bare machine needs Python 3.10+ with pip, git and make; everything else is fetched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= $(if $(RAPYER_TEST_URL),0,auto)

# What `make test` runs on a cluster, too; `make cluster` runs the slow ones and the state machines as well.
ON_CLUSTER := tests/model tests/lock

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-service test fast variants cluster chaos lint types lua cover bench docs matrix
.PHONY: build check clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## make the environment in .venv

$(READY): pyproject.toml scripts/make_venv.py
	@$(PYTHON) scripts/make_venv.py $(VENV)
	@touch $@

demo: $(READY)  ## the API, then many processes on one document beside naive code
	@$(BIN)/python scripts/demo.py

demo-service: $(READY)  ## a web shop with a live page: thousands of buyers, nothing sold twice
	@$(BIN)/python scripts/redis_stack.py run -- $(BIN)/python docs/examples/ticket_shop/load.py $(ARGS)

test: $(READY)  ## the whole suite on a real Redis Stack, and models, pipelines and locks on a Redis Cluster
	@$(BIN)/python -m pytest -q -n $(WORKERS)
	@RAPYER_TEST_SERVER=cluster $(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow" $(ON_CLUSTER)

fast: $(READY)  ## the suite without what takes more than a few seconds
	@$(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow"

variants: $(READY)  ## the suite by TLS, unix socket, RESP 2, 3 and unsaid, with and without hiredis
	@set -e; for variant in tcp/any/0 tcp/2/1 tcp/3/1 tcp/2/0 tcp/3/0 tls/2/1 tls/3/1 tls/3/0 unix/2/0 unix/3/1; do \
	  set -- $$(echo $$variant | tr / " "); \
	  echo "$$1, RESP $$2, hiredis $$3"; \
	  RAPYER_TEST_CONNECTION=$$1 RAPYER_TEST_PROTOCOL=$${2#any} RAPYER_TEST_HIREDIS=$$3 \
	    $(BIN)/python -m pytest -q -n $(WORKERS) $(ARGS); \
	done

cluster: $(READY)  ## the models, pipelines and locks on a Redis Cluster
	@RAPYER_TEST_SERVER=cluster $(BIN)/python -m pytest -q -n $(WORKERS) tests/model tests/lock tests/property tests/cluster $(ARGS)

chaos: $(READY)  ## SECONDS (300) of faults on a Redis Cluster under load, and the accounts
	@$(BIN)/python scripts/chaos.py --seconds $(or $(SECONDS),300)

lint: $(READY)  ## ruff, everything on
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)  ## mypy --strict
	@$(BIN)/mypy

lua: $(READY)  ## headers, luacheck where it is installed, and SCRIPT LOAD of every script
	@$(BIN)/python scripts/check_lua.py

cover: $(READY)  ## the suite with coverage
	@$(BIN)/python -m pip install -q pytest-cov
	@$(BIN)/python -m pytest -q -n $(WORKERS) --cov=rapyer --cov-branch --cov-report=term-missing

bench: $(READY)  ## side by side with bare redis-py, interleaved: tables, .bench.json, docs/images/speed.svg
	@$(BIN)/python scripts/bench.py --json .bench.json $(ARGS)
	@$(BIN)/python scripts/plot.py .bench.json

docs: $(READY)  ## the docs site in site/, strict
	@$(BIN)/python -m pip install -q mkdocs-material "mkdocstrings[python]"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

matrix: $(READY)  ## the suite on Python 3.10 to 3.13, with the lowest and newest packages
	@$(BIN)/python scripts/matrix.py $(ARGS)

build: $(READY)  ## wheel and sdist, their contents, the suite (without most slow tests) against the installed wheel
	@$(BIN)/python scripts/check_wheel.py

check: lint types lua  ## what has to pass besides the tests

clean:  ## remove what the other commands made
	@rm -rf $(VENV) dist build site .matrix .pytest_cache .mypy_cache .ruff_cache .hypothesis .bench.json .coverage
