# make compare      the comparison on scikit-learn's digits; the report goes to runs/compare
#                   (grey levels instead of bits: make compare OBSERVATION=gaussian OUT=runs/grey)
# make compare-all  the same with every system: GAN, autoregressive models, deep latent model, ...
#                   (at most 15 minutes on 2 cores; the report goes to runs/compare-all)
# make test         the quick test suite (at most 15 minutes on 2 cores)
# make install      what both need: .venv with the project and its development tools
# make test-slow    the slower half of it, which continuous integration runs too
# make test-long    the tests that take minutes
# make test-stacks  the quick and the slow suite on Python 3.11 and on a newer one
# make lint         style of the code
# make build        wheel and source archive into dist
# make clean        remove what build and tests left; runs and .venv stay
#
# Each works alone in a fresh clone. PYTHON= (3.11 to 3.13) makes .venv when there is none yet;
# for a second one beside it: make test PYTHON=python3.12 VENV=.venv-3.12

PYTHON    ?= python3
PYTHON311 ?= python3.11
PYTHON312 ?= python3.12
VENV      ?= .venv
OBSERVATION ?= bernoulli
OUT       ?= runs/$@
WORKERS   ?= 2
STAMP     := $(VENV)/.installed
RUN       := $(VENV)/bin/python

.PHONY: help install compare compare-all test test-slow test-long test-stacks lint build clean
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

install: $(STAMP)
	@echo "The project is installed: $(RUN)"

$(STAMP): pyproject.toml constraints.txt
	@$(call check_runs,$(PYTHON),PYTHON)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("error: PYTHON is Python %d.%d, 3.11 to 3.13 needed: make PYTHON=python3.12 ..." % v)'
	@echo "Installing the project and its development tools into $(VENV) (minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

compare: $(STAMP)
	@echo "Comparing VAEs with exact and MCMC inference on digits; the report goes to $(OUT)"
	@$(RUN) scripts/compare.py --data digits --observation $(OBSERVATION) --out $(OUT) --overwrite

compare-all: $(STAMP)
	@echo "Comparing every system on digits; the report goes to $(OUT)"
	@$(RUN) scripts/compare.py --data digits --observation $(OBSERVATION) --models all --out $(OUT) --overwrite

test: $(STAMP)
	@echo "Running the quick tests on $(WORKERS) workers (the others: make test-slow, make test-long)"
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not long"

test-slow: $(STAMP)
	@echo "Running the tests that take tens of seconds on $(WORKERS) workers"
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile -m "slow and not long"

test-long: $(STAMP)
	@echo "Running the tests that take minutes on $(WORKERS) workers"
	@$(RUN) -m pytest -n $(WORKERS) -m long

test-stacks:
	@$(call check_runs,$(PYTHON311),PYTHON311)
	@$(call check_runs,$(PYTHON312),PYTHON312)
	@echo "Running the tests with $(PYTHON311) in .venv-3.11 and with $(PYTHON312) in .venv-3.12"
	@$(MAKE) --no-print-directory test test-slow PYTHON=$(PYTHON311) VENV=.venv-3.11
	@$(MAKE) --no-print-directory test test-slow PYTHON=$(PYTHON312) VENV=.venv-3.12

lint: $(STAMP)
	@echo "Checking the style of the code (mend it: $(VENV)/bin/ruff check --fix . and ruff format .)"
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

build: $(STAMP)
	@echo "Building wheel and source archive into dist"
	@$(RUN) -m build --quiet
	@ls dist

clean:
	@echo "Removing build, dist and the caches of the tools"
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

# It may be on the path and still not run, as pyenv's are for versions that are not chosen.
check_runs = $(1) -c '' 2> /dev/null || { echo "error: no Python runs as $(1): name one by $(2)=/path/to/python" >&2; exit 1; }
