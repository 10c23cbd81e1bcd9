# Everything a newcomer needs: `make demo`, `make test`. Both do their own set-up in .venv and .venv-lava.
PYTHON ?= python3
# Extra arguments for every pip call, for example an index of CPU-only or of other CUDA builds.
PIP_ARGS ?=
TEST_WORKERS ?= 2
TEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt
export NEUROFDFA_LAVA_HOME ?= $(CURDIR)/.venv-lava
LAVA_STAMP := $(NEUROFDFA_LAVA_HOME)/.ready
LAVA_DL := $(CURDIR)/.venv-lava-dl

.PHONY: demo test test-slow check site notebooks lint format lava setup setup-test clean clean-all help
.DELETE_ON_ERROR:

help:
	@echo 'make demo    train, compare, quantise, run on Lava, write the report (a minute or two after set-up)'
	@echo 'make test    the tests, the peers and Lava included;  make test-slow  the few that take minutes'
	@echo 'make site    the documentation, into build/site; a broken link is an error'
	@echo 'make check   all that is checked before a change is taken: lint, types, site, every test'
	@echo 'make lint    ruff (lint, format) and pyright in strict mode'
	@echo 'make lava    only Lava'"'"'s own environment'
	@echo 'make clean   remove caches and runs;  make clean-all  also the environments'

# Lava is worth having and not needed: without it the demo says what is missing and goes on.
demo: $(VENV)/.package
	@$(MAKE) --no-print-directory lava || echo '==> Lava is not available; the demo goes on without it (`make lava` tries again)'
	$(BIN)/neurofdfa demo

TEST := OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest

test: $(VENV)/.test $(LAVA_STAMP)
	@$(MAKE) --no-print-directory $(LAVA_DL)/.installed || echo '==> lava-dl is not available; its tests are skipped'
	$(TEST) -m 'not slow' -n $(TEST_WORKERS) --dist loadgroup $(TEST_ARGS)

# Those that take minutes by themselves, such as a second environment for Lava from the package index.
test-slow: $(VENV)/.test $(LAVA_STAMP)
	$(TEST) -m slow $(TEST_ARGS)

# The site's pages are assembled first: references made from the program, notebooks, files from outside docs.
site: $(VENV)/.test
	$(BIN)/python -m website.assemble build/docs
	$(BIN)/zensical build --strict
	@echo 'open build/site/index.html'

notebooks: $(VENV)/.test
	$(BIN)/python -m website.notebooks build/notebooks

check: lint site test test-slow

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lava: $(LAVA_STAMP)
setup: $(VENV)/.package
setup-test: $(VENV)/.test

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo 'No "$(PYTHON)" found: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "neurofdfa needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo '==> Creating $(VENV) with $(PYTHON)'
	$(PYTHON) -m venv $(VENV)

# PyTorch by itself first: it is the large download, and its build must not be chosen by what follows.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	@echo '==> Installing PyTorch (the largest part, 0.2 to 3 GB)'
	$(PIP) torch
	@touch $@

$(VENV)/.package: pyproject.toml constraints.txt $(VENV)/.torch
	@echo '==> Installing neurofdfa and what it needs'
	$(PIP) -e .
	@echo '==> Compiling the event engine (about a minute, once)'
	$(BIN)/neurofdfa doctor --compile --quiet
	@touch $@

# norse and spikingjelly declare torchvision, neurobench torchaudio (and with them another torch); all run without.
$(VENV)/.test: $(VENV)/.package
	@echo '==> Installing the test tools and the simulators that results are compared with'
	$(PIP) -e '.[test,dev,docs,events,cluster,search,live]' snntorch loguru
	$(PIP) --no-deps nirtorch norse spikingjelly neurobench
	@touch $@

$(LAVA_STAMP): | $(VENV)/.package
	@echo '==> Setting up Lava in an environment of its own'
	$(BIN)/neurofdfa lava setup
	@touch $@

# lava-dl is here to read our files with. It pins an old torch and runs with ours, which it borrows; its Python is ours,
# so that the tests see Lava on another Python than 3.10, too.
$(LAVA_DL)/.installed: | $(VENV)/.test
	@echo '==> Setting up lava-dl, which reads exported files in the tests'
	NEUROFDFA_LAVA_HOME=$(LAVA_DL) $(BIN)/python -c 'import sys; from pathlib import Path; from neurofdfa_hardware.lava import environment; \
		environment.setup(print, base=Path(sys._base_executable))'
	$(LAVA_DL)/bin/python -m pip install --disable-pip-version-check $(PIP_ARGS) --no-deps --ignore-requires-python lava-dl==0.6.0
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$($(LAVA_DL)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth
	@touch $@

clean:
	rm -rf runs build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

clean-all: clean
	rm -rf $(VENV) .venv-lava $(LAVA_DL)
