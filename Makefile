# make app     makes .venv, installs what is needed, opens the app
# make test    the same for the tests, gets a browser for those of the page, runs them, two files at a time
# make check   format, lint, types, documentation, architecture
# make bench   measures how fast all is: make bench ARGS=FOLDER, a folder of photographs with train/ and val/
# make docs    builds the documentation site into site/
# make style   figures about names, sizes and docstrings of the code
# make coverage  which lines and branches of training, inference and data the suite runs; a report in htmlcov/
# make wheels  fills the folder wheels/ with all packages; without a network: make app WHEELS=wheels
# make wheel   builds the package, and trains with its wheel in a clean environment
# make web-runtime  fetches the files of onnxruntime-web from npm, which run a model in a browser; a release has them
# make torture kills and fills up the disk of trainings at every point, and compares what becomes of them; kills single
#              ranks of trainings, and a node of a Ray cluster where Ray is installed; then kills the server of a class,
#              takes away the network of its clients, and lets thirty of them ask at once
#
# TORCH=cpu takes PyTorch without CUDA, a fraction of the size, when app or wheels fetches it: make app TORCH=cpu
# PYTHON=python3.12 picks another Python, VENV=folder another place, ARGS="…" goes to the app or to pytest.

VENV ?= .venv
ifeq ($(OS),Windows_NT)
  BIN := $(VENV)/Scripts
  PYTHON ?= python
else
  BIN := $(VENV)/bin
  # The first Python that is new enough, else whichever there is: it then says that it is too old.
  NEW = import sys; sys.exit(sys.version_info < (3, 11))
  PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
    $$p -c "$(NEW)" 2>/dev/null && { echo $$p; exit; }; done; echo python3)
endif
RUN := "$(BIN)/python"
# Some images of Python forbid to keep bytecode. The packages of the tests come without, and each of their hundreds of
# processes would compile those that it imports: twice the time of an import of torch.
unexport PYTHONDONTWRITEBYTECODE
# The theme announces its successor at each build.
export NO_MKDOCS_2_WARNING := 1
DOCS := $(RUN) -m mkdocs build --strict

.PHONY: app test check docs style coverage wheel wheels web-runtime bench torture format clean

app: $(VENV)/.app
	$(RUN) app.py $(ARGS)

test: $(VENV)/.test
	$(RUN) tests/support/browser.py
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 25 $(ARGS)

check: $(VENV)/.test
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(DOCS) --quiet --site-dir "$(VENV)/site"
	$(RUN) -m pytest -q tests/test_architecture.py

docs: $(VENV)/.test
	$(DOCS)

style:
	$(PYTHON) tools/style.py $(ARGS)

# Data of an earlier run may be about files that are gone.
coverage: $(VENV)/.test
	$(RUN) -m coverage erase
	$(RUN) tests/support/browser.py
	$(RUN) -m coverage run -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 25 $(ARGS)
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage html --quiet
	$(RUN) -m coverage report

wheel:
	$(PYTHON) tools/wheel.py --test

wheels:
	$(PYTHON) tools/environment.py download "$(or $(WHEELS),wheels)" $(addprefix --torch ,$(TORCH))

web-runtime:
	$(PYTHON) tools/web_runtime.py

bench: $(VENV)/.test
	$(RUN) -m benchmarks $(ARGS)

torture: $(VENV)/.test
	$(RUN) tests/support/torture.py $(ARGS)
	$(RUN) tests/support/rank_torture.py
	if $(RUN) -c "import ray" 2> /dev/null; then $(RUN) tests/support/ray_torture.py; else echo "Ray is not installed: no node of a cluster is killed"; fi
	$(RUN) tests/support/class_torture.py

format: $(VENV)/.test
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

# Caches only: neither runs/ nor the virtual environment.
clean:
	$(PYTHON) tools/environment.py clean

# An environment whose Python is gone, as after an upgrade of the system, is made anew.
ifeq ($(realpath $(BIN)/python $(BIN)/python.exe),)
.PHONY: $(VENV)/.app $(VENV)/.test
endif

# A stamp is written when an installation is complete, and is out of date when its requirements change.
$(VENV)/.app: requirements.txt
	$(PYTHON) tools/environment.py install "$(VENV)" app $(WHEELS) $(addprefix --torch ,$(TORCH))

$(VENV)/.test: requirements.txt requirements-dev.txt
	$(PYTHON) tools/environment.py install "$(VENV)" test
