# make demo and make test set everything up first. VENV=folder puts the environment elsewhere, PYTHON=python3.11 picks
# another interpreter to make it with, WORKERS=4 tests in four processes, of 2 GB each.

VENV ?= .venv
PYTHON ?= python3
WORKERS ?= 2
BIN := $(abspath $(VENV))/bin
INSTALLED := $(VENV)/.condense-installed

.PHONY: setup demo test lint types clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt tools/system_libraries.sh
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[lite,dev]'
	bash tools/system_libraries.sh $(BIN)/python
	touch $@

demo: $(INSTALLED)
	PATH="$(BIN):$$PATH" bash examples/01_train_and_query.sh

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(INSTALLED)
	$(BIN)/pyright --pythonpath $(BIN)/python

# The environment stays: it takes minutes to make.
clean:
	rm -rf build dist *.egg-info outputs demo_out .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
