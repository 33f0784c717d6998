# Start with `make demo` and `make test`; each installs what it needs.

SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/.ready
# Folder with KuaiRand's CSV files. Without it, the demo uses simulated impressions.
KUAIRAND := $(or $(KUAIRAND_DIR),$(wildcard data/kuairand))
# `make demo STORE=bigquery` keeps the labels in a local BigQuery instead of a Delta table.
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

setup: $(READY) ## Create .venv from the lock file

$(READY): uv.lock pyproject.toml setup.py .python-version
	@python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null || { \
	  echo "make: python3 must be Python 3.10. Run 'pyenv install 3.10'; .python-version then selects it." >&2; exit 2; }
	python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv sync --quiet --frozen --reinstall-package rankdistill
	@touch $(READY)

demo: $(READY) ## Run the whole pipeline on this machine
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
EXPERIMENT = $(BIN)/rankdistill experiment $(1) --protocol experiments/configs/simulator.yaml --events $(TABLES)/events --seeds 10 --out $(TABLES)/$(1) --cache $(TABLES)

tables: $(READY) ## Run the experiments of the paper's three tables on simulated data (45 minutes)
	@$(BIN)/rankdistill events simulate --spans 11 --examples-per-span 3000 --seed 1 --out $(TABLES)/events
	@$(call EXPERIMENT,strategy)
	@$(call EXPERIMENT,size)
	@$(call EXPERIMENT,objectives)

test: $(READY) ## Run the tests of every component and one whole pipeline (at most 10 minutes)
	$(BIN)/python -m pytest -m "not slow and not chaos"

test-slow: $(READY) ## Run the other tests: whole pipelines, faults, kills, Kubeflow, packaging, a sample of chaos
	$(BIN)/python -m pytest -m "slow and not chaos"
	CHAOS_SAMPLE=1 $(BIN)/python -m pytest -m chaos tests/chaos/test_chaos.py

test-all: test test-slow ## Run all tests

coverage: $(READY) ## Measure the line coverage of models and components by `make test`
	$(BIN)/python -m pytest -m "not slow and not chaos" --cov=models --cov=components --cov-report=term:skip-covered --cov-fail-under=90

chaos: $(READY) ## Kill a run more than a hundred times, and run on two weeks of broken data (30 minutes)
	$(BIN)/python -m pytest -m chaos tests/chaos
	$(BIN)/python -m pytest -m chaos tests/e2e

kubeflow-test: $(READY) ## Run the compiled pipelines like Kubeflow, and check image and manifests
	$(BIN)/python -m pytest -m kubeflow

lint: $(READY) ## Check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## Run the benchmarks
	$(BIN)/python -m benchmarks.labelling
	$(BIN)/python -m benchmarks.simulate
	$(BIN)/python -m benchmarks.label_store
	$(BIN)/python -m benchmarks.trials
	$(BIN)/python -m benchmarks.span_overhead
	$(BIN)/python -m benchmarks.micro_spans
	$(BIN)/python -m benchmarks.fleet
	$(BIN)/python -m benchmarks.advice --out runs/advice

clean: ## Remove the output of demo, tables and bench
	rm -rf runs/demo-* runs/tables runs/advice
