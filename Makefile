# Everything lives in this checkout: the virtual environment in .venv, the demo's Airflow, data and artifacts in .demo.
# Works with GNU make 3.81, which macOS ships.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
CSV ?=
LABEL ?=
EXCLUDE ?=
CATEGORICAL ?=
WORKERS ?= 2

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir
PACKAGE_FILES := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test lint bench clean

help: ## Show this help
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1@\2/p' Makefile | tr '@' '\t' | expand -t 20
	@echo
	@echo "  make demo CSV=path/to.csv LABEL=column [EXCLUDE=a,b] [CATEGORICAL=c,d]   the demo on your own file"
	@echo "  make ui PORT=8081                                                        on another port"

setup: $(VENV)/installed ## Install the package and all it needs into .venv

demo: $(VENV)/installed ## CSV files to a cross-validated model to scores, for real
	@$(BIN)/python example_dags/demo/run.py --csv "$(CSV)" --label "$(LABEL)" --exclude "$(EXCLUDE)" --categorical "$(CATEGORICAL)"

ui: $(VENV)/installed ## Open the demo's DAG in the Airflow UI
	@$(BIN)/python example_dags/demo/ui.py $(PORT)

test: $(VENV)/installed-dev lint ## Lint, then run all tests
	@$(BIN)/python -m airflow_provider_distkeras.hooks.spark_environment > /dev/null
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed-dev ## Check style and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed-dev ## Measure what the performance claims rest on
	@$(BIN)/python -m benchmarks

clean: ## Remove .venv, .demo and every cache
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# A marker is written last, so that an installation that was cut off is taken up again.
$(VENV)/installed: $(PACKAGE_FILES) $(VENV)/created
	@echo "==> Installing into $(VENV); the first time this takes a few minutes"
	@$(INSTALL) -c constraints.txt -e ".[tensorflow]"
	@touch $@

$(VENV)/installed-dev: $(PACKAGE_FILES) $(VENV)/installed
	@echo "==> Installing what the tests need"
	@$(INSTALL) -c constraints.txt --group dev
	@touch $@

# One whose Python is gone, or that was never finished, is made anew.
ifneq ($(shell $(BIN)/python -c 'print("runs")' 2> /dev/null),runs)
.PHONY: $(VENV)/created
endif
$(VENV)/created:
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is not installed. Install Python 3.11 or later:" \
		"sudo apt-get install -y python3 python3-venv (Debian, Ubuntu), brew install python@3.13 (macOS)."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) -V)," \
		"this needs Python 3.11 or later. Install one and name it, such as: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null || { echo "$(PYTHON) cannot make virtual environments." \
		"Install that part: sudo apt-get install -y python3-venv"; exit 1; }
	@echo "==> Creating $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL) "pip>=25.1"
	@touch $@
