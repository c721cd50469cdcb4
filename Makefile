# `make demo` and `make test` do all the set-up themselves: a virtual environment in .venv, then the work.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGE_FILES := pyproject.toml constraints.txt

.PHONY: demo test test-slow soak gallery docs notebook web lint types clean

demo: $(VENV)/.installed
	$(BIN)/python -m facegan demo

test: lint types
	$(BIN)/python -m pytest -n 2

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

soak: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m soak -s

# the pictures of README and docs, from the shipped models
gallery: $(VENV)/.installed
	$(BIN)/python tools/make_pictures.py docs/images

# ONNX Runtime Web for `facegan export --format web`, checked, in build/onnxruntime-web
web: $(VENV)/.installed
	$(BIN)/python tools/fetch_onnxruntime_web.py

# the site, in build/site
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# docs/notebook.md, the notebook with its results
notebook: $(VENV)/.installed-dev
	$(BIN)/python tools/render_notebook.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "facegan needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no virtual environment: on Debian, install python3-venv" >&2; exit 1; }

$(VENV)/.installed: $(BIN)/python $(PACKAGE_FILES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(BIN)/python $(PACKAGE_FILES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist
