# One word per task; .ci/run calls the same words. Works with GNU make 3.81 and later, on Linux and macOS.
#
#   make test PYTHON=python3.13      with another Python than the python3 on the PATH
#   make test ARGS="tests/unit -x"   some of the tests
#   make notebooks PARAMETERS="-p train_months yellow:2018-01..2018-03"
#   make start S3=minio              the container stack on another S3 server

PYTHON =
ARGS =
PARAMETERS =
S3 =
BIN := .venv/bin

.PHONY: help install demo test lint notebooks bench start end clear test-stack screenshots
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: .venv/run.stamp ## Install taxiway into .venv, or bring it to this checkout

demo: .venv/run.stamp ## Run the whole main job once: raw trips to a scored production model
	@$(BIN)/taxiway demo $(ARGS)

test: .venv/dev.stamp ## Run all tests; what this machine lacks is skipped by name
	@$(BIN)/pytest $(ARGS)

lint: .venv/dev.stamp ## Check style, formatting, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

notebooks: .venv/dev.stamp ## Execute both notebooks, in order, into build/notebooks
	@mkdir -p build/notebooks
	$(BIN)/papermill --cwd notebooks $(PARAMETERS) notebooks/nyc_traffic_taxi_model.ipynb build/notebooks/nyc_traffic_taxi_model.ipynb
	$(BIN)/papermill --cwd notebooks notebooks/model_management.ipynb build/notebooks/model_management.ipynb

bench: .venv/dev.stamp ## Measure Taxiway against the notebook way, and its growth; prints the ratios
	@$(BIN)/python -m benchmarks $(ARGS)

# The container stack: Docker with Compose is all that these three need.

start: ## Build and start the container stack; prints the links
	@STACK_S3="$(or $(S3),$(STACK_S3))" sh images/stack.sh start

end: ## Stop the container stack; nothing is lost
	@sh images/stack.sh end

clear: ## Remove this project's containers, networks, volumes and secrets, and nothing else
	@sh images/stack.sh clear

test-stack: .venv/dev.stamp ## Run the tests of the container stack; with S3=minio those that the S3 server decides
	@bash tests/stack/base.sh ready $(S3)
	@$(BIN)/pytest tests/stack -n 2 --dist loadfile --no-loadscope-reorder $(if $(S3),--s3 $(S3) -m s3) $(ARGS)

screenshots: .venv/dev.stamp ## Take the README's pictures from a running stack, into docs/images
	@bash tests/stack/base.sh
	@$(BIN)/pytest tests/stack/test_pages.py --screenshots docs/images $(ARGS)

# The environment. Each stamp says which lock .venv was last made equal to; the locks carry hashes, and
# the development lock holds everything that the other one does, in the same versions.

.venv/run.stamp: requirements.lock pyproject.toml | $(BIN)/pip
	$(call install,requirements.lock)
	@touch $@

.venv/dev.stamp: requirements-dev.lock pyproject.toml | $(BIN)/pip
	$(call install,requirements-dev.lock)
	@touch $@ .venv/run.stamp

define install
@echo "Installing $(1) into .venv (the first time this takes a few minutes)"
@if uv --version >/dev/null 2>&1; then \
  uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r $(1) && \
  uv pip install --quiet --python $(BIN)/python --no-deps -e .; \
else \
  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1) && \
  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
fi
@$(BIN)/taxiway warmup || echo "make: going on without Spark's class archive; Spark will start more slowly" >&2
endef

# pip is what a virtual environment gets last: an interrupted one has none, and is made anew.
$(BIN)/pip:
	@for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	  python=; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make: no Python 3.11 or later: $(if $(PYTHON),$(PYTHON) is none,install one or name it with PYTHON=/path/to/python3)" >&2; \
	  exit 1; \
	fi; \
	if uv --version >/dev/null 2>&1; then \
	  uv venv --quiet --clear --seed --python "$$("$$python" -c 'import sys; print(sys.executable)')" .venv; \
	elif ! "$$python" -c 'import ensurepip' 2>/dev/null; then \
	  echo "make: $$python cannot make virtual environments: install its venv module (Debian, Ubuntu: python3-venv)" >&2; \
	  exit 1; \
	else \
	  "$$python" -m venv --clear .venv; \
	fi
