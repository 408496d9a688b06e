# The few commands of this project. `make demo` and `make test` set up everything they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := out/demo
WORKERS ?= 2

.PHONY: help setup demo tutorial test test-slow lint bench tables clean

help:
	@echo "make demo       a made-up patient, segmented, with a report (installs the small base set)"
	@echo "make tutorial   the commands of Docs/tutorial_adapt.md: two made-up hospitals, a model adapted"
	@echo "make test       the tests (installs the development set)"
	@echo "make test-slow  the tests that take minutes each"
	@echo "make lint       ruff, mypy, import-linter"
	@echo "make bench      speed and memory, as ratios; writes Docs/benchmark.md"
	@echo "make tables     Docs/tables.md from the stored results of the paper's experiments"
	@echo "make setup      the development set alone"

# The base set runs `pesemiseg segment` on a CPU; the development set adds torch, training and the test tools.
$(BIN)/python:
	@sh .ci/make_venv.sh $(PYTHON) $(VENV)

$(VENV)/.base: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install -q -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	@sh .ci/host_libraries.sh
	@touch $@

setup: $(VENV)/.dev

demo: $(VENV)/.base
	$(BIN)/pesemiseg phantom --site A --patients 1 --seed 7 --preset medium --format dicom --overwrite -o $(DEMO)/patients
	$(BIN)/pesemiseg segment $(DEMO)/patients/A-s7-p0000/ct --overwrite -o $(DEMO)/result
	@echo "Open $(DEMO)/result/report.html in a browser."

tutorial: setup
	$(BIN)/python .ci/tutorial.py out/tutorial

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python Testing/Benchmarks/run.py

tables: setup
	$(BIN)/python Testing/Benchmarks/paper_tables render

clean:
	rm -rf $(VENV) out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
