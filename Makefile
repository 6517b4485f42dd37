# `make demo` and `make test` need Python >= 3.11 and a package index, nothing else.
PYTHON ?= python3
BIN := .venv/bin
SEED ?= 7

.PHONY: demo sheet test check lint types floors schemas clean

# A session of three prompts, each of which goes on from the one before. What was there from another time goes.
demo: .venv/demo
	rm -rf demo
	$(BIN)/stagegraph session start ltx2/continue demo -i seed=$(SEED)
	$(BIN)/stagegraph session extend demo \
	    "a yellow star moves right on a purple background" \
	    "a yellow star turns on a purple background" \
	    "a yellow star moves left on a purple background"
	$(BIN)/stagegraph session export demo -o demo.mp4 --set sound=aac
	$(BIN)/stagegraph media contact-sheet demo.mp4 -o demo.png

# The picture of the README.
sheet: demo
	cp demo.png docs/demo.png

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
