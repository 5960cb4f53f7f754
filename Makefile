# Two commands matter: `make demo` shows what it does, `make test` proves it.
# Everything is installed into .venv; stamps in .make remember what is there already, so a
# second run neither installs again nor touches the network.

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet install
OUTPUT ?= demo
IMAGES ?=
ARGS   ?=
# Test files side by side; more want more memory (TensorFlow: 2 GB each).
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo app test test-fast check lint types format docs assets bench clean

help:
	@echo "LesionLens: dermoscopy images to BCC, SCC or healthy skin. Not a diagnosis."
	@echo
	@echo "  make demo                       classify drawn samples, write $(OUTPUT)/report.html"
	@echo "  make demo IMAGES=\"a.jpg b.jpg\"  the same on your own images"
	@echo "  LESIONLENS_DATA=DIR make demo   the same on a few real images of an archive"
	@echo "  make app                        open the app in the browser; Ctrl-C ends it"
	@echo
	@echo "  make test                       install everything (TensorFlow too), run all tests"
	@echo "  make test-fast                  the tests that need neither TensorFlow nor patience"
	@echo "  make test ARGS=\"-k imaging\"     hand options on to pytest; JOBS=1: one after the other"
	@echo "  make check                      format, lint, types and all tests: what CI runs"
	@echo "  make format                     let ruff format the code"
	@echo "  make docs                       write docs/cli.md from the verbs"
	@echo "  make assets                     draw the app's icon and splash screens again"
	@echo "  make bench                      time answers; the other benchmarks say what they need"
	@echo "  make clean                      remove .venv, caches and the demo; runs/ stays"
	@echo
	@echo "Needs Python 3.11 or newer and, the first time, a package index."
	@echo "Another interpreter: make demo PYTHON=/path/to/python3.12"

# ---------------------------------------------------------------- what people come for

demo: .make/base
	@$(BIN)/lesionlens demo $(IMAGES) --output $(OUTPUT)

app: .make/app
	@$(BIN)/lesionlens app --web $(ARGS)

test: .make/dev
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-fast: .make/test
	@$(BIN)/python -m pytest -m "not train and not slow" $(ARGS)

check: lint types test

lint: .make/dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: .make/dev
	@$(BIN)/mypy

format: .make/dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: .make/base
	@$(BIN)/python docs/make_cli.py

assets: .make/base
	@$(BIN)/python docs/draw_assets.py

bench: .make/dev
	@$(BIN)/python benchmarks/predict.py

clean:
	rm -rf $(VENV) .make build dist $(OUTPUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- what they need

# The first interpreter that is new enough; PYTHON=... overrides the search.
$(VENV)/pyvenv.cfg:
	@new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	  if "$$python" -c "$$new_enough" 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "make: Python 3.11 or newer is needed; $(or $(PYTHON),python3) is" \
	    "$$($(or $(PYTHON),python3) --version 2>&1 || echo missing)." \
	    "Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "make: $$found cannot make a virtual environment (Debian: apt install python3-venv)" >&2; \
	  exit 1; }

# A larger install holds the smaller ones, so it sets their stamps too.
.make/base: $(VENV)/pyvenv.cfg pyproject.toml
	@echo "Installing LesionLens: the classifier, without TensorFlow"
	@$(PIP) -e .
	@mkdir -p .make && touch .make/base

.make/app: $(VENV)/pyvenv.cfg pyproject.toml
	@echo "Installing LesionLens with the app: some 90 MB, without TensorFlow"
	@$(PIP) -e '.[app]'
	@mkdir -p .make && touch .make/base .make/app

.make/test: $(VENV)/pyvenv.cfg pyproject.toml
	@echo "Installing LesionLens with what the fast tests need, without TensorFlow"
	@$(PIP) -e '.[test]'
	@mkdir -p .make && touch .make/base .make/app .make/test

.make/dev: $(VENV)/pyvenv.cfg pyproject.toml
	@echo "Installing LesionLens with everything, TensorFlow included: some 700 MB, once"
	@$(PIP) -e '.[dev]'
	@mkdir -p .make && touch .make/base .make/app .make/test .make/dev
