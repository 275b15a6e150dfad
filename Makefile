# Everything runs in an environment of its own: .venv, made from the hashed lock.
# All it asks of the machine: apt install make python3-venv
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.locked
LAB    ?= demo

.PHONY: help demo test unit lint cluster lock os-packages clean
help:
	@echo 'make demo   a highly available cluster on five local hosts (root, Linux)'
	@echo 'make test   every test, the cluster tests included (root, Linux)'
	@echo 'make unit   the tests that need no host;  make lint;  make lock'

$(STAMP): requirements/lock.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lock.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

os-packages:
	@sh tests/os-packages.sh

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(STAMP)
	$(BIN)/pytest -m 'not cluster'

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-annotate --no-header --all-extras pyproject.toml -o requirements/lock.txt

clean:
	rm -rf $(VENV)
