# Inner Dialogue. Everything it needs is installed into .venv; nothing else on the machine is touched.
#
#   make run     set up (once), then start everything and open the page
#   make test    set up (once), then the tests, those with a browser included
#   make setup   only what both start with
#   make lint    ruff, mypy, import-linter
#   make lock    requirements.lock anew, from pyproject.toml
#   make clean   remove caches (the environment itself: rm -r .venv)
#
# ARGS go to the program: make run ARGS="--port 9000", make test ARGS="tests/store -x".

PYTHON ?= python3
BIN    := .venv/bin
STAMP  := .venv/.set-up
ARGS   ?=

.PHONY: help run test setup lint lock clean
.DEFAULT_GOAL := help

help:
	@sed -n '3,10s/^# \{0,1\}//p' Makefile

run: $(STAMP)
	@exec $(BIN)/inner run $(ARGS)

test: $(STAMP)
	@chromium=$$(scripts/chromium $(BIN)/python) && INNER_CHROMIUM="$$chromium" $(BIN)/python -m pytest $(ARGS)

setup: $(STAMP)
	@echo "  environment  .venv is ready"

# The editable install is part of it: pyproject.toml holds the command's name and the packages.
$(STAMP): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" scripts/setup
	@touch $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# --universal: one file for every platform and every Python from 3.11 on. Hashes, and no address of an index.
lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv pip compile --quiet --universal --upgrade --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-emit-package pip --python-version 3.11 --extra dev \
	    --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path "./.venv/*" -prune -exec rm -rf {} +
