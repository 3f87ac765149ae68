# Gatefold's vocabulary. `make run` and `make test` do all set-up themselves; a second call skips it.
#
#   make run  [DATA=folder] [OUTPUT=folder] [MODELS=cnn,lstm] [ARGS="--epochs 5 …"]
#   make test [ARGS="tests/pipeline -k cache"]
#   make classify SONG=song.mp3 [ARGS="--csv"]
#   make clean [OUTPUT=folder] [RELEASES=yes]
#
# Set-up also installs the command `gatefold` (.venv/bin/gatefold), which has the same words.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help run test test-scale lint format lock classify serve app demo mlflow bench load results docs image clean

VENV   := .venv
PYTHON := $(VENV)/bin/python
UV_VERSION := 0.13.8
FLINK_VERSION := 1.16.3
GHZ_VERSION := v0.93.0
HEY_VERSION := v0.1.5
UV     := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
OUTPUT ?= output
# A misspelt variable must not run something else.
VARIABLES := DATA OUTPUT MODELS SONG ARGS RELEASES IMAGE VENV PYTHON UV SHELL TF_CPP_MIN_LOG_LEVEL \
  UV_VERSION FLINK_VERSION GHZ_VERSION HEY_VERSION
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(firstword $(filter-out $(VARIABLES),$(GIVEN)))
ifneq ($(UNKNOWN),)
$(error there is no variable $(UNKNOWN)$(shell python3 -c \
  "import difflib, sys; near = difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1); \
  print(''.join(f' (did you mean {name}?)' for name in near))" $(UNKNOWN) $(VARIABLES)))
endif
# Ctrl-C ends make, too, without a line about an error.
QUIETLY = || { code=$$?; test $$code = 130 || exit $$code; kill -INT $$PPID; }
IMAGE  ?= gatefold:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# Names of folders reach the shell as variables, so that quotes and dollar signs in them do no harm.
ifneq ($(origin DATA),undefined)
export DATA
endif
export OUTPUT
export PYTHONPATH := $(CURDIR)
export SONG
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Many containers set this. Every process would then compile TensorFlow and TFX again, for 12 s.
unexport PYTHONDONTWRITEBYTECODE

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

run: $(VENV)/.runtime ## Run the pipeline (without DATA on the built-in synthetic sample)
	@$(PYTHON) -m gatefold run $(if $(filter undefined,$(origin DATA)),,--data "$$DATA") \
	  --output "$$OUTPUT" $(if $(MODELS),--models "$(MODELS)") $(ARGS) $(QUIETLY)

test: $(VENV)/.dev ## Run every test
	@$(PYTHON) -m pytest $(ARGS)

test-scale: $(VENV)/.dev .tools/flink ## Run the long tests: Beam on Flink, a Flink cluster with a part killed, the walk on S3
	@HYPOTHESIS_PROFILE=scale $(PYTHON) -m pytest -m "scale or flink or hypothesis" -n 0 $(ARGS)

lint: $(VENV)/.dev ## Check style, types and the import contract
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: $(VENV)/.dev ## Put the code into shape
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

classify: $(VENV)/.runtime ## Say what genre a SONG (or a folder of them) is, with the model pushed last
	@$(PYTHON) -m gatefold classify --output "$$OUTPUT" $(if $(SONG),"$$SONG") $(ARGS) $(QUIETLY)

serve: $(VENV)/.runtime ## Serve what was pushed over TF Serving's gRPC and REST
	@$(PYTHON) -m gatefold serve --model-base-path "$$OUTPUT/serving/genre" $(ARGS) $(QUIETLY)

demo: $(VENV)/.runtime ## Run the pipeline if nothing is pushed, serve, and open the page
	@$(PYTHON) -m gatefold demo --output "$$OUTPUT" $(ARGS) $(QUIETLY)

app: $(VENV)/.runtime ## Start the page, and a server where none answers
	@$(PYTHON) -m gatefold app --releases "$$OUTPUT/serving/genre" $(ARGS) $(QUIETLY)

mlflow: $(VENV)/.runtime ## Open MLflow's UI on the runs of OUTPUT
	@test -f "$$OUTPUT/mlflow.db" || { echo "There is no $$OUTPUT/mlflow.db: 'make run' makes it, OUTPUT names the folder." >&2; exit 1; }
	@$(PYTHON) -m pipeline.local.mlflow_store "$$OUTPUT"
	@PYTHONWARNINGS=ignore MLFLOW_LOGGING_LEVEL=ERROR MLFLOW_DISABLE_TELEMETRY=true $(VENV)/bin/mlflow ui --workers 1 --uvicorn-opts "--log-level warning" --backend-store-uri "sqlite:///$$OUTPUT/mlflow.db" $(ARGS) $(QUIETLY)

bench: $(VENV)/.dev ## Measure features and ingest against their peers
	@$(PYTHON) -m benchmarks.features
	@$(PYTHON) -m benchmarks.ingest --tracks 100

load: $(VENV)/.dev .tools/bin/ghz .tools/bin/hey ## Load the embedded server on what was pushed, by ghz and hey (needs Go)
	@$(PYTHON) -m benchmarks.load --model-base-path "$$OUTPUT/serving/genre" --tools .tools/bin $(ARGS)

results: $(VENV)/.dev ## Measure the figures of docs/results that output/results.csv lacks (hours; needs GTZAN's parts)
	@$(PYTHON) -m benchmarks.regenerate $(ARGS)

docs: $(VENV)/.dev ## Build the site of the docs into site/, strictly; ARGS=serve serves it
	@PYTHONWARNINGS=ignore NO_MKDOCS_2_WARNING=yes $(VENV)/bin/mkdocs $(or $(ARGS),build -q) --strict $(QUIETLY)

lock: | $(UV) ## Compile requirements.in into the lock
	@$(UV) pip compile -q --python-version 3.10 --generate-hashes --override overrides.txt \
	  requirements.in -o requirements.txt
	@$(UV) pip compile -q --python-version 3.10 --generate-hashes \
	  requirements-dev.in -o requirements-dev.txt

image: ## Build the container image of Kubeflow's nodes, of Beam workers and of the server
	@command -v docker >/dev/null || { echo "make image needs docker (or an alias of it, as podman): install one." >&2; exit 1; }
	@docker build --file kubeflow/Dockerfile --build-arg UV_VERSION=$(UV_VERSION) --tag "$(IMAGE)" .

# What runs make in their output folder, except pushed releases, and what benchmarks make there.
MADE := .lock metadata.db mlflow.db mlruns logs pipeline report ingest.html gatefold.yaml remote results.csv
clean: ## Remove what runs made in OUTPUT; RELEASES=yes removes pushed releases, too
	@test ! -e "$$OUTPUT/pyproject.toml" || { echo "OUTPUT=$$OUTPUT is a checkout." >&2; exit 1; }
	@test ! -d "$$OUTPUT" || { cd "$$OUTPUT" && rm -rf $(MADE) $(if $(filter yes,$(RELEASES)),serving); }
	@test ! -d "$$OUTPUT/serving" || echo "Kept $$OUTPUT/serving, the pushed releases: RELEASES=yes removes them, too."
	@rmdir "$$OUTPUT" 2>/dev/null || true

# The environment. Locks hold every dependency, so none is resolved (--no-deps).
INSTALL = $(UV) pip install -q --python $(PYTHON) --no-deps --require-hashes -r

$(VENV)/.runtime: requirements.txt pyproject.toml .python-version | $(UV)
	@echo "Setting up Python 3.10 and TFX (about a minute) …"
	@test -x $(PYTHON) || $(UV) venv -q --python 3.10 $(VENV) || { \
	  echo "Gatefold needs Python 3.10 (docs/explanation/architecture.md says why): 'pyenv install 3.10' or 'uv python install 3.10' gets it." >&2; exit 1; }
	@$(INSTALL) requirements.txt
	@$(UV) pip install -q --python $(PYTHON) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@$(INSTALL) requirements-dev.txt
	@touch $@

# Flink's own jars (270 MB), in an environment of its own: the package would replace Beam's version.
.tools/flink: $(VENV)/.runtime
	@echo "Bringing Flink $(FLINK_VERSION) into .tools/flink …"
	@$(UV) venv -q --clear --python $(PYTHON) $@
	@$(UV) pip install -q --python $@/bin/python --no-deps apache-flink-libraries==$(FLINK_VERSION) || { rm -rf $@; exit 1; }
	@touch $@

# Load generators that others know; Go's proxy has them in source.
.tools/bin/ghz: PACKAGE := github.com/bojand/ghz/cmd/ghz@$(GHZ_VERSION)
.tools/bin/hey: PACKAGE := github.com/rakyll/hey@$(HEY_VERSION)
.tools/bin/ghz .tools/bin/hey:
	@command -v go >/dev/null || { echo "make load builds ghz and hey with Go: install it (https://go.dev/dl)." >&2; exit 1; }
	@echo "Building $(PACKAGE) …"
	@GOBIN="$(CURDIR)/.tools/bin" go install $(PACKAGE)

.tools/bin/uv:
	@echo "Bringing uv $(UV_VERSION) into .tools …"
	@python3 -m venv .tools && .tools/bin/pip install -q --disable-pip-version-check uv==$(UV_VERSION)
