# Everything runs in a virtual environment of its own, made on first use from constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
AOT := .venv-aot
NEWEST := .venv-newest
DOCS := .venv-docs
LOWEST := .venv-lowest
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-long campaign test-newest test-lowest lint aot aot-cuda compiled docs format clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(READY)  ## make the virtual environment

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; set PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

demo: $(READY)  ## train ARM on generated street scenes, evaluate, leave a page (minutes on two cores)
	$(BIN)/python -m arm_jax.main --config configs/demo.py --workdir runs/demo

# A step of a test is compiled for seconds and runs once or twice, so XLA compiles it in its quickest
# way, a third of the usual time. The second flag is one of the pinned jaxlib; later ones lack it.
QUICK := XLA_FLAGS="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false $$XLA_FLAGS"

# In order, so that what the tests of a file share is made once.
test: $(READY)  ## the tests but the slow ones (about 10 minutes on two cores)
	$(QUICK) $(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(READY)  ## the slow tests
	$(QUICK) $(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not long"

# What measures memory has the machine to itself, and the usual compiler.
FLAT := tests/run/test_flat.py
test-long: $(READY)  ## the longest, and slow ones with other networks, kinds and moments: before a release
	$(QUICK) $(BIN)/python -m pytest -n 2 --dist worksteal -m long --ignore $(FLAT)
	$(BIN)/python -m pytest -m long $(FLAT)

MINUTES ?= 60
SEED ?= 0
campaign: $(READY)  ## a campaign of faults (tests/campaign), goes on where it stopped; MINUTES=60 SEED=0
	nice -n 10 $(BIN)/python -m tests.campaign --minutes $(MINUTES) --seed $(SEED) --folder runs/campaign

# Without constraints: what pip gives today. PYTHON=python3.13 chooses another Python.
test-newest: pyproject.toml  ## the tests with the newest packages, in an environment of its own
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(NEWEST)/bin/python -m pip install --quiet --editable . --group dev
	$(NEWEST)/bin/python -m pytest -n 2

test-lowest: pyproject.toml  ## two steps of training with the oldest packages that pyproject.toml allows
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct pyproject.toml --output-file $(LOWEST)/versions.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --requirement $(LOWEST)/versions.txt
	PYTHONPATH=. $(LOWEST)/bin/python -m arm_jax.main --config configs/demo.py:smoke --workdir $(LOWEST)/run

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

aot: $(AOT)/.cuda $(AOT)/.tpu  ## the compilers for GPUs and TPUs, with no device (docs/performance.md)

aot-cuda: $(AOT)/.cuda  ## the compiler for GPUs alone (132 MB)

# Without the NVIDIA libraries, which only running needs; the plugin is of jaxlib's version.
$(AOT)/.cuda: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(AOT)
	$(AOT)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(AOT)/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	version=$$($(AOT)/bin/python -c "import jaxlib; print(jaxlib.__version__)") && \
	$(AOT)/bin/python -m pip install --quiet --no-deps "jax-cuda13-plugin==$$version" "jax-cuda13-pjrt==$$version"
	@touch $@

$(AOT)/.tpu: $(AOT)/.cuda
	$(AOT)/bin/python -m pip install --quiet --constraint constraints.txt "jax[tpu]"
	@touch $@

compiled: aot  ## the table of what compiles for which device, into runs/compiled.jsonl (hours of a CPU)
	nice -n 15 $(AOT)/bin/python scripts/benchmarks/compiled_table.py runs/compiled.jsonl

# Without the package and JAX: the reference is read from the sources.
docs: $(DOCS)/.ready  ## the site, into build/site; a warning or a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build

$(DOCS)/.ready: pyproject.toml constraints-docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(DOCS)/bin/python -m pip install --quiet --constraint constraints-docs.txt --group docs
	@touch $@

format: $(READY)  ## rewrite the files in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and the runs
	rm -rf $(VENV) $(AOT) $(NEWEST) $(LOWEST) $(DOCS) build runs
