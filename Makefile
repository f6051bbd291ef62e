# The verbs of this project. CI runs `make lint` and `make test`, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: app bench lint setup test assets

setup: $(READY)

# The stamp carries the requirements it was made from: a change of pins installs again.
$(READY): requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.txt
	touch $(READY)

app: setup
	$(BIN)/python -m streamlit run app.py

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m tests.benchmarks.bench

assets: setup
	$(BIN)/python assets/record_runs.py
