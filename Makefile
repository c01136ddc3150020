# make compare   the comparison on scikit-learn's digits, report in runs/compare
# make test      the whole test suite
# Each works alone in a fresh clone; PYTHON= chooses the interpreter (3.11 - 3.13).
PYTHON  ?= python3
VENV    ?= .venv
OUT     ?= runs/compare
WORKERS ?= 2
STAMP   := $(VENV)/.installed
RUN     := $(VENV)/bin/python

.PHONY: help install compare test test-long test-stacks lint build clean
help:
	@sed -n 's/^# //p' Makefile | head -3
	@echo "also: install, test-long, test-stacks, lint, build, clean"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("Python %d.%d found, 3.11 to 3.13 needed: make PYTHON=python3.12 ..." % v)'
	@echo "Installing the project and its development tools into $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

compare: $(STAMP)
	@echo "Comparing VAEs with exact and MCMC inference on digits; the report goes to $(OUT)"
	@$(RUN) scripts/compare.py --data digits --observation bernoulli --out $(OUT)/bernoulli --overwrite
	@$(RUN) scripts/compare.py --data digits --observation gaussian --out $(OUT)/gaussian --overwrite

test: $(STAMP)
	@echo "Running the test suite on $(WORKERS) workers (long forms: make test-long)"
	@$(RUN) -m pytest -n $(WORKERS) -m "not long"

test-long: $(STAMP)
	@echo "Running the long forms of the tests"
	@$(RUN) -m pytest -n $(WORKERS) -m long

test-stacks:
	@echo "Running the suite on Python 3.11 and on a newer one (PYTHON311=, PYTHON312= choose them)"
	@$(MAKE) --no-print-directory test PYTHON=$(or $(PYTHON311),python3.11) VENV=.venv-3.11
	@$(MAKE) --no-print-directory test PYTHON=$(or $(PYTHON312),python3.12) VENV=.venv-3.12

lint: $(STAMP)
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

build: $(STAMP)
	@$(RUN) -m build

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
