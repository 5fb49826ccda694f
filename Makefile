# The same targets for people and for CI. `make help` lists them.
# Values that you give (DATE=..., SEEDS=...) reach the commands through the environment, never through the shell's text.

PYTHON ?= python3
PORT ?= 8080
DATE ?= 2026-06-01
SEEDS ?=
IMPORT ?=
IMPORT_REF ?=
IMPORT_SQL ?=
ARGS ?=
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

# Test files run beside one another; those that wait for a platform leave the machine to others.
WORKERS ?= 4

SEED ?= 1
TASKS ?= 300
MINUTES ?= 45

# Of these, what was given to make itself (WSL and others set NAME for all programs), and as it was typed: make would
# expand a $ in it.
NEW_DAG := NAME LAYER TEAM TIER SCHEDULE KIND ABOUT IMAGE TABLE WAITS_FOR MEMBERS START
GIVEN := $(foreach name,$(NEW_DAG),$(if $(findstring command,$(origin $(name))),$(name)))
$(foreach name,$(GIVEN),$(eval override export $(name) := $$(value $(name))))

# Likewise.
$(foreach name,BASE HEAD FORMAT,$(if $(findstring command,$(origin $(name))),$(eval override export $(name) := $$(value $(name))),$(eval unexport $(name))))

export WORKERS PORT DATE SEEDS SEED TASKS MINUTES IMPORT IMPORT_REF IMPORT_SQL

.DEFAULT_GOAL := help
.PHONY: help setup up down status day test lint check format diff snapshots compose-env image lock bench soak docs new-dag clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install everything that the other targets need into .venv (done by them when missing)

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, $(PYTHON) is {v.major}.{v.minor}; name another: make setup PYTHON=python3.12")'
	@echo "set-up: a virtual environment in $(VENV)"
	@test -x $(BIN)/python && $(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "error: $(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo "set-up: the locked packages, with compiled bytecode (1 to 3 minutes the first time)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.txt -r requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@echo "set-up: the SQL engine of the local BigQuery, compiled for this machine (about a minute, once)"
	@$(BIN)/python -m wtmo.local.bigquery warm
	@touch $@

up: $(STAMP) ## Start the platform, run one logical day (DATE=2026-06-01), leave the UI on http://localhost:8080 (PORT=); IMPORT=repository serves its generated DAGs
	@exec $(BIN)/wtmo up --tied --port "$$PORT" --date "$$DATE" $${SEEDS:+--seeds "$$SEEDS"} $${IMPORT:+--import "$$IMPORT"} $${IMPORT_REF:+--import-ref "$$IMPORT_REF"} $${IMPORT_SQL:+--bqetl "$$IMPORT_SQL"}

down: $(STAMP) ## End the platform
	@$(BIN)/wtmo down

status: $(STAMP) ## Show what runs
	@$(BIN)/wtmo status

day: $(STAMP) ## Run one logical day headless (DATE=2026-06-01, SEEDS=folder) and show what each task did
	@exec $(BIN)/wtmo day --tied --date "$$DATE" $${SEEDS:+--seeds "$$SEEDS"}

test: $(STAMP) ## Run the tests, WORKERS=4 files at once (ARGS="-k name" for some)
	@$(BIN)/pytest -n "$$WORKERS" --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP) ## Check style, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

check: $(STAMP) ## Refuse DAGs that cannot work: what is wrong, where, what to type (ARGS="--alerts", docs/checks.md)
	@exec $(BIN)/wtmo check $(ARGS)

format: $(STAMP) ## Put the code into the project's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

diff: $(STAMP) ## Tell what changes in the DAGs from BASE=origin/main to HEAD= (default: this checkout as it is) and whom it touches; FORMAT=markdown or json
	@$(BIN)/wtmo diff $${FORMAT:+"--$$FORMAT"} -- "$${BASE:-origin/main}" $${HEAD:+"$$HEAD"} || [ $$? -eq 1 ]

snapshots: $(STAMP) ## Write tests/snapshots, what each hand-written DAG does on one day
	@$(BIN)/wtmo snapshots

image: ## Build the image that production deploys, as telemetry-airflow (needs Docker)
	@docker build --target production --build-arg "COMMIT=$$(git rev-parse HEAD)" --tag telemetry-airflow .

compose-env: $(STAMP) ## Make the passwords and keys that `docker compose up` reads (see docs/docker.md)
	@$(BIN)/python -m wtmo.local.compose_env

lock: $(STAMP) ## Compile requirements*.in into requirements*.txt, the same for every platform and Python version
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" requirements.in -o requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" requirements-dev.in -o requirements-dev.txt

bench: $(STAMP) ## Measure: set-up, start, imports, tasks, pods, queries by both engines, 500 waiting pods (ARGS="waiting --json" for some)
	@$(BIN)/python -m wtmo.bench $(ARGS)

soak: $(STAMP) ## Run TASKS=300 under every fault at once, components killed at random by SEED=1, at most MINUTES=45; settle the account
	@exec $(BIN)/python -m wtmo.local.soak --seed "$$SEED" --tasks "$$TASKS" --minutes "$$MINUTES"

docs: $(STAMP) ## Write docs/DAGS.md, the catalogue of DAGs, and docs/checks.md, the rules; check that every page the docs link to exists
	@$(BIN)/wtmo docs
	@$(BIN)/pytest -q tests/test_docs.py

new-dag: $(STAMP) ## Write a new DAG that passes every check: asks, or NAME= LAYER= TEAM= TIER= SCHEDULE= KIND= (all: wtmo new-dag --help)
	@exec $(BIN)/wtmo new-dag $(foreach name,$(GIVEN),--$(name) "$$$(name)")

clean: down ## Remove what the local platform stored
	@rm -rf .local
