# Everything runs in a virtual environment of its own, made on first use from constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint format clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(READY)  ## make the virtual environment

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; set PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

demo: $(READY)  ## train ARM on generated street scenes, evaluate, draw (minutes on two cores)
	$(BIN)/python -m arm_jax.main --config configs/demo.py --workdir runs/demo
	$(BIN)/python -m arm_jax.main --config configs/demo.py --workdir runs/demo --mode report

test: $(READY)  ## the tests but the slow ones (under 10 minutes on two cores)
	$(BIN)/python -m pytest -n 2

test-slow: $(READY)  ## the slow tests
	$(BIN)/python -m pytest -m slow

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## rewrite the files in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and the runs
	rm -rf $(VENV) runs
