PYTHON ?= python3
PORT ?= 5000
INSTALL = .venv/bin/python -m pip install --quiet --no-deps --no-build-isolation
PYTEST = python -m pytest --numprocesses 2 --no-loadscope-reorder
NEWER = import sys; sys.exit(sys.version_info < (3, 11) and "decant needs Python 3.11 or newer, found " + sys.version.split()[0] + "; try: make PYTHON=python3.12 setup")
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DECANT_TRAINER := $(or $(TRAINER),$(DECANT_TRAINER),auto)

.PHONY: help setup experiment verify test fast nightly lint audit sbom ui constraints clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
setup: .venv/ready ## create .venv with the versions and hashes that constraints.txt pins
.venv/ready: pyproject.toml constraints.txt constraints-cpu.txt constraints-cuda.txt
	@$(PYTHON) -c '$(NEWER)' && $(PYTHON) -m venv .venv
	@sed -n '/^setuptools==/,/[^\\]$$/p' constraints.txt > .venv/build.txt # some packages have no wheel
	$(INSTALL) --require-hashes --requirement .venv/build.txt
	@$(INSTALL) --require-hashes --no-index --requirement constraints-cpu.txt 2> /dev/null || true # where it is at hand
	$(INSTALL) --require-hashes --requirement constraints.txt
	@! grep -q '^Requires-Dist: nvidia' .venv/lib/python3*/site-packages/torch-*.dist-info/METADATA || $(INSTALL) --require-hashes --requirement constraints-cuda.txt
	$(INSTALL) --editable .
	@.venv/bin/python -m pip check && touch $@
experiment: .venv/ready ## run the pipeline as a DVC experiment: make experiment EXPERIMENT=digits ARGS="-S distill.epochs=8" SEEDS=5 TRAINER=cpu
	@exec decant experiment $(if $(EXPERIMENT),--experiment $(EXPERIMENT)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)
verify: .venv/ready ## reproduce the committed experiment from nothing and compare the bytes
	@decant verify
fast: .venv/ready ## the quick tests
	$(PYTEST) -m "not slow and not nightly"
test: .venv/ready ## the tests that a change has to pass, end to end included
	$(PYTEST) -m "not nightly"
nightly: .venv/ready ## all tests
	$(PYTEST)
lint: .venv/ready ## style, formatting, types, and the layers of packages
	ruff check . && ruff format --check .
	mypy
	lint-imports
audit: .venv/ready ## look up the pinned versions in the lists of known vulnerabilities (needs the network)
	pip-audit --strict --requirement constraints.txt --requirement constraints-cuda.txt --require-hashes --disable-pip --ignore-vuln CVE-2025-69872 # see SECURITY.md
sbom: .venv/ready ## write sbom.json: the pinned packages, as a bill of materials in CycloneDX
	cyclonedx-py requirements constraints.txt --pyproject pyproject.toml --output-reproducible --output-file sbom.json
ui: .venv/ready ## the MLflow UI on the runs made here: http://127.0.0.1:5000
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}" --host 127.0.0.1 --port $(PORT) # no workers for GenAI jobs: they take 2 GB
constraints: .venv/ready ## pin the newest versions that work together, with their hashes; then: make setup
	python .ci/lock.py --upgrade
clean: ## delete outputs and caches of runs; .venv, MLflow runs and DVC's cache stay
	rm -rf $(foreach stage,prepare pretrain_load fine_tune distill evaluate,.state/$(stage) data/$(stage)) .*_cache
