# make demo       predict photographs, then train and test on real images, within minutes
# make test       the tests that fit into six minutes
# make test-all   all of them
# make check      lint, format, types, imports
#
# Each makes .venv and installs into it what constraints.txt pins; the next call finds it done.
# PYTHON=python3.12 chooses the Python (3.11 to 3.14).

VENV := .venv
BIN := $(VENV)/bin
ifeq ($(origin PYTHON),undefined)
PYTHON := $(if $(wildcard $(BIN)/python),$(BIN)/python,python3)
endif

# Whatever environment is active outside must not leak in.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_USER PIP_CONSTRAINT

VERSION := "import sys; print(*sys.version_info[:2], sep='.')"
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
# Two test processes of one thread each: more would fight for two cores.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo test test-all check format setup clean

demo: setup
	$(BIN)/python -m t2t_vit demo

test: setup
	$(ONE_THREAD) $(PYTEST) -m "not slow and not network"

test-all: setup
	$(ONE_THREAD) $(PYTEST) -m "not network"

check: setup
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/python -m ruff format
	$(BIN)/python -m ruff check --fix

setup:
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))" || \
	  { echo "error: $(PYTHON) is no Python from 3.11 to 3.14; name one, as in: make demo PYTHON=python3.12" >&2; exit 1; }
	@test "$$($(BIN)/python -c $(VERSION) 2>/dev/null)" = "$$($(PYTHON) -c $(VERSION))" || \
	  $(PYTHON) -m venv --clear $(VENV)
	@cat pyproject.toml constraints.txt | cmp -s - $(VENV)/installed || \
	  { echo "installing into $(VENV) (once; several GB with PyTorch's GPU libraries)" && \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,huggingface,datasets]" && \
	    cat pyproject.toml constraints.txt > $(VENV)/installed; }

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
