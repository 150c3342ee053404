# make demo          shows the refresher at work, with an Inlive API on this machine; ends by itself
# make test          runs every check and test; skips a test whose tool is missing, and names the tool
# make lint          runs only ruff, mypy and the import contracts
# make bench         measures the figures of the README
# make simulate      tests the promise on 10,000 random days of virtual time; SEED=N repeats one scenario
# make mutants       plants bugs one by one: do the simulator or the tests of the core find each?
# make chaos         tests the promise with real processes: kill -9, at least 500 times; SECONDS=60, SEED=1
# make fuzz          fuzzes everything that reads outside input, guided by coverage: ten minutes a parser
# make image         builds the container image with podman (ENGINE=buildah); BASE_IMAGE=... for another base
# make test-image    builds it twice on a Debian made here, and runs it; needs podman, runc, mmdebstrap
# make bench-image   measures its size without the base, and its start
# make requirements  writes the image's dependencies and those of uv, from uv.lock
# make chart         writes the schema of the Helm chart's values, from the program's options
# make crd           writes the custom resource AccessToken and the chart's copy, from the program's options
# make alerts        copies deploy/alerts.yaml and dashboard.json to the kustomize components and to the Helm chart
# make kube          builds kube-apiserver, etcd and kubectl for the tests, once, into ~/.cache; needs Go
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The image is reproducible: its files have the earliest date of a ZIP archive, 1980, so an unchanged layer stays the same in the
# next version. A label has the time of the commit.
ENGINE ?= podman
BASE_IMAGE ?=
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' refresher/__init__.py)
IMAGE ?= inlive-token-refresher:$(VERSION)
SOURCE_DATE_EPOCH ?= 315532800
ANNOTATED = version=$(VERSION) revision=$(shell git rev-parse HEAD) \
	created=$(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)
SYNC = $(BIN)/uv sync --quiet --frozen --inexact --extra kubernetes
EXPORT = $(BIN)/uv export --quiet --frozen --no-emit-project --no-header --no-annotate

.PHONY: demo test bench simulate mutants chaos fuzz lint image test-image bench-image requirements chart crd alerts kube format clean

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
	$(BIN)/pytest --numprocesses=3 --dist=loadfile  # the tests mostly wait: for a lease to end, for a process to start

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
	$(BIN)/pytest --timeout=300 tests/image  # the first test waits for a Debian, its packages and a build

bench-image: $(VENV)/.synced
	$(BIN)/python -m tests.image

# Without aiohttp: only the asynchronous half of the Kubernetes client needs it, and the image leaves that out.
requirements: $(VENV)/.synced
	$(EXPORT) --no-dev --extra kubernetes --prune aiohttp --prune aiohttp-retry --output-file deploy/image/requirements.txt
	$(EXPORT) --only-group build --output-file deploy/image/build-requirements.txt
	$(EXPORT) --only-group uv --output-file release/uv.txt

chart: $(VENV)/.synced
	$(BIN)/python -m release.chart

crd: $(VENV)/.synced
	$(BIN)/python -m release.crd

alerts: $(VENV)/.synced
	$(BIN)/python -m release.alerts

kube:
	$(PYTHON) tests/kube/binaries.py

format: $(VENV)/.synced
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
