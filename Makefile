# Everything from a fresh machine: each target makes the virtual environment it needs.
# TORCH=cpu takes PyTorch's build without CUDA, a quarter of the download; so does any other name of
# one of PyTorch's indexes, such as cu128. It decides when .venv is first made.
PYTHON ?= python3
TORCH ?=
BIN := .venv/bin

.PHONY: cluster drums test check bench gpu results docs browser node

drums: .venv/installed
	$(BIN)/splat-uff train --scene drums --resume

# A file on each core, four at most; then, by themselves, those that wait for a browser or processes.
test: .venv/installed-dev browser node
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	--ignore tests/browser --ignore tests/batch
	$(BIN)/python -m pytest tests/browser tests/batch

# Tests of the page drive a real browser. Root gets Debian's; without any, they are skipped.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || test -n "$$CHROMIUM" \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && { apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }; } \
	|| echo 'No Chromium, and it cannot be installed here: tests of the page are skipped.'

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# Tests of file formats let programs of others read what we write. Without node, they are skipped.
node:
	@command -v npm >/dev/null \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && { apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nodejs npm >/dev/null; }; } || true
	@npm ci --prefix tests/node --silent --no-audit --no-fund \
	|| echo 'npm packages cannot be installed here: tests with other programs are skipped.'

# A batch on a cluster of two nodes, one of which is killed. Needs a machine with nothing else to do.
cluster: .venv/installed-dev
	$(BIN)/python -m pip install --quiet --editable ".[cluster]"
	SPLAT_UFF_CLUSTER=1 $(BIN)/python -m pytest tests/batch/test_cluster.py

bench: .venv/installed
	$(BIN)/splat-uff bench --compare benchmarks/baseline.json

# Everything that needs a CUDA device: tests, timings and trainings, written to benchmarks/gpu*.json.
gpu: .venv/installed-dev
	$(BIN)/python benchmarks/gpu.py --check
	$(BIN)/python -m pytest -m gpu
	$(BIN)/splat-uff bench --device cuda --output benchmarks/gpu_bench.json
	$(BIN)/python benchmarks/gpu.py --output benchmarks/gpu.json

# The headline table: every built-in scene with three seeds. Hours; cut off, it goes on.
results: .venv/installed
	$(BIN)/python benchmarks/results.py runs/headline --output benchmarks/headline.json
	$(BIN)/python tools/update_readme.py

# The documentation site, in site/. Fails on a dead link or a page that the menu lacks.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(if $(TORCH),$(BIN)/python -m pip install --quiet torch torchvision \
	--index-url https://download.pytorch.org/whl/$(TORCH))
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@
