# The verbs of this project. CI runs `make lint` and `make test`, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools

.PHONY: app bench lint setup test assets

setup: $(READY)

# The stamp carries the requirements it was made from: a change of pins installs again.
$(READY): requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	touch $(READY)

# Dependency groups need a pip that is newer than the one of Python 3.11.
$(TOOLS): $(READY) pyproject.toml
	$(PIP) "pip>=25.1"
	$(PIP) -r requirements.txt --group test
	touch $(TOOLS)

app: setup
	$(BIN)/python -m streamlit run app.py

test: $(TOOLS)
	$(BIN)/python -m pytest

lint: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(TOOLS)
	$(BIN)/python -m tests.benchmarks.bench

assets: setup
	$(BIN)/python assets/record_runs.py
