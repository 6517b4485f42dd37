# `make demo` and `make test` need Python >= 3.11 and a package index, nothing else.
PYTHON ?= python3
BIN := .venv/bin
DEMO ?= demo.mp4
PROMPT ?= a red circle moves right on a blue background

.PHONY: demo test check lint types floors schemas clean

demo: .venv/demo
	$(BIN)/stagegraph run ltx2/text-to-video -i prompt="$(PROMPT)" -o $(DEMO)

test: .venv/test
	$(BIN)/python -m pytest -n auto

check: .venv/test lint types floors test

lint: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/test
	$(BIN)/mypy

floors: .venv/test
	$(BIN)/lint-imports

schemas: .venv/demo
	$(BIN)/python -m stagegraph.schema schemas

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed; set PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python constraints.txt pyproject.toml plugins/ltx2/pyproject.toml plugins/media/pyproject.toml
	$(BIN)/python -m pip install -q -c constraints.txt -e . -e plugins/media -e plugins/ltx2
	touch $@

.venv/test: .venv/demo
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]' -e plugins/media -e 'plugins/ltx2[test]'
	touch $@
