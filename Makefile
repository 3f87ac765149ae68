# Gatefold's vocabulary. `make run` and `make test` do all set-up themselves; a second call skips it.
#
#   make run  [DATA=folder] [OUTPUT=folder] [MODELS=cnn,lstm] [ARGS="--epochs 5 …"]
#   make test [ARGS="tests/pipeline -k cache"]

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help run test lint format lock serve app mlflow bench clean

VENV   := .venv
PYTHON := $(VENV)/bin/python
UV_VERSION := 0.13.8
UV     := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
OUTPUT ?= output
export PYTHONPATH := $(CURDIR)
export TF_CPP_MIN_LOG_LEVEL ?= 3

help: ## Say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

run: $(VENV)/.runtime ## Run the pipeline (without DATA on the built-in synthetic sample)
	@$(PYTHON) local_runner.py $(if $(DATA),--data "$(DATA)") --output "$(OUTPUT)" \
	  $(if $(MODELS),--models "$(MODELS)") $(ARGS)

test: $(VENV)/.dev ## Run every test
	@$(PYTHON) -m pytest $(ARGS)

lint: $(VENV)/.dev ## Check style, types and the import contract
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: $(VENV)/.dev ## Put the code into shape
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

serve: $(VENV)/.runtime ## Serve what was pushed over TF Serving's gRPC and REST
	@$(PYTHON) -m serving.server --model-base-path "$(OUTPUT)/serving/genre" --port 8500 --rest-port 8501 $(ARGS)

app: $(VENV)/.runtime ## Open the page (needs `make serve` in another terminal)
	@$(PYTHON) -m serving.app $(ARGS)

mlflow: $(VENV)/.runtime ## Open MLflow's UI on the runs of OUTPUT
	@test -f "$(OUTPUT)/mlflow.db" || { echo "There is no $(OUTPUT)/mlflow.db: 'make run' makes it, OUTPUT names the folder." >&2; exit 1; }
	@PYTHONWARNINGS=ignore $(VENV)/bin/mlflow ui --workers 1 --backend-store-uri "sqlite:///$(OUTPUT)/mlflow.db" $(ARGS)

bench: $(VENV)/.dev ## Measure features and ingest against their peers
	@$(PYTHON) -m benchmarks.features
	@$(PYTHON) -m benchmarks.ingest --tracks 100

lock: | $(UV) ## Compile requirements.in into the lock
	@$(UV) pip compile -q --python-version 3.10 --generate-hashes --override overrides.txt \
	  requirements.in -o requirements.txt
	@$(UV) pip compile -q --python-version 3.10 --generate-hashes \
	  requirements-dev.in -o requirements-dev.txt

clean: ## Remove what runs have made, but neither your data nor the environment
	@rm -rf output

# The environment. Locks hold every dependency, so none is resolved (--no-deps).
INSTALL = $(UV) pip install -q --python $(PYTHON) --no-deps --require-hashes -r

$(VENV)/.runtime: requirements.txt .python-version | $(UV)
	@echo "Setting up Python 3.10 and TFX (about a minute) …"
	@test -x $(PYTHON) || $(UV) venv -q --python 3.10 $(VENV) || { \
	  echo "Gatefold needs Python 3.10 (docs/environment.md says why): 'pyenv install 3.10' or 'uv python install 3.10' gets it." >&2; exit 1; }
	@$(INSTALL) requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@$(INSTALL) requirements-dev.txt
	@touch $@

.tools/bin/uv:
	@echo "Bringing uv $(UV_VERSION) into .tools …"
	@python3 -m venv .tools && .tools/bin/pip install -q --disable-pip-version-check uv==$(UV_VERSION)
