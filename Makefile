# This file needs make and Python 3.11 or newer. It installs everything else into .venv.
# PYTHON=/path/to/python selects the Python. The default is the newest one on PATH that works.

PYTHON ?=

VENV := .venv
BIN  := $(VENV)/bin
RUN  := $(BIN)/python -m

# The folders that mypy checks. wildcard leaves out those that do not exist.
CHECKED := $(wildcard sansio_stream adapters tools tests typing_tests benchmarks fuzz examples docs scale .ci)

# Without compiled modules, each test process and each command that a test starts compiles everything
# again. `make clean` removes them.
unexport PYTHONDONTWRITEBYTECODE

# Tests that `make coverage` leaves out: they wait for servers, and the coverage of the core does not
# need them.
WITH_SERVERS := adapters aiohttp big_chunks bridge cli client_pages clients_table connections \
  convert_command deadlines decoding failure_messages fork gateway hostile_files hostile_words \
  lifetimes no_pool opening record recording_files recordings replay_command replay_transport \
  report_command sdk_clients secrets serve serve_limits sockets trace_command transports trio waits

# `make coverage` leaves these out, too: they test the tools and the pages, and no branch of the core
# needs them.
WITHOUT_CORE := benchmarks docs formats http11 minimum_versions readme report_table sources structure \
  table_command table_run testing_page

# The time limit of `make fuzz` and `make deep`, in seconds.
SECONDS := 600

.PHONY: help demo test coverage check lint types contracts bench record icount steps fuzz deep peers mutants scale clean

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /make \1|/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## /make \1: /p' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp  ## replay a recorded stream, as a first look at the project
	@$(BIN)/sansio-stream replay --demo

test: $(VENV)/dev.stamp  ## run the tests
	@$(RUN) pytest --numprocesses auto

coverage: $(VENV)/dev.stamp  ## run the tests, and fail unless they cover every branch of the core
	@$(RUN) coverage run -m pytest --quiet -m 'not exhaustive' \
	  $(patsubst %,--ignore=tests/test_%.py,$(WITH_SERVERS) $(WITHOUT_CORE))
	@$(RUN) coverage report

check: lint types contracts  ## run the linter, the formatter, the type checkers and the import contracts

lint: $(VENV)/dev.stamp
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .

types: $(VENV)/dev.stamp
	@$(RUN) mypy $(CHECKED)
	@$(RUN) pyright

contracts: $(VENV)/dev.stamp
	@$(BIN)/lint-imports --no-cache

# OPTIONS="--quick --only pipeline" measures less; see `benchmarks/README.md`.
bench: $(VENV)/bench.stamp  ## measure this library, the peers and json.loads, and print the table of targets
	@$(BIN)/python benchmarks/bench.py $(OPTIONS)

record: $(VENV)/bench.stamp  ## measure, and write the results for this Python to docs/speed.md
	@$(BIN)/python benchmarks/bench.py --record
	@$(BIN)/python benchmarks/page.py

icount: $(VENV)/dev.stamp  ## count instructions per event, and compare with the stored counts
	@$(BIN)/python benchmarks/icount.py $(OPTIONS)

steps: $(VENV)/dev.stamp  ## count the opcodes that reading ordinary streams takes
	@$(BIN)/python benchmarks/steps.py $(OPTIONS)

fuzz: $(VENV)/fuzz.stamp  ## search for bytes that break a promise; SECONDS=600 is the time for all targets
	@$(BIN)/python fuzz/run.py --seconds $(SECONDS)

# A failure ends the run at once (-x). So a timeout (124) means that no failure was found. One property
# may take longer than the time limit of a test.
deep: $(VENV)/dev.stamp  ## test each property with thousands of examples, for at most SECONDS=600
	@HYPOTHESIS_PROFILE=deep timeout --signal=INT $(SECONDS) $(RUN) pytest -x -m hypothesis \
	  --override-ini faulthandler_timeout=0 \
	  || { status=$$?; [ $$status -eq 124 ] && echo "Stopped after $(SECONDS) s. No counterexample was found." \
	       || exit $$status; }

# mypy and pyright check this folder here, because `make types` works without the peers.
peers: $(VENV)/peers.stamp  ## compare with the official SDK and jiter, and run tests of others over our clients
	@$(RUN) mypy $(CHECKED) peers
	@$(RUN) pyright peers
	@$(RUN) pytest peers --ignore=peers/frameworks
	@$(BIN)/python peers/other_suites.py $(VENV)/other-suites

# OPTIONS="sse snapshot" selects modules, and OPTIONS="--share 0.1" a tenth of the changes. mypy checks
# the folder here, because only this target installs mutmut.
mutants: $(VENV)/mutants.stamp  ## make small changes to the core, and list those that no test detects (some hours)
	@$(RUN) mypy mutants
	@nice -n 15 $(BIN)/python mutants/make_mutants.py $(OPTIONS)

# Ray and Dask bring many packages, so they have a venv of their own.
scale: $(VENV)/scale.stamp  ## report 20,000 bodies locally, by Ray and by Dask, and measure them (half an hour)
	@$(VENV)/scale/bin/python -m pytest scale -rs --override-ini faulthandler_timeout=0
	@$(VENV)/scale/bin/python scale/figures.py $(OPTIONS)

clean:  ## remove the files that make, the tests and the tools have created
	rm -rf $(VENV) .coverage .fuzz .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache \
	  .mutants build dist htmlcov
	find $(CHECKED) peers mutants -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment. The target is a stamp and not bin/python, because bin/python also exists
# if venv failed half-way.
$(VENV)/venv.stamp:
	@for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	  "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	    2>/dev/null || continue; \
	  echo "Making $(VENV) with $$python"; \
	  exec "$$python" -m venv --clear $(VENV); \
	done; \
	echo "No Python >= 3.11 with venv was found. Select one: make PYTHON=/path/to/python" >&2; exit 1
	@touch $@

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/venv.stamp
	@$(RUN) pip install --quiet --editable '.[cli]'
	@touch $@

# Dependency groups need pip 25.1. Python 3.11 includes an older version.
$(VENV)/dev.stamp: pyproject.toml | $(VENV)/venv.stamp
	@$(RUN) pip install --quiet --upgrade 'pip>=25.1'
	@$(RUN) pip install --quiet --editable . --group dev
	@touch $@

$(VENV)/peers.stamp: $(VENV)/dev.stamp
	@$(RUN) pip install --quiet --group peers \
	  || { echo "The peers (anthropic, jiter) cannot be installed for this Python" >&2; exit 1; }
	@touch $@

# The benchmarks also run without some of the peers.
$(VENV)/bench.stamp: $(VENV)/dev.stamp
	@$(RUN) pip install --quiet --group bench && touch $@ \
	  || echo "Some peers cannot be installed for this Python. They are not measured" >&2

$(VENV)/mutants.stamp: $(VENV)/dev.stamp
	@$(RUN) pip install --quiet --group mutants
	@touch $@

# Without Ray or Dask, their tests are left out.
$(VENV)/scale.stamp: pyproject.toml | $(VENV)/venv.stamp
	@$(BIN)/python -m venv $(VENV)/scale
	@$(VENV)/scale/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(VENV)/scale/bin/python -m pip install --quiet --editable '.[cli,table]' --group scale
	@for engine in ray dask; do \
	  $(VENV)/scale/bin/python -m pip install --quiet --editable ".[$$engine]" \
	    || echo "LEFT OUT: $$engine cannot be installed for this Python" >&2; \
	done
	@touch $@

# atheris has wheels only for Linux on x86-64. Building it from source needs clang.
$(VENV)/fuzz.stamp: pyproject.toml | $(VENV)/venv.stamp
	@$(RUN) pip install --quiet --upgrade 'pip>=25.1' \
	  && $(RUN) pip install --quiet --only-binary atheris --editable . --group fuzz \
	  && $(BIN)/python -c 'import atheris' \
	  || { echo "The fuzzer (atheris) cannot be installed for this Python and platform" >&2; exit 1; }
	@touch $@
