# The developer's commands. A bare machine needs Python 3.10+ with pip, git and make; everything else is fetched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= $(if $(RAPYER_TEST_URL),0,auto)

.DEFAULT_GOAL := help
.PHONY: help setup demo test fast lint types lua cover bench build check clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(READY)  ## make the environment in .venv

$(READY): pyproject.toml scripts/make_venv.py
	@$(PYTHON) scripts/make_venv.py $(VENV)
	@touch $@

demo: $(READY)  ## the API, then many processes on one document beside naive code
	@$(BIN)/python scripts/demo.py

test: $(READY)  ## the whole suite on a real Redis Stack
	@$(BIN)/python -m pytest -q -n $(WORKERS)

fast: $(READY)  ## the suite without what takes more than a few seconds
	@$(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow"

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

bench: $(READY)  ## side by side with bare redis-py, interleaved
	@$(BIN)/python scripts/bench.py

build: $(READY)  ## wheel and sdist, and the suite against the installed wheel
	@$(BIN)/python scripts/check_wheel.py

check: lint types lua  ## what has to pass besides the tests

clean:  ## remove what the other commands made
	@rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
