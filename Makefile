# Needs make and a Python of at least 3.11; everything else goes into .venv.
# PYTHON=/path/to/python says which one; without it the newest on PATH that really runs is taken.

PYTHON ?=

VENV := .venv
BIN  := $(VENV)/bin
RUN  := $(BIN)/python -m

# Only folders that are there: some come into being as the project grows.
CHECKED := $(wildcard sansio_stream adapters tests typing_tests benchmarks fuzz examples docs .ci)

# Tests that no branch of the core needs, and that wait for servers.
WITH_SERVERS := adapters aiohttp big_chunks bridge cli client_pages clients_table connections \
  deadlines decoding failure_messages fork hostile_files hostile_words lifetimes no_pool opening record \
  recording_files recordings secrets serve serve_limits sockets trio waits

# How long `make fuzz` and `make deep` may run.
SECONDS := 600

.PHONY: help demo test coverage check lint types contracts bench record icount fuzz deep peers mutants clean

help:  ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /make \1|/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## /make \1: /p' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp  ## replay a recorded stream: what a first look at the project is like
	@$(BIN)/sansio-stream replay examples/thinking-and-tool-use.capture.jsonl

test: $(VENV)/dev.stamp  ## run the tests
	@$(RUN) pytest --numprocesses auto

coverage: $(VENV)/dev.stamp  ## run the tests and demand every branch of the core
	@$(RUN) coverage run -m pytest --quiet -m 'not exhaustive' \
	  $(patsubst %,--ignore=tests/test_%.py,$(WITH_SERVERS))
	@$(RUN) coverage report

check: lint types contracts  ## lint, format, types, import contracts

lint: $(VENV)/dev.stamp
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .

types: $(VENV)/dev.stamp
	@$(RUN) mypy $(CHECKED)
	@$(RUN) pyright

contracts: $(VENV)/dev.stamp
	@$(BIN)/lint-imports --no-cache

# OPTIONS="--quick --only pipeline" measures less; see `benchmarks/README.md`.
bench: $(VENV)/bench.stamp  ## measure us, the peers and a bare json.loads, and print the table of targets
	@$(BIN)/python benchmarks/bench.py $(OPTIONS)

record: $(VENV)/bench.stamp  ## measure, and write the figures and plots for this Python into docs/speed.md
	@$(BIN)/python benchmarks/bench.py --record
	@$(BIN)/python benchmarks/page.py

icount: $(VENV)/dev.stamp  ## count instructions per event, and compare with those that are kept
	@$(BIN)/python benchmarks/icount.py $(OPTIONS)

fuzz: $(VENV)/fuzz.stamp  ## look for bytes that break a promise, for SECONDS=600 over all targets
	@$(BIN)/python fuzz/run.py --seconds $(SECONDS)

# A failure ends the run at once (-x), so that time being up can only mean that none was found.
deep: $(VENV)/dev.stamp  ## try thousands of examples on each property, for SECONDS=600 at most
	@HYPOTHESIS_PROFILE=deep timeout --signal=INT $(SECONDS) $(RUN) pytest -x -m hypothesis \
	  || { status=$$?; [ $$status -eq 124 ] && echo "$(SECONDS) s are up, no counterexample found" \
	       || exit $$status; }

# Checked here and not by `make types`, which does not need the peers.
peers: $(VENV)/peers.stamp  ## compare with the official SDK and with jiter
	@$(RUN) mypy $(CHECKED) peers
	@$(RUN) pyright peers
	@$(RUN) pytest peers

# MODULES="sse snapshot" takes some of the modules only. Checked here, because only this needs mutmut.
mutants: $(VENV)/mutants.stamp  ## change the core in small ways and see whether a test notices: an hour
	@$(RUN) mypy mutants
	@nice -n 15 $(BIN)/python mutants/make_mutants.py $(MODULES)

clean:  ## remove what make, the tests and the tools left here
	rm -rf $(VENV) .coverage .fuzz .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache \
	  build dist htmlcov
	find $(CHECKED) peers mutants -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment. A stamp, not bin/python: that exists even where making it failed half-way.
$(VENV)/venv.stamp:
	@for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	  "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	    2>/dev/null || continue; \
	  echo "Making $(VENV) with $$python"; \
	  exec "$$python" -m venv --clear $(VENV); \
	done; \
	echo "No Python >= 3.11 with venv found. Name one: make PYTHON=/path/to/python" >&2; exit 1
	@touch $@

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/venv.stamp
	@$(RUN) pip install --quiet --editable '.[cli]'
	@touch $@

# Dependency groups need pip 25.1; Python 3.11 comes with an older one.
$(VENV)/dev.stamp: pyproject.toml | $(VENV)/venv.stamp
	@$(RUN) pip install --quiet --upgrade 'pip>=25.1'
	@$(RUN) pip install --quiet --editable . --group dev
	@touch $@

$(VENV)/peers.stamp: $(VENV)/dev.stamp
	@$(RUN) pip install --quiet --group peers \
	  || { echo "No peers here: anthropic and jiter cannot be had for this Python" >&2; exit 1; }
	@touch $@

# Measuring without the peers is worth something too.
$(VENV)/bench.stamp: $(VENV)/dev.stamp
	@$(RUN) pip install --quiet --group bench && touch $@ \
	  || echo "The peers cannot all be had for this Python: the missing ones are left out" >&2

$(VENV)/mutants.stamp: $(VENV)/dev.stamp
	@$(RUN) pip install --quiet --group mutants
	@touch $@

# There are wheels for Linux on x86-64 only, and from source the fuzzer needs a clang.
$(VENV)/fuzz.stamp: pyproject.toml | $(VENV)/venv.stamp
	@$(RUN) pip install --quiet --upgrade 'pip>=25.1' \
	  && $(RUN) pip install --quiet --only-binary atheris --editable . --group fuzz \
	  && $(BIN)/python -c 'import atheris' \
	  || { echo "No fuzzing here: atheris cannot be had for this Python and platform" >&2; exit 1; }
	@touch $@
