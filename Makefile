# make demo: the main job with embedded defaults. make test: the whole suite. Both need CPython 3.11+ and make only.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: demo test lint bench constraints catalogues clean

demo: $(STAMP)
	$(BIN)/trustplane demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	for b in bench/*.py; do $(BIN)/python $$b $(BENCH_FLAGS) || exit 1; done

# uv keeps a cache, so a second install takes seconds; hashes in constraints.txt are checked.
$(STAMP): constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $(STAMP)

constraints: pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	    --all-extras --group dev --no-emit-package trustplane pyproject.toml -o constraints.txt

catalogues: $(STAMP)
	$(BIN)/python train/build_catalogues.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache demo-plane demo-out
