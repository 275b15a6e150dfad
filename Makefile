# Everything runs in an environment of its own: .venv, made from the hashed lock.
# All it asks of the machine: apt install make python3-venv
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.locked
# A lab, and with it whatever needs one, is root's.
SUDO   := $(if $(filter 0,$(shell id -u)),,sudo -E)
KW     := $(SUDO) $(BIN)/kubewright

.PHONY: help demo test soak unit simulation others lint bench lock clean
help:
	@echo 'make demo   a highly available cluster on five local hosts (root or sudo, Debian 12 or Ubuntu 24.04)'
	@echo 'make test   the tests, those on clusters included (root or sudo)'
	@echo 'make soak   proofs that take longer, kills at random moments among them (root or sudo); resumes where it was stopped'
	@echo 'make unit   the tests that need no host; make lint; make bench; make lock'

$(STAMP): requirements/lock.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lock.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(STAMP)
	@requirements/os-packages.sh demo
	$(KW) lab status >/dev/null 2>&1 || $(KW) lab up
	$(KW) artifacts fetch -i inventories/lab
	$(KW) artifacts clean
	$(KW) apply -i inventories/lab
	$(KW) verify -i inventories/lab
	$(KW) kubectl -i inventories/lab -- get nodes -o wide
	@echo 'yours: $(KW) kubectl -i inventories/lab -- get pods -A;  take it down: $(KW) lab down'

# Clusters in a process of their own: gevent, which other tests import, makes one of all threads, and a lab host's network is a
# thread's.
test: $(STAMP) lint
	@requirements/os-packages.sh test
	$(KW) artifacts fetch --test
	$(KW) artifacts clean
	@status=0; $(MAKE) unit || status=1; $(SUDO) $(BIN)/pytest tests/cluster || status=1; exit $$status

# Prints counts at the end. .soak.json records finished proofs; SOAK=--from-start deletes it.
soak: $(STAMP)
	@requirements/os-packages.sh test
	$(KW) artifacts fetch --test
	$(SUDO) $(BIN)/python -m tests.soak $(SOAK)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Ratios measured in one run; no figure fails anything.
bench: $(STAMP)
	$(KW) artifacts fetch
	$(SUDO) $(BIN)/python -m benchmarks

# Two at once; the output of each comes when it ends.
unit: $(STAMP)
	@$(MAKE) --no-print-directory --output-sync=target --keep-going -j2 simulation others

simulation: $(STAMP)
	$(BIN)/pytest tests/simulation

others: $(STAMP)
	$(BIN)/pytest -m 'not cluster' --ignore=tests/simulation

# Hashes, no index addresses: the machine's own pip settings say where packages come from.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-annotate --no-header --group dev pyproject.toml -o requirements/lock.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
