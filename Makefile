# Telltale's commands. `make help` lists them. Everything they need is brought into .tools/ and .venv/;
# nothing is installed anywhere else.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV_VERSION := 0.13.8
TOOLS := .tools
UV := $(TOOLS)/bin/uv
VENV := .venv
BIN := $(VENV)/bin
# The images run 3.12, so it is preferred where it is there; `make PYTHON=python3.13 …` overrides.
PYTHON ?= $(shell for p in python3.12 python3 python3.13 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)

.PHONY: help run test smoke check format bench fuzz soak durability chaos killpoints faults env-example lock images test-images kind-up test-cluster objects-page test-kind clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1mmake %-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.standalone ## Start Telltale on this machine: http://127.0.0.1:8000
	@exec $(BIN)/telltale serve $(ARGS)

test: $(VENV)/.dev ## Run the tests (real PostgreSQL and MLflow, temporary folders, free ports)
	@$(BIN)/python -m pytest -m "not images and not kind and not cluster" $(ARGS)

images: ## Build telltale/predictor and telltale/trainer with Docker (docs/images.md)
	@images/build predictor
	@images/build trainer

test-images: $(VENV)/.dev ## Build the images and run them as containers
	@$(BIN)/python -m pytest tests/images $(ARGS)

# On a machine that can pull images any cluster will do that has what docs/kserve.md lists.
LAB ?= ../shared/lab/lab
kind-up: ## Start a kind cluster with KServe and a Gateway: eval "$(make kind-up)"
	@if [ -x $(LAB) ]; then $(LAB) kind-up; else \
		echo "there is no $(LAB): make a cluster with what docs/kserve.md lists, and set KUBECONFIG" >&2; exit 1; fi

test-cluster: $(VENV)/.dev ## Run the registry's controller against the API server of KUBECONFIG
	@$(BIN)/python -m pytest tests/registry/cluster $(ARGS)

objects-page: $(VENV)/.dev ## Write docs/registry-objects.md anew, from a rollout on the API server of KUBECONFIG
	@TELLTALE_TEST_WRITE_PAGES=1 $(BIN)/python -m pytest tests/registry/cluster/test_happy_path_objects.py

test-kind: $(VENV)/.dev ## Run the images under KServe in the cluster of KUBECONFIG: predictor, rollouts
	@$(BIN)/python -m pytest tests/cluster $(ARGS)

smoke: $(VENV)/.standalone ## Start with `make run` from nothing, ask what the README asks, stop with two signals
	@.ci/smoke

check: $(VENV)/.dev ## Lint, types, layers, and what is generated is what is committed
	@echo "==> ruff"; $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "==> mypy --strict"; $(BIN)/mypy
	@echo "==> import-linter"; $(BIN)/lint-imports
	@echo "==> hadolint"; $(BIN)/hadolint Dockerfile.*
	@echo "==> CRDs"; $(BIN)/python -m registry.crds --check charts/telltale/crds
	@echo "==> .env.example"; $(BIN)/python -m standalone.env_example --check .env.example

format: $(VENV)/.dev ## Let ruff fix and format what it can
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: $(VENV)/.dev ## Run the benchmarks and write benchmarks/results.json
	@$(BIN)/python -m benchmarks $(ARGS)

fuzz: $(VENV)/.dev ## Send a server and the parsers what nobody should; FUZZ_SECONDS=1200 for a whole run
	@$(BIN)/python -m fuzz $(ARGS)

soak: $(VENV)/.dev ## Send a server millions of requests of every kind and watch its memory; SOAK_REQUESTS=10000000
	@$(BIN)/python -m soak $(ARGS)

durability: $(VENV)/.dev ## Kill a loaded server 50 times with SIGKILL and count what was lost
	@$(BIN)/python -m benchmarks.durability $(ARGS)

chaos: $(VENV)/.dev ## Kill trainer, MLflow, PostgreSQL and S3 during 20 trainings each and count what was lost
	@$(BIN)/python -m chaos $(ARGS)

killpoints: $(VENV)/.dev ## Kill the registry's controller at each of its writes, on the API server of KUBECONFIG
	@$(BIN)/python -m killpoints $(ARGS)

faults: $(VENV)/.dev ## Let the API server's answers go wrong in 10,000 ways, and 200 on the one of KUBECONFIG
	@$(BIN)/python -m faults $(ARGS)

env-example: $(VENV)/.dev ## Write .env.example from the settings classes
	@$(BIN)/python -m standalone.env_example > .env.example

EXTRAS := predictor trainer registry standalone
COMPILE := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate
lock: $(UV) ## Renew requirements/*.txt (UPGRADE=1 takes newer versions)
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra standalone --group dev -o requirements/dev.txt
	@for extra in $(EXTRAS); do \
		echo "$(COMPILE) --extra $$extra -c requirements/dev.txt -o requirements/$$extra.txt"; \
		$(COMPILE) --extra $$extra -c requirements/dev.txt -o requirements/$$extra.txt; done
	$(subst pyproject.toml,images/tools.in,$(COMPILE)) $(if $(UPGRADE),--upgrade) -o images/tools.txt

clean: ## Remove what make built (not your data in .telltale/)
	rm -rf $(VENV) $(TOOLS) build *.egg-info scoring/_kernel*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV):
	@if [ -z "$(PYTHON)" ]; then \
		echo "Telltale needs Python 3.11, 3.12 or 3.13 on the PATH; found: $$(python3 --version 2>&1 || true)." >&2; \
		echo "Install one of them, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; fi
	@echo "==> bringing uv $(UV_VERSION) into $(TOOLS)/"
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		$(PYTHON) -m venv $(TOOLS) && $(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check --target $(TOOLS) uv==$(UV_VERSION); \
	else \
		echo "$(PYTHON) has neither ensurepip nor pip, so nothing can be installed with it:" >&2; \
		echo "install python3-venv (Debian, Ubuntu), or name a whole Python: make PYTHON=/path/to/python3.12" >&2; exit 1; fi

$(VENV)/bin/python: | $(UV)
	@echo "==> making $(VENV)/ with $$($(PYTHON) --version)"
	@$(UV) venv --quiet --allow-existing --no-python-downloads --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)

# One environment, filled as far as the command needs; the stamp is older than its lock when that changes.
$(VENV)/.%: requirements/%.txt pyproject.toml setup.py $(wildcard scoring/*.c scoring/*.h) | $(VENV)/bin/python
	@echo "==> installing requirements/$*.txt (the first time this downloads a few hundred MB)"
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --require-hashes -r requirements/$*.txt
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --editable .
	@touch $@

.PRECIOUS: $(VENV)/bin/python
