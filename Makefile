# make alone prints what there is.
.DEFAULT_GOAL := help
PYTHON ?= python3
TRAINER ?= $(or $(DECANT_TRAINER),auto)
PORT ?= 5000
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DECANT_TRAINER := $(TRAINER)

.PHONY: help setup experiment verify test fast lint audit ui constraints clean

help: ## what can be done
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/ready ## make .venv and install what constraints.txt pins

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "decant needs Python 3.11 or newer; found " + sys.version.split()[0] + "; try make PYTHON=python3.12 setup")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

experiment: .venv/ready ## run the pipeline as a DVC experiment: make experiment EXPERIMENT=digits ARGS="-S distill.epochs=8" SEEDS=5 TRAINER=cpu
	@exec decant experiment $(if $(EXPERIMENT),--experiment $(EXPERIMENT)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

verify: .venv/ready ## make the committed experiment again from nothing, and compare its bytes
	@decant verify

test: .venv/ready ## all tests, end to end included
	python -m pytest --numprocesses 2 --dist loadfile

fast: .venv/ready ## the quick tests, about five minutes
	python -m pytest --numprocesses 2 --dist loadfile -m "not slow"

lint: .venv/ready ## style, formatting and types
	ruff check .
	ruff format --check .
	mypy

audit: .venv/ready ## look for the pinned versions in the list of known vulnerabilities (needs the network)
	pip-audit --strict --requirement constraints.txt --no-deps --disable-pip --ignore-vuln CVE-2025-69872 # see SECURITY.md

ui: .venv/ready ## the MLflow UI on the runs made here: http://127.0.0.1:5000
	mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}" --host 127.0.0.1 --port $(PORT)

constraints: ## pin the newest versions that go together, from a fresh environment
	rm -rf .venv && $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --editable '.[dev]'
	.venv/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	@touch .venv/ready

clean: ## remove outputs and caches of runs; .venv, MLflow runs and DVC's cache stay
	rm -rf .state/prepare .state/pretrain_load .state/fine_tune .state/distill .state/evaluate data/prepare data/pretrain_load data/fine_tune data/distill data/evaluate .pytest_cache .mypy_cache .ruff_cache
