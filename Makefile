# Few verbs. The environment is remade only when the lock file or pyproject.toml changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.DEFAULT_GOAL := help
.PHONY: help env up lint docs clean
.PHONY: test test-watch test-pages test-deploy test-systemd test-images mutants faults model fuzz storm soak ids
.PHONY: bench bench-gate bench-peers scale
.PHONY: sbom audit

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

env: $(STAMP) ## the virtual environment, exactly as locked

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

up: env ## the whole system in the foreground; Ctrl-C ends it
	@exec $(BIN)/muster up $(ARGS)

test: env ## all tests, six at a time (about ten minutes)
	$(BIN)/python -m pytest tests -n 6 --dist worksteal $(ARGS)

lint: env ## style, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

bench: env ## CPU per heartbeat and bytes per node, beside the targets
	$(BIN)/python -m bench $(ARGS)

bench-gate: env ## half a minute: has a heartbeat become dearer, beside the same floors?
	$(BIN)/python -m bench.gate $(ARGS)

PEERS := .venv-peers/installed

$(PEERS): bench/peers/requirements.lock
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --disable-pip-version-check --quiet --require-hashes -r bench/peers/requirements.lock
	touch $(PEERS)

bench-peers: env $(PEERS) ## the same heartbeats beside a plain FastAPI registry and etcd (Debian: etcd-server)
	$(BIN)/python -m bench.peers $(ARGS)

scale: env ## 50 000 sockets, many nodes in a Cluster, how costs grow: half an hour, nothing beside it
	$(BIN)/python -m bench.scale.sockets --nodes 10000
	$(BIN)/python -m bench.scale.sockets --nodes 50000
	$(BIN)/python -m bench.scale.store $(ARGS)
	$(BIN)/python -m bench.scale.series
	$(BIN)/python -m bench.scale.growth

mutants: env ## break each guard in turn: the suite must fail every time
	$(BIN)/python -m tests.mutants $(ARGS)

test-watch: env ## metrics, alerts, dashboards, load balancers, with a real Prometheus, nginx, HAProxy
	$(BIN)/python -m pytest tests/watch $(ARGS)

test-pages: env ## the pages in a real browser: all of it, with 10 000 machines and pictures
	$(BIN)/python -m pytest tests/pages -m "pages or not pages" $(ARGS)

test-deploy: env ## the chart by real Helm, Compose run as processes, systemd units: shapes and meaning
	-@$(BIN)/python -m tests.deploy.tools >/dev/null
	$(BIN)/python -m pytest tests/deploy -n 2 $(ARGS)

test-systemd: env ## docs/systemd.md done on a machine that systemd boots, as root; writes deploy/systemd.txt
	$(BIN)/python -m tests.deploy.booted $(ARGS)

test-images: env ## both images built by buildah and run, as root; writes deploy/images.txt
	$(BIN)/python -m tests.deploy.images $(ARGS)

model: env ## plays the model of a node's life from a new seed, which it prints
	$(BIN)/python -m tests.model $(ARGS)

faults: env ## every fault of the list, a quarter of an hour; writes docs/reliability.md
	$(BIN)/python -m tests.faults $(ARGS)

fuzz: env ## bytes that nobody meant, a minute for each reader of strangers' bytes
	$(BIN)/python -m tests.fuzz $(ARGS)

storm: env ## 20 000 nodes whose gateways all die at once; writes docs/storm.txt, nothing beside it
	$(BIN)/python -m tests.attack.storm $(ARGS)

soak: env ## 10 000 sockets for half an hour with mild chaos; writes docs/soak, nothing beside it
	$(BIN)/python -m tests.soak $(ARGS)

ids: env ## a million distinct ids, and what grows in whom; writes docs/ids.txt
	$(BIN)/python -m tests.attack.ids $(ARGS)

sbom: env ## what Muster is made of, as CycloneDX: build/muster.cdx.json
	@mkdir -p build
	$(BIN)/python deploy/sbom.py > build/muster.cdx.json

audit: ## known holes in what is locked; asks PyPI's database of advisories
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --disable-pip-version-check --quiet pip-audit
	build/audit/bin/python deploy/audit.py build/audit/bin/pip-audit $(ARGS)

docs: env ## draw the diagrams, tables and panels of docs/ from the code and a running system
	$(BIN)/python -m sweeper.diagram $(ARGS)
	$(BIN)/python -m tests.support.pictures
	$(BIN)/python -m tests.support.screens
	$(BIN)/python -m tests.support.handbook
	$(BIN)/python -m tests.support.measures
	$(BIN)/python -m tests.examples $(ARGS)
	$(BIN)/python -m gateway.api.document $(ARGS)
	$(BIN)/python -m gateway.api.asyncapi $(ARGS)
	$(BIN)/python -m tests.deploy.document

clean: ## everything a working copy makes
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
