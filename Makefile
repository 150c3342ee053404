# make demo    see it work, against an Inlive API on this machine; ends by itself
# make test    every check and test; what needs a tool you lack is skipped and says which
# make bench   the figures of the README, as ratios measured side by side
# make simulate the promise on 10,000 random days of virtual time; SEED=N tells one scenario again
# make mutants bugs planted one by one, and whether the simulator finds each
# make chaos   the promise with real processes: kill -9, 500 times and more; SECONDS=60, SEED=1
# make fuzz    coverage-guided fuzzing of all that reads what comes from outside: ten minutes a parser
# make lint    ruff, mypy, import contracts only
# make kube    build kube-apiserver, etcd and kubectl for the tests, once, into ~/.cache; needs Go
SHELL := /bin/bash
PYTHON ?= python3
UV_VERSION := 0.9.9
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench simulate mutants chaos fuzz lint kube format clean

$(VENV)/.synced: pyproject.toml uv.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode
	touch $@

demo: $(VENV)/.synced
	$(BIN)/refresher demo

lint: $(VENV)/.synced
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest

bench: $(VENV)/.synced
	PYTHONPATH=. $(BIN)/python tests/bench/bench.py $(ONLY)

fuzz: $(VENV)/.synced
	$(BIN)/uv sync --quiet --frozen --inexact --group fuzz
	PYTHONPATH=. $(BIN)/python tests/fuzz/run.py --seconds $(or $(SECONDS),600) $(ONLY)

chaos: $(VENV)/.synced
	PYTHONPATH=. $(BIN)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

simulate: $(VENV)/.synced
	$(BIN)/python -m tests.simulation.campaign $(if $(SEED),--seed $(SEED))

mutants: $(VENV)/.synced
	$(BIN)/python -m tests.simulation.mutants

kube:
	$(PYTHON) tests/kube/binaries.py

format: $(VENV)/.synced
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
