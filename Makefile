# Everything from a fresh machine: each target makes the virtual environment it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: drums test check bench

drums: .venv/installed
	$(BIN)/splat-uff train --scene drums --resume

test: .venv/installed-dev
	$(BIN)/python -m pytest

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: .venv/installed
	$(BIN)/splat-uff bench --compare benchmarks/baseline.json

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@
