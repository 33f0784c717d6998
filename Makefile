# Start with `make demo` or `make test`. Both first install the dependencies.

SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/.ready
# Folder with KuaiRand's CSV files. Without it, the demo uses simulated impressions.
KUAIRAND := $(or $(KUAIRAND_DIR),$(wildcard data/kuairand))
# `make demo STORE=bigquery` stores the labels in a local BigQuery server instead of a Delta table.
STORE := delta
ifeq ($(filter delta bigquery,$(STORE)),)
$(error STORE must be delta or bigquery, got '$(STORE)')
endif
DEMO := runs/demo$(if $(KUAIRAND),-kuairand)$(if $(filter bigquery,$(STORE)),-bigquery)
RUN_DEMO := $(BIN)/rankdistill demo --out $(DEMO) $(if $(KUAIRAND),--kuairand $(KUAIRAND))
WITH_BIGQUERY := $(BIN)/python -m testing.bigquery_server --data $(DEMO)/bigquery --
export TF_CPP_MIN_LOG_LEVEL := 3
export TF_USE_LEGACY_KERAS := 1

.PHONY: help setup demo tables test test-slow test-debian13 test-platforms test-wheel audit test-all coverage chaos fuzz docs docs-test kubeflow-test lint bench clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# TFX 1.21 runs on Python 3.11 to 3.13 and needs glibc 2.39. Where glibc is older: TFX 1.16 on Python 3.10.
GLIBC := $(lastword $(shell getconf GNU_LIBC_VERSION 2> /dev/null))
VERSIONS := $(strip $(if $(filter 2.39,$(firstword $(shell printf '2.39\n%s\n' '$(GLIBC)' | sort -V))),3.13 3.12 3.11) 3.10)
WHY = $(if $(PYTHON),PYTHON=$(PYTHON),the newest here that works with glibc $(GLIBC); TFX 1.21 needs glibc 2.39 and Python 3.11 to 3.13)
# `make setup PYTHON=3.10` decides, by a version or the path of a Python; later runs keep it.
PYTHON := $(shell cat $(READY) 2> /dev/null)

setup: PYTHON := $(if $(filter command%,$(origin PYTHON)),$(PYTHON))
setup: ## Create .venv from the lock file; PYTHON=3.10 decides for which Python
	@rm -f $(READY)
	@$(MAKE) --no-print-directory $(READY) PYTHON='$(PYTHON)'

# pip installs uv into .uv/. uv uses a Python of pyenv or of the system, or downloads one.
$(READY): uv.lock pyproject.toml setup.py
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "make: expected Python 3.10 or newer as python3, got $$(python3 --version 2>&1 | tail -1). Install one." >&2; exit 2; }
	@test -x .uv/bin/uv || { python3 -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv; }
	@find_python() { \
	  ls -v $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/$$1.*/bin/python$$1 2> /dev/null | tail -1 | grep . || \
	    .uv/bin/uv python find $$1 2> /dev/null; \
	}; \
	for version in $(or $(PYTHON),$(VERSIONS)); do python=$$(find_python $$version) && break; done; \
	newest=$(firstword $(or $(PYTHON),$(VERSIONS))); \
	test -n "$$python" || { .uv/bin/uv python install --quiet $$newest 2> /dev/null && python=$$(find_python $$newest); } || { \
	  echo "make: no Python $(or $(PYTHON),$(VERSIONS)) on this machine, and uv could not fetch one." \
	    "Install it, for example with 'pyenv install $(or $(PYTHON),$(lastword $(VERSIONS)))'." >&2; exit 2; }; \
	version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	case " $(VERSIONS) " in *" $$version "*) ;; *) \
	  echo "make: expected one of Python $(VERSIONS), which have a TFX for glibc $(GLIBC), got $$version." >&2; exit 2;; esac; \
	echo "$$($$python --version) in .venv ($(WHY))"; \
	.uv/bin/uv sync --quiet --frozen --python $$python --reinstall-package rankdistill
	@echo '$(PYTHON)' > $(READY)

demo: $(READY) ## Run the whole chain on this machine (5 minutes)
	@$(if $(filter bigquery,$(STORE)),$(WITH_BIGQUERY) $(RUN_DEMO) --label-store '{store}',$(RUN_DEMO))

TABLES := runs/tables
EXPERIMENT = $(BIN)/rankdistill experiment $(1) --protocol experiments/configs/simulator.yaml --events $(TABLES)/events --seeds 10 --out $(TABLES)/$(1) --cache $(TABLES)

tables: $(READY) ## Run the experiments of the paper's three tables on simulated data (45 minutes)
	@$(BIN)/rankdistill events simulate --spans 11 --examples-per-span 3000 --seed 1 --out $(TABLES)/events
	@$(call EXPERIMENT,strategy)
	@$(call EXPERIMENT,size)
	@$(call EXPERIMENT,objectives)

test: $(READY) ## Run the tests of every component and one whole pipeline (at most 10 minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not chaos"

test-slow: $(READY) ## Run the other tests: whole pipelines, faults, kills, Kubeflow, packaging, a sample of chaos
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not chaos"
	CHAOS_SAMPLE=1 $(BIN)/python -m pytest -m chaos tests/chaos/test_chaos.py

test-debian13: ## Run `make test` in a Debian 13 root with Python 3.13 (needs root; debootstrap makes it once)
	.ci/debian13 make test

EXCHANGE := /tmp/rankdistill-exchange
test-platforms: $(READY) ## Begin a root here, continue it in the Debian 13 root, read it here again (15 minutes)
	rm -rf $(EXCHANGE) && mkdir -p $(EXCHANGE)
	$(BIN)/python -m tests.platforms.exchange begin $(EXCHANGE)
	SHARED=$(EXCHANGE) .ci/debian13 sh -c 'make setup && .venv/bin/python -m tests.platforms.exchange continue $(EXCHANGE)'
	$(BIN)/python -m tests.platforms.exchange return $(EXCHANGE)
	SHARED=$(EXCHANGE) .ci/debian13 .venv/bin/python -m tests.platforms.exchange agree $(EXCHANGE)

test-wheel: $(READY) ## Install the wheel with pip into an empty environment and run its demo in an empty folder
	rm -rf build/wheel && $(BIN)/python -m uv build --quiet --wheel --out-dir build/wheel/dist .
	$(BIN)/python -m venv build/wheel/env && build/wheel/env/bin/pip install --quiet build/wheel/dist/*.whl
	cd build/wheel && env/bin/rankdistill demo --out demo

audit: $(READY) ## Look up known vulnerabilities of the locked packages (needs PyPI's service)
	.uv/bin/uv export --quiet --frozen --no-dev --no-emit-project --format requirements-txt --output-file build/audit.txt
	.uv/bin/uv tool run pip-audit --requirement build/audit.txt --disable-pip --progress-spinner off

test-all: test test-slow ## Run all tests

coverage: $(READY) ## Measure the line coverage of models and components by `make test`
	$(BIN)/python -m pytest -m "not slow and not chaos" --cov=models --cov=components --cov-report=term:skip-covered --cov-fail-under=90

chaos: $(READY) ## Kill a run more than a hundred times, and run on two weeks of broken data (30 minutes)
	$(BIN)/python -m pytest -m chaos tests/chaos
	$(BIN)/python -m pytest -m chaos tests/e2e

FUZZ_MINUTES := 30
fuzz: $(READY) ## Read random broken input, FUZZ_MINUTES=30 for each of the four readers (2 hours)
	@for target in configuration csv_adapter log_reader label_reader; do \
	  FUZZ_MINUTES=$(FUZZ_MINUTES) $(BIN)/python -m pytest -q -s -k "not saved" tests/fuzz/test_$$target.py || failed=1; \
	done; exit $${failed:-0}

docs: $(READY) ## Build the site of the documentation in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet && echo "The site: build/site/index.html"

docs-test: $(READY) ## Run the code blocks of README and docs (at most 10 minutes)
	$(BIN)/python -m pytest tests/docs

kubeflow-test: $(READY) ## Run the compiled pipelines in a test interpreter, and check image and manifests
	$(BIN)/python -m pytest -m kubeflow

lint: $(READY) ## Check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## Run the benchmarks
	$(BIN)/python -m benchmarks.labelling
	$(BIN)/python -m benchmarks.simulate
	$(BIN)/python -m benchmarks.import_table
	$(BIN)/python -m benchmarks.history
	$(BIN)/python -m benchmarks.label_store
	$(BIN)/python -m benchmarks.compiled_steps
	$(BIN)/python -m benchmarks.span_overhead
	$(BIN)/python -m benchmarks.micro_spans
	$(BIN)/python -m benchmarks.fleet
	$(BIN)/python -m benchmarks.advice --out runs/advice

clean: ## Remove the output of demo, tables and bench
	rm -rf runs/demo runs/demo-* runs/tables runs/advice
