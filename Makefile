# The front door. One environment, .venv, made on first use: `demo` needs only the runtime dependencies, the rest adds the tools.
# .venv-sa20 holds SQLAlchemy 2.0, the oldest that is supported. .venv-peers holds other libraries, for a comparison.

JOBS ?= 2
BIN := .venv/bin
STEP := $(BIN)/python scripts/step.py
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# The service has the application of the orders, and so their diagram.
EXAMPLES := inventory loans orders purchases repositories
# What knows SQLAlchemy, on an asynchronous driver for one file: pictures, checks and the command line see the same of 2.0 and 2.1.
SA20_TESTS := tests/integration tests/properties tests/unit/lifecycle tests/unit/runtime tests/unit/relay
SA20_CASES := -m "not long" -k "not aiosqlite and not psycopg_async and (not asyncpg or test_execution)"

export PYTHONUNBUFFERED := 1
# Pyright's node comes with its wheel: one that happens to be installed may be too old.
export PYRIGHT_PYTHON_GLOBAL_NODE := 0
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help demo coverage test test-latest test-sa20 chaos check format lint types layers diagrams diagrams-check docs bench bench-peers clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

demo: .venv/.runtime ## run the orders example on a new SQLite file
	@$(STEP) "demo: orders on SQLite" $(BIN)/python -m examples.orders.demo

TESTS := pytest -n $(JOBS) --transition-cov --transition-cov-fail-under=100

test: test-latest test-sa20 ## run every test, on SQLite and PostgreSQL; then on SQLAlchemy 2.0

test-latest: .venv/.dev
	@$(STEP) "tests" $(BIN)/python -m $(TESTS)

# Not part of the gate: tracing each line takes half as long again.
coverage: .venv/.dev ## run every test, and say which lines none of them reached
	@$(BIN)/coverage erase
	@$(STEP) "tests" $(BIN)/coverage run -m $(TESTS)
	@$(BIN)/coverage combine --quiet
	@$(STEP) "coverage" $(BIN)/coverage report

test-sa20: .venv-sa20/.test
	@$(STEP) "tests on SQLAlchemy 2.0" .venv-sa20/bin/python -m pytest -n $(JOBS) $(SA20_CASES) $(SA20_TESTS)

# It asks what a command would meet, then runs it: 10,000 steps on each database, in the gate on SQLite only.
EXPLAIN_TEST := tests/properties/test_explain_agrees.py

# The numbers of the fault matrix. A seed that failed is named by its test: USECASECORE_SEED=... make chaos repeats it.
chaos: .venv/.dev ## inject faults for up to an hour, and count what came of them
	@$(STEP) "chaos" env USECASECORE_CHAOS=long $(BIN)/python -m pytest -n $(JOBS) --override-ini timeout=3600 tests/chaos $(EXPLAIN_TEST)

# The quick ones first.
check: format lint types layers diagrams-check docs test demo ## everything that must be green before a merge

format: .venv/.dev
	@$(STEP) "format" $(BIN)/ruff format --check

lint: .venv/.dev
	@$(STEP) "lint" $(BIN)/ruff check

types: .venv/.dev
	@$(STEP) "mypy" $(BIN)/mypy
	@$(STEP) "pyright" $(BIN)/pyright

layers: .venv/.dev
	@$(STEP) "layers" $(BIN)/lint-imports --no-logo

diagrams: .venv/.dev ## draw the lifecycles of the examples into diagrams/
	@set -e; for example in $(EXAMPLES); do $(STEP) "diagrams of $$example" \
	  $(BIN)/usecasecore diagram export --app examples.$$example.app:app -f svg,md -o diagrams/$$example; done

diagrams-check: .venv/.dev
	@set -e; for example in $(EXAMPLES); do $(STEP) "diagrams of $$example" \
	  $(BIN)/usecasecore diagram export --check --app examples.$$example.app:app -f svg,md -o diagrams/$$example; done

# Not --quiet: it silences the warnings before --strict can count them.
docs: .venv/.dev ## build the site into site/, links checked
	@$(STEP) "docs" $(BIN)/mkdocs build --strict

bench: .venv/.dev ## run the benchmarks
	@$(STEP) "benchmarks" $(BIN)/python -m benchmarks $(BENCH)

bench-peers: .venv/.dev .venv-peers/.installed ## run them beside what others would pick instead
	@$(STEP) "benchmarks of peers" $(BIN)/python -m benchmarks.peers $(BENCH)

clean: ## remove the environments and everything that is built
	rm -rf .venv .venv-sa20 .venv-peers site dist .coverage .coverage.* .usecasecore-coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

.venv/bin/python .venv-sa20/bin/python .venv-peers/bin/python:
	@python=$$(scripts/find-python) && \
	  $$python scripts/step.py "create $(@:/bin/python=)" $$python -m venv $(@:/bin/python=)

# Stamps, so that a second call installs nothing and a changed pyproject.toml installs again.
.venv/.runtime: pyproject.toml | .venv/bin/python
	@$(STEP) "install usecasecore" $(BIN)/python $(PIP_INSTALL) --editable .
	@touch $@

.venv/.dev: pyproject.toml scripts/fetch_mermaid.py | .venv/bin/python
	@$(STEP) "upgrade pip" $(BIN)/python $(PIP_INSTALL) --upgrade "pip>=25.1"
	@$(STEP) "install usecasecore and the tools" $(BIN)/python $(PIP_INSTALL) --editable . --group dev
	@$(STEP) "fetch mermaid.js" $(BIN)/python scripts/fetch_mermaid.py .venv/mermaid
	@touch $@ .venv/.runtime

.venv-peers/.installed: benchmarks/peers/requirements.txt | .venv-peers/bin/python
	@$(STEP) "install the peers" .venv-peers/bin/python $(PIP_INSTALL) --requirement $<
	@touch $@

.venv-sa20/.test: pyproject.toml | .venv-sa20/bin/python .venv/bin/python
	@$(STEP) "upgrade pip (SQLAlchemy 2.0)" .venv-sa20/bin/python $(PIP_INSTALL) --upgrade "pip>=25.1"
	@$(STEP) "install usecasecore on SQLAlchemy 2.0" \
	  .venv-sa20/bin/python $(PIP_INSTALL) --editable . --group test "sqlalchemy>=2.0.40,<2.1"
	@touch $@
