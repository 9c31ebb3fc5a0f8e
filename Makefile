# Campaign Optimization System. `make` alone prints what there is.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# The first Python on the path that is new enough; PYTHON=<path> names another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$python" && break; done)
endif
ENVIRONMENT := "$(PYTHON)" deploy/local/environment.py
BIN := .venv/bin
SERVICES := analytics abtest optimizer
# What `make lock` compiles under the versions of test.txt, which holds them all.
LOCKS := run gen analytics abtest optimizer model_server complete_journey bench uv

# The variables on make's command line; those that nothing reads are refused where settings are taken.
GIVEN := $(strip $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))

.PHONY: help
help: ## print this
	@echo "usage: make <target> [SETTING=value ...]"
	@awk 'BEGIN { FS = ":.*## " } /^[a-z_-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "settings of run: DEMO=1 (default; 0, complete-journey), DATA_DIR, DATABASE_URL, REPORTING_TIME_ZONE,"
	@echo "  GATEWAY_PORT and every other port; all of them: make run-help"

.PHONY: run
run: BEGAN := $(shell date +%s)
run: variables environment-run ## run the whole system in the foreground; Ctrl-C stops it
	@exec $(BIN)/python -m deploy.local --stop-with-parent --began $(BEGAN)

.PHONY: run-help
run-help: variables environment-run ## list the settings of make run with their defaults
	@$(BIN)/python -m deploy.local --help

.PHONY: test
test: environment-test ## run all tests; fails under 90 % branch coverage of services/
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=15 --cov=services --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=90

.PHONY: lint
lint: environment-test ## check style, types, import rules and protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint protos
	$(BIN)/python -m tools.check_breaking

.PHONY: format
format: environment-test ## format the Python code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: gen
gen: environment-test ## write gen/ from protos/
	$(BIN)/python -m tools.generate

.PHONY: migrate
migrate: variables environment-run ## migrate the schemas in the database of DATABASE_URL
	@for service in $(SERVICES); do $(BIN)/python -m services.$$service migrate || exit 1; done

.PHONY: psql
psql: variables environment-run ## open the kept database, ROLE=reporting (default) or another, ARGS='-c "\dt"'
	@exec $(BIN)/python -m deploy.local.with_database psql

.PHONY: reconcile
reconcile: variables environment-run ## compare the kept rollups with a recount of the events
	@exec $(BIN)/python -m deploy.local.with_database reconcile

.PHONY: rebuild
rebuild: variables environment-run ## count the kept rollups again, in REPORTING_TIME_ZONE if given
	@exec $(BIN)/python -m deploy.local.with_database rebuild

.PHONY: lock
lock: environment-run ## recompile requirements/*.txt from pyproject.toml
	$(call compile,test) --annotate
	@for group in $(LOCKS); do $(call compile,$$group) --no-annotate -c requirements/test.txt || exit 1; done
	$(call compile,interop) --no-annotate  # unconstrained: public clients want an older protobuf
	$(call compile,bench_peers) --no-annotate
	@! grep -n '://' requirements/*.txt || { echo "a lock names an address" >&2; exit 1; }

compile = $(BIN)/uv pip compile --quiet --system-certs --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --group pyproject.toml:$(1) -o requirements/$(1).txt

.PHONY: clean-data
clean-data: variables ## remove what runs keep in DATA_DIR
	@"$(PYTHON)" deploy/local/clean_data.py

.PHONY: clean
clean: ## remove the environment and every cache; data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -not -path './.data/*' -prune -exec rm -rf {} +

# The environment: see deploy/local/environment.py.
.PHONY: environment-run environment-test variables python
environment-run: python
	@$(ENVIRONMENT) run $(if $(filter complete-journey,$(DEMO)),complete_journey)

environment-test: python
	@$(ENVIRONMENT) test

variables: python
	$(if $(GIVEN),@"$(PYTHON)" deploy/local/variables.py $(GIVEN))

python:
	@if ! "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null; then \
		echo "Python 3.11 or newer is needed (found: $$("$(or $(PYTHON),python3)" --version 2>&1)); name one with PYTHON=<path>" >&2; \
		exit 1; fi
