# The two commands of a newcomer are `make demo` and `make test`; each sets up what it needs.

SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/.ready
# Real impressions when they are there (a folder with KuaiRand's CSV files), the simulator otherwise.
KUAIRAND := $(or $(KUAIRAND_DIR),$(wildcard data/kuairand))
# `make demo STORE=bigquery` keeps the labels in a BigQuery on this machine, in place of a Delta table.
STORE := delta
ifeq ($(filter delta bigquery,$(STORE)),)
$(error STORE must be delta or bigquery, got '$(STORE)')
endif
DEMO := runs/demo-$(if $(KUAIRAND),kuairand,simulated)$(if $(filter bigquery,$(STORE)),-bigquery)
RUN := $(BIN)/rankdistill run --config pipeline/configs/demo.yaml --events $(DEMO)/events --root $(DEMO)/root --spans 5:9
BESIDE_BIGQUERY := $(BIN)/python -m testing.bigquery_server --data $(DEMO)/bigquery --
export TF_CPP_MIN_LOG_LEVEL := 3
export TF_USE_LEGACY_KERAS := 1

.PHONY: help setup demo tables test test-slow test-all coverage chaos kubeflow-test lint bench clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Make .venv from the lock file

$(READY): uv.lock pyproject.toml setup.py .python-version
	@python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null || { \
	  echo "make: Python 3.10 is needed and python3 here is another: 'pyenv install 3.10' puts it where .python-version selects it." >&2; exit 2; }
	python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv sync --quiet --frozen --reinstall-package rankdistill
	@touch $(READY)

demo: $(READY) ## Run the whole chain on this machine
ifneq ($(KUAIRAND),)
	@echo "demo: real impressions, KuaiRand in $(KUAIRAND)"
	@$(BIN)/rankdistill events kuairand --source $(KUAIRAND) --out $(DEMO)/events
else
	@echo "demo: simulated impressions (set KUAIRAND_DIR, or link data/kuairand, for real ones)"
	@$(BIN)/rankdistill events simulate --spans 10 --examples-per-span 10000 --seed 1 --out $(DEMO)/events
endif
ifeq ($(STORE),bigquery)
	@$(BESIDE_BIGQUERY) $(RUN) --label-store '{store}'
else
	@$(RUN)
endif

TABLES := runs/tables
EXPERIMENT = $(BIN)/rankdistill experiment $(1) --config experiments/configs/simulator.yaml --events $(TABLES)/events --seeds 10 --out $(TABLES)/$(1) --cache $(TABLES)

tables: $(READY) ## The paper's three tables, on a simulated world; three quarters of an hour
	@$(BIN)/rankdistill events simulate --spans 11 --examples-per-span 3000 --seed 1 --out $(TABLES)/events
	@$(call EXPERIMENT,strategy)
	@$(call EXPERIMENT,size)
	@$(call EXPERIMENT,objectives)

test: $(READY) ## Run the tests of every component and one whole pipeline; at most 10 minutes
	$(BIN)/python -m pytest -m "not slow and not chaos"

test-slow: $(READY) ## Run the rest: whole pipelines, faults, kills, Kubeflow, packaging, a sample of chaos
	$(BIN)/python -m pytest -m "slow and not chaos"
	CHAOS_SAMPLE=1 $(BIN)/python -m pytest -m chaos tests/chaos/test_chaos.py

test-all: test test-slow ## Run all tests

coverage: $(READY) ## Measure which lines of models and components the tests of `make test` run
	$(BIN)/python -m pytest -m "not slow and not chaos" --cov=models --cov=components --cov-report=term:skip-covered --cov-fail-under=90

chaos: $(READY) ## Kill a run more than a hundred times, and run two weeks of broken data; half an hour
	$(BIN)/python -m pytest -m chaos tests/chaos
	$(BIN)/python -m pytest -m chaos tests/e2e

kubeflow-test: $(READY) ## Run the compiled pipelines as Kubeflow does, and check image and manifests
	$(BIN)/python -m pytest -m kubeflow

lint: $(READY) ## Style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## Measure against the stock way and against the limit
	$(BIN)/python -m benchmarks.labelling
	$(BIN)/python -m benchmarks.simulate
	$(BIN)/python -m benchmarks.label_store
	$(BIN)/python -m benchmarks.trials
	$(BIN)/python -m benchmarks.span_overhead
	$(BIN)/python -m benchmarks.micro_spans
	$(BIN)/python -m benchmarks.fleet
	$(BIN)/python -m benchmarks.advice --out runs/advice

clean: ## Remove what the demos wrote
	rm -rf runs/demo-* runs/tables runs/advice
