# Everything runs from .venv, which the first target that needs it creates.
# ARGS are for the command itself: make up ARGS='--port 9000', make test ARGS=tests/unit

PYTHON ?= python3
# Where pip may find torch besides its usual index. The default serves CPU builds (about 200 MB);
# for an NVIDIA GPU: make up TORCH_INDEX=https://download.pytorch.org/whl/cu130
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: up test chaos fuzz check bench clean install

up: install
	.venv/bin/enlarger up $(ARGS)

test: install
	.venv/bin/pytest $(ARGS)

# The chaos tests in full: ten times as many kills, a thousand mixed pictures. About half an hour.
chaos: install
	ENLARGER_CHAOS=full .venv/bin/pytest tests/chaos $(ARGS)

# Thousands of requests, valid and not, and damaged pictures. About ten minutes.
fuzz: install
	ENLARGER_FUZZ=full .venv/bin/pytest tests/fuzz $(ARGS)

check: install
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: install
	.venv/bin/python -m tests.benchmarks $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

install: .venv/installed

# Torch comes first and alone: with the extra index in play for one package only, nothing else can come from it.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Enlarger needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --no-deps --retries 1 --extra-index-url $(TORCH_INDEX) -c constraints.txt torch
	.venv/bin/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
