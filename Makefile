# make demo: everything from a checkout to real predictions; needs Python (3.10 or newer) with pip, and a C compiler.
# The rest: serve, test, test-heavy, lint, bench, parity, fuzz, test-install, pure, clean. Everything is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TWINS := $(shell grep '\.py$$' csrc/compiled.ini)
SOURCES := setup.py pyproject.toml $(shell find csrc proto -type f 2>/dev/null) $(TWINS)

.PHONY: demo serve test test-heavy lint bench parity fuzz test-install pure clean

demo: $(VENV)/.installed
	$(BIN)/python -m examples.demo

serve: $(VENV)/.installed
	$(BIN)/python -m examples.demo --serve $(OPTIONS)

test: $(VENV)/.installed
	$(BIN)/python -m pytest -m "not parity and not heavy" $(OPTIONS)

# Large frameworks, in environments of their own that are kept (PYSERVER_PEERS), and minutes of load. What this machine
# lacks (an interpreter, a browser, open files) is skipped by name.
test-heavy: $(VENV)/.installed
	$(BIN)/python -m pytest -m "heavy and not parity" $(OPTIONS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tools benchmarks tests/support tests/e2e tests/parity tests/conftest.py examples/demo.py examples/digits/train.py

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.compare --short $(OPTIONS)

parity: $(VENV)/.installed
	$(BIN)/python -m pytest -m parity tests/parity $(OPTIONS)

# Strangers' bytes for every reader of them, for as long as MINUTES says.
fuzz: $(VENV)/.installed
	$(PIP) install atheris
	$(BIN)/python -m tests.fuzz.run --minutes $(or $(MINUTES),10) $(OPTIONS)

test-install: $(VENV)/.installed
	$(BIN)/python -m tools.installation $(OPTIONS)

# The modules in csrc/compiled.ini as plain Python again, for who works on them with .venv/bin/python -m pytest.
pure:
	rm -f $(TWINS:.py=.*.so) $$(find pyserver -name 'compiled__mypyc.*')

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
	find pyserver -name '*.so' -delete
	rm -f pyserver/proto/messages.desc
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment with what it takes to build. Some Pythons come without ensurepip: then pip installs itself into it.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and "$(PYTHON) is Python %d.%d, pyserver needs 3.10 or newer: make PYTHON=..." % v[:2])'
	@command -v $${CC:-cc} >/dev/null || { echo "no C compiler: install one, or name one in CC" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --without-pip --clear $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; }
	@touch $@

# The package itself, in place, with all that its tests, linters and demo need: Python files may change without a new
# installation, what is compiled may not. Byte code is made for them as an ordinary installation does.
$(VENV)/.installed: $(VENV)/.made $(SOURCES)
	@echo "installing into $(VENV): two or three minutes the first time"
	$(PIP) install --editable ".[test,lint]"
	$(BIN)/python -m compileall -q pyserver
	@touch $@
