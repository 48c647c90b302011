# hazlink: two commands for everybody (demo, test), a few for those who build it.
# Each makes what it needs; a fresh machine needs Python 3.11+ and make, nothing else.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST_WORKERS ?= auto
PROTOS := $(wildcard proto/*.proto)

.PHONY: help demo test mutants check fmt proto proto-check lock bundle clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "hazlink needs Python 3.11 or newer / 需要 Python 3.11 或更高版本"; exit 1; }
	@echo "making the virtual environment $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt requirements-build.txt pyproject.toml | $(BIN)/python
	@echo "installing the pinned requirements (hash-checked); this takes a minute the first time"
	@$(PIP) install --require-hashes -r requirements-build.txt
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo "installing the pinned test requirements (hash-checked)"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

demo: $(VENV)/.runtime ## four real nodes on loopback run the whole story, then stop
	@$(BIN)/hazlink demo --once

test: $(VENV)/.dev ## every test that needs no system package
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder --durations=25 --durations-min=5

mutants: $(VENV)/.dev ## change the code that verifies in thousands of ways: a test has to notice each (half an hour)
	@$(BIN)/python -m tests.mutation $(MODULES)

check: $(VENV)/.dev proto-check ## format, lint, types, import contracts, generated code, documents
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/docs

fmt: $(VENV)/.dev ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

proto: $(VENV)/.dev ## regenerate the modules beside the .proto files
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

proto-check: $(VENV)/.dev
	@mkdir -p build/proto-check
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=build/proto-check --pyi_out=build/proto-check \
	  --grpc_python_out=build/proto-check $(PROTOS)
	@for f in build/proto-check/proto/*.py*; do cmp "$$f" "proto/$$(basename $$f)" || \
	  { echo "generated code is out of date: run 'make proto'"; exit 1; }; done

COMPILE := $(BIN)/pip-compile -q --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
  --no-emit-trusted-host --strip-extras --allow-unsafe

lock: $(VENV)/.dev ## pin the requirements anew, without addresses
	@$(COMPILE) -o requirements-build.txt requirements-build.in
	@$(COMPILE) -o requirements.txt pyproject.toml
	@$(COMPILE) -o requirements-dev.txt --extra dev pyproject.toml

bundle: $(VENV)/.dev ## an offline installation for air-gapped plants in dist/
	@sh packaging/bundle.sh $(BIN)/python dist

clean: ## remove what can be made again
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
