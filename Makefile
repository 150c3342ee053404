# make demo    see it work, against an Inlive API on this machine; ends by itself
# make test    every check and test; what needs a tool you lack is skipped and says which
# make bench   the figures of the README, as ratios measured side by side
# make simulate the promise on 10,000 random days of virtual time; SEED=N tells one scenario again
# make mutants bugs planted one by one, and whether the simulator or the tests of the core find each
# make chaos   the promise with real processes: kill -9, 500 times and more; SECONDS=60, SEED=1
# make fuzz    coverage-guided fuzzing of all that reads what comes from outside: ten minutes a parser
# make lint    ruff, mypy, import contracts only
# make image   the container image, with podman (ENGINE=buildah); BASE_IMAGE=... for another base
# make test-image  build it twice over a Debian made here and run it, as a container; needs podman, runc, mmdebstrap
# make bench-image what it adds to its base, and how soon it starts
# make requirements  what the image installs, and uv itself, written anew from uv.lock
# make chart   what the values of the Helm chart may be, written anew from the program's options
# make kube    build kube-apiserver, etcd and kubectl for the tests, once, into ~/.cache; needs Go
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The image. As in others that are built reproducibly, its files are as old as an archive can have it (ZIP: 1980), so that what
# has not changed is the same layer in the next version; when it was committed, a label says.
ENGINE ?= podman
BASE_IMAGE ?=
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' refresher/__init__.py)
IMAGE ?= inlive-token-refresher:$(VERSION)
SOURCE_DATE_EPOCH ?= 315532800
ANNOTATED = version=$(VERSION) revision=$(shell git rev-parse HEAD) \
	created=$(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)
SYNC = $(BIN)/uv sync --quiet --frozen --inexact --extra kubernetes
EXPORT = $(BIN)/uv export --quiet --frozen --no-emit-project --no-header --no-annotate

.PHONY: demo test bench simulate mutants chaos fuzz lint image test-image bench-image requirements chart kube format clean

$(VENV)/.synced: pyproject.toml uv.lock release/uv.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement release/uv.txt
	$(SYNC) --compile-bytecode
	touch $@

demo: $(VENV)/.synced
	$(BIN)/refresher demo

lint: $(VENV)/.synced
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest --numprocesses=2 --dist=loadfile  # mostly they wait: for a lease to end, for a process to start

bench: $(VENV)/.synced
	PYTHONPATH=. $(BIN)/python tests/bench/bench.py $(ONLY)

fuzz: $(VENV)/.synced
	$(SYNC) --group fuzz
	PYTHONPATH=. $(BIN)/python tests/fuzz/run.py --seconds $(or $(SECONDS),600) $(ONLY)

chaos: $(VENV)/.synced
	PYTHONPATH=. $(BIN)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

simulate: $(VENV)/.synced
	$(BIN)/python -m tests.simulation.campaign $(if $(SEED),--seed $(SEED))

mutants: $(VENV)/.synced
	$(BIN)/python -m tests.simulation.mutants

image:
	$(ENGINE) build $(BUILD_FLAGS) --timestamp=$(SOURCE_DATE_EPOCH) $(addprefix --build-arg=BASE_IMAGE=,$(BASE_IMAGE)) \
		$(addprefix --label=org.opencontainers.image.,$(ANNOTATED)) --tag $(IMAGE) .

test-image: $(VENV)/.synced
	$(BIN)/pytest --timeout=300 tests/image  # the first test waits for a Debian, packages and a build

bench-image: $(VENV)/.synced
	$(BIN)/python -m tests.image

# Without aiohttp: the Kubernetes client has it for its asynchronous half, which the image does not.
requirements: $(VENV)/.synced
	$(EXPORT) --no-dev --extra kubernetes --prune aiohttp --prune aiohttp-retry --output-file deploy/image/requirements.txt
	$(EXPORT) --only-group build --output-file deploy/image/build-requirements.txt
	$(EXPORT) --only-group uv --output-file release/uv.txt

chart: $(VENV)/.synced
	$(BIN)/python -m release.chart

kube:
	$(PYTHON) tests/kube/binaries.py

format: $(VENV)/.synced
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
